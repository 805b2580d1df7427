/** The limits of one user's connection to a host: of what roles and cluster say, the stricter. */
import type { SessionOptions } from "../access/mod.ts";
import type { Clock } from "../base/clock.ts";
import { parseDuration } from "../base/duration.ts";
import type { UserIdentity } from "../cert/identity.ts";
import type { ServerConnection } from "../ssh/server.ts";
import type { ClusterCache } from "./cache.ts";
import type { ConnectionLease } from "./connection_leases.ts";
import { ConnectionLimits } from "./connection_limits.ts";

/** Somebody whose connection the roles limit. */
export interface LimitedUser {
  readonly identity: UserIdentity;
  readonly options: SessionOptions;
  /** The connection's place among those that the user may have at one time. */
  readonly lease?: ConnectionLease;
}

export interface LimitContext {
  readonly cache: Pick<ClusterCache, "list">;
  readonly clock: Clock;
  /** Told once, before the connection is closed, with what its client reads. */
  readonly onReached: (reason: string) => void;
}

/** Closes the connection when a limit is reached, and gives its lease back when it is gone. */
export function limitConnection(
  connection: Pick<ServerConnection<LimitedUser>, "identity" | "closed" | "close">,
  { cache, clock, onReached }: LimitContext,
): ConnectionLimits {
  const { options, identity, lease } = connection.identity;
  const cluster = cache.list("cluster_config")[0]?.spec;
  const idle = [
    options.clientIdleTimeoutMs,
    cluster ? parseDuration(cluster.client_idle_timeout) : 0,
  ].filter((ms) => ms > 0);
  const mustEnd = options.disconnectExpiredCert || (cluster?.disconnect_expired_cert ?? false);
  const limits = new ConnectionLimits({
    clock,
    expiresMs: mustEnd ? identity.validBeforeMs : undefined,
    idleTimeoutMs: idle.length > 0 ? Math.min(...idle) : 0,
    disconnect: (reason) => {
      onReached(reason);
      connection.close(reason);
    },
  });
  lease?.hold((reason) => limits.end(reason));
  connection.closed.then(() => {
    limits.stop();
    lease?.release();
  });
  return limits;
}
