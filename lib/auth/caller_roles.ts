/** What the roles of a user's certificate are now. */
import { decideRule, type RuleRequest } from "../access/mod.ts";
import type { Caller } from "../api/types.ts";
import { AccessDenied } from "../base/errors.ts";
import type { UserIdentity } from "../cert/identity.ts";
import type { Role } from "../resources/types.ts";
import type { ResourceHub } from "./watch.ts";

/** @throws AccessDenied when one is missing: it might have denied */
export function rolesOf(hub: ResourceHub, identity: UserIdentity): Role[] {
  return identity.roles.map((name) => {
    const role = hub.get("role", name);
    if (role !== undefined) return role;
    throw new AccessDenied(`the role ${JSON.stringify(name)} does not exist, log in again`);
  });
}

/** Administrators may do everything. @throws AccessDenied unless the user's roles allow it */
export function requireRule(hub: ResourceHub, caller: Caller, request: RuleRequest): void {
  if (caller.kind === "admin") return;
  if (caller.kind === "user") {
    const decision = decideRule(rolesOf(hub, caller.identity), request);
    if (decision.allowed) return;
    throw new AccessDenied(
      `${caller.identity.user} may not ${request.verb} ${request.resource}s: ${decision.reason}`,
    );
  }
  throw new AccessDenied(`a ${caller.kind} may not ${request.verb} ${request.resource}s`);
}
