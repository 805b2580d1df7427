/**
 * Recording at the proxy: while the cluster wants it, a client's SSH connection to a host does not
 * pass through the proxy but ends here, on the stream that would have been relayed. The proxy shows
 * the client a certificate for the host that was asked for, checks the user's again, and goes on to
 * the host with the user's own certificate, signing through the user's forwarded agent.
 */
import type { Duplex } from "node:stream";
import { BadParameter, LimitExceeded } from "../../base/errors.ts";
import { isIpAddress } from "../../base/net.ts";
import type { ConnectionLeases } from "../../host/connection_leases.ts";
import { isHostName } from "../../cert/names.ts";
import type { UserIdentity } from "../../cert/identity.ts";
import {
  type AuthFailure,
  type HostKey,
  type ServerConnection,
  type ServerLimits,
  SshServer,
} from "../../ssh/server.ts";
import { dialRoute, type DialTarget } from "../dialer.ts";
import type { Target } from "../request.ts";
import type { Route } from "../route.ts";
import type { HostCertificates } from "./host_certificates.ts";
import {
  factsOf,
  type RecordedContext,
  recordingMode,
  reportTooMany,
  serveRecorded,
} from "./recorded_connection.ts";
import { authenticateRecorded, type RecordedUser, withLease } from "./recorded_user.ts";
import { streamPair } from "./stream_pair.ts";
import { TargetConnection } from "./target_connection.ts";

export interface RecordingProxyOptions extends RecordedContext {
  readonly certificates: HostCertificates;
  readonly leases: Pick<ConnectionLeases, "acquire">;
  readonly dial?: DialTarget;
  readonly limits?: Partial<ServerLimits>;
}

export interface RecordedRequest {
  /** The client's connection to the proxy. */
  readonly connection: ServerConnection<UserIdentity>;
  readonly target: Target;
  readonly route: Route;
  /** Gives up what is not there yet. */
  readonly signal: AbortSignal;
  /** Somebody was refused on the connection behind. */
  readonly onAuthFailure: (failure: AuthFailure) => void;
}

export class RecordingProxy {
  readonly #options: RecordingProxyOptions;
  readonly #servers = new Set<SshServer<RecordedUser>>();
  /** Sessions that have not ended. */
  readonly #running = new Set<Promise<unknown>>();

  constructor(options: RecordingProxyOptions) {
    this.#options = options;
  }

  /** Whether the cluster records at the proxy now. */
  get isOn(): boolean {
    const mode = recordingMode(this.#options.cache);
    return mode === "proxy" || mode === "proxy-sync";
  }

  /**
   * The stream on which the client's SSH with the host ends here.
   *
   * @throws AccessDenied for a host that a proxy may not stand in for; ConnectionProblem when the
   *   host cannot be reached, or auth is away and the host is new
   */
  async open(request: RecordedRequest): Promise<Duplex> {
    const { connection, target, route, signal } = request;
    const { certificates, dial } = this.#options;
    const name = shownName(target, route);
    const [certified, dialed] = await Promise.allSettled([
      certificates.get(name),
      dialRoute(route, connection.remote, { signal, ...(dial ? { dial } : {}) }),
    ]);
    if (certified.status === "rejected") {
      if (dialed.status === "fulfilled") dialed.value.destroy();
      throw certified.reason;
    }
    if (dialed.status === "rejected") throw dialed.reason;
    const first = dialed.value;
    const [near, far] = streamPair();
    const server = this.#server(request, first, certified.value);
    this.#servers.add(server);
    far.once("close", () => {
      this.#servers.delete(server);
      first.destroy();
    });
    server.accept(far, connection.remote, connection.local);
    return near;
  }

  /** Waits up to `drainMs` milliseconds for sessions to end, and ends what is left. */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.close(o)));
    await Promise.all(this.#running);
  }

  #server(
    { connection: outer, target, route, onAuthFailure }: RecordedRequest,
    first: Duplex,
    hostKey: HostKey,
  ): SshServer<RecordedUser> {
    const { cache, identity, leases, clock, dial, limits } = this.#options;
    const { cluster } = identity();
    const authorities = (type: "user" | "host") =>
      cache.authorities(type).filter((each) => each.cluster === cluster);
    const userAuthorities = () => authorities("user");
    const recorded = { asked: target.host, route };
    return new SshServer<RecordedUser>({
      hostKeys: () => [hostKey],
      authenticate: async (attempt) => {
        const user = authenticateRecorded(attempt, {
          outer: outer.identity,
          authorities: userAuthorities(),
          cache,
          nowMs: clock.now(),
        });
        if (route.node) return user;
        return await withLease(user, leases).catch((error) => {
          const max = user.options.maxConnections;
          if (error instanceof LimitExceeded) {
            const facts = factsOf({ ...attempt, identity: user }, recorded, this.#options);
            reportTooMany(this.#options.audit, facts, "max_connections", max);
          }
          throw error;
        });
      },
      onAuthFailure,
      onConnection: (connection) => {
        const made = new TargetConnection({
          connection,
          ...recorded,
          first,
          dial: () => dialRoute(route, outer.remote, dial ? { dial } : {}),
          policy: () => ({
            cluster,
            authorities: authorities("host"),
            checksHostKeys: cache.list("cluster_config")[0]?.spec.proxy_checks_host_keys ?? true,
            nowMs: clock.now(),
          }),
          userAuthorities,
        });
        serveRecorded(connection, recorded, made, this.#options, this.#running);
      },
      ...(limits ? { limits } : {}),
    });
  }
}

/** What the client will look for in the host's certificate: what it has asked for. */
function shownName({ host }: Target, { node }: Route): string {
  if (isIpAddress(host) || isHostName(host.toLowerCase())) return host;
  if (node) return node.spec.hostname;
  throw new BadParameter(`${JSON.stringify(host.slice(0, 100))} is not the name of a host`);
}
