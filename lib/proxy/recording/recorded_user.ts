/** Who may come in where a proxy records: the user who is logged in to the proxy, and nobody else. */
import { NodeAccess, type SessionOptions, sessionOptions } from "../../access/mod.ts";
import { AccessDenied } from "../../base/errors.ts";
import { printable } from "../../base/text.ts";
import type { TrustedAuthority } from "../../cert/check.ts";
import type { UserIdentity } from "../../cert/identity.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { ConnectionLease, ConnectionLeases } from "../../host/connection_leases.ts";
import type { Role } from "../../resources/types.ts";
import type { AuthAttempt } from "../../ssh/server.ts";
import { authenticateUser } from "../user_auth.ts";

export interface RecordedUser {
  readonly identity: UserIdentity;
  readonly options: SessionOptions;
  /** Of a connection that counts against `max_connections` here, as no node counts it. */
  readonly lease?: ConnectionLease;
}

export interface RecordedUserWanted {
  /** Who has logged in to the proxy. */
  readonly outer: UserIdentity;
  /** The user authorities of the proxy's own cluster. */
  readonly authorities: TrustedAuthority[];
  readonly cache: Pick<ClusterCache, "get">;
  readonly nowMs: number;
}

/** @throws AccessDenied with what the user is to be told */
export function authenticateRecorded(
  attempt: AuthAttempt,
  { outer, authorities, cache, nowMs }: RecordedUserWanted,
): RecordedUser {
  const identity = authenticateUser(attempt, authorities, nowMs);
  if (identity.user !== outer.user || identity.cluster !== outer.cluster) {
    throw new AccessDenied(
      `user "${identity.user}" may not use the connection of user "${outer.user}" to the proxy: ` +
        "show the same user's certificate to both",
    );
  }
  const roles = rolesOf(identity, cache);
  const options = sessionOptions(roles);
  // A certificate for old OpenSSH servers names no roles: what it permits was decided at its login.
  if (roles.length === 0) {
    return {
      identity,
      options: { ...options, forwardAgent: true, portForwarding: true, x11: true },
    };
  }
  // Where there are no labels to decide by, the login is what the roles may still have changed.
  if (!new NodeAccess(roles, identity.traits).logins.includes(attempt.username)) {
    throw new AccessDenied(
      `the roles of user "${identity.user}" do not allow the login ` +
        `"${printable(attempt.username)}" any more`,
    );
  }
  return { identity, options };
}

/**
 * Counts the connection over the whole cluster, where the roles limit that.
 *
 * @throws LimitExceeded, and AccessDenied when it cannot be counted now
 */
export async function withLease(
  user: RecordedUser,
  leases: Pick<ConnectionLeases, "acquire">,
): Promise<RecordedUser> {
  const { identity, options: { maxConnections } } = user;
  if (maxConnections === 0) return user;
  return { ...user, lease: await leases.acquire(identity.user, maxConnections) };
}

/** A role that is not known may be the one that limits: without it there is no decision. */
function rolesOf(identity: UserIdentity, cache: Pick<ClusterCache, "get">): Role[] {
  return identity.roles.map((name) => {
    const role = cache.get("role", name);
    if (role) return role;
    throw new AccessDenied(
      `the role "${printable(name)}" of this certificate does not exist (any more): log in again`,
    );
  });
}
