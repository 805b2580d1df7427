/** What the options of several roles come to for one session. */

import { parseDuration } from "../base/duration.ts";
import type { CertFormat, Role, RoleOptions } from "../resources/types.ts";

export interface SessionOptions {
  /** The least of all roles. */
  maxSessionTtlMs: number;
  forwardAgent: boolean;
  portForwarding: boolean;
  x11: boolean;
  certFormat: CertFormat;
  /** The least that is not "never"; 0: never. */
  clientIdleTimeoutMs: number;
  disconnectExpiredCert: boolean;
  /** The least that is not 0; 0: no limit. */
  maxConnections: number;
  /** The least that is not 0; 0: no limit. */
  maxSessions: number;
}

const noRoleTtlMs = 30 * 3_600_000;

/** Limits: the tightest of all roles. Permissions: one role that gives it is enough. */
export function sessionOptions(roles: readonly Role[]): SessionOptions {
  const all = roles.map(({ spec }) => spec.options);
  const any = (pick: (options: RoleOptions) => boolean) => all.some(pick);
  const ttls = all.map(({ max_session_ttl }) => parseDuration(max_session_ttl));
  return {
    maxSessionTtlMs: leastLimit(ttls) || noRoleTtlMs,
    forwardAgent: any(({ forward_agent }) => forward_agent),
    portForwarding: any(({ port_forwarding }) => port_forwarding),
    x11: any(({ permit_x11_forwarding }) => permit_x11_forwarding),
    // It is what the oldest of the user's servers understands that counts.
    certFormat: any(({ cert_format }) => cert_format === "oldssh") ? "oldssh" : "standard",
    clientIdleTimeoutMs: leastLimit(
      all.map(({ client_idle_timeout }) => parseDuration(client_idle_timeout)),
    ),
    disconnectExpiredCert: any(({ disconnect_expired_cert }) => disconnect_expired_cert),
    maxConnections: leastLimit(all.map(({ max_connections }) => max_connections)),
    maxSessions: leastLimit(all.map(({ max_sessions }) => max_sessions)),
  };
}

/** The least value, where 0 means no limit. */
function leastLimit(values: number[]): number {
  const limits = values.filter((value) => value > 0);
  return limits.length === 0 ? 0 : Math.min(...limits);
}
