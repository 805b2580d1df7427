/** Who may come in where a proxy records: the user who is logged in to the proxy, and nobody else. */
import { type SessionOptions, sessionOptions } from "../../access/mod.ts";
import { AccessDenied } from "../../base/errors.ts";
import { printable } from "../../base/text.ts";
import type { TrustedAuthority } from "../../cert/check.ts";
import type { UserIdentity } from "../../cert/identity.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { Role } from "../../resources/types.ts";
import type { AuthAttempt } from "../../ssh/server.ts";
import { authenticateUser } from "../user_auth.ts";

export interface RecordedUser {
  readonly identity: UserIdentity;
  readonly options: SessionOptions;
}

/**
 * @param outer who has logged in to the proxy
 * @throws AccessDenied with what the user is to be told
 */
export function authenticateRecorded(
  attempt: AuthAttempt,
  outer: UserIdentity,
  o: {
    readonly authorities: TrustedAuthority[];
    readonly cache: Pick<ClusterCache, "get">;
    readonly nowMs: number;
  },
): RecordedUser {
  const identity = authenticateUser(attempt, o.authorities, o.nowMs);
  if (identity.user !== outer.user || identity.cluster !== outer.cluster) {
    throw new AccessDenied(
      `user "${identity.user}" may not use the connection of user "${outer.user}" to the proxy: ` +
        "show the same user's certificate to both",
    );
  }
  return { identity, options: optionsOf(identity, o.cache) };
}

/** A role that is not known may be the one that limits: without it there is no decision. */
function optionsOf(identity: UserIdentity, cache: Pick<ClusterCache, "get">): SessionOptions {
  const roles = identity.roles.map((name): Role => {
    const role = cache.get("role", name);
    if (role) return role;
    throw new AccessDenied(
      `the role "${printable(name)}" of this certificate does not exist (any more): log in again`,
    );
  });
  const options = sessionOptions(roles);
  // A certificate for old OpenSSH servers names no roles: what it permits was decided at its login.
  if (roles.length > 0) return options;
  return { ...options, forwardAgent: true, portForwarding: true, x11: true };
}
