/**
 * The proxy's SSH port. It checks who somebody is, finds out where they want to go, and then only
 * moves bytes: whether they may go there is decided at the other end, by the node. While the cluster
 * records at the proxy, connections to hosts end here instead (recording/recording_proxy.ts).
 */
import type { Duplex } from "node:stream";
import type { AuditEmitter } from "../audit/events.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { AccessDenied, InternalError, messageOf, TeleportError } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { formatAddr } from "../base/net.ts";
import { printable } from "../base/text.ts";
import type { TrustedAuthority } from "../cert/check.ts";
import type { UserIdentity } from "../cert/identity.ts";
import type { HostIdentity } from "../host/identity.ts";
import {
  type AuthAttempt,
  type AuthFailure,
  type ServerChannel,
  type ServerConnection,
  type ServerLimits,
  type SessionHandlers,
  SshServer,
} from "../ssh/server.ts";
import { copy } from "../ssh/stream.ts";
import { dialAuthServer, dialRoute, type DialTarget } from "./dialer.ts";
import type { RecordingProxy } from "./recording/recording_proxy.ts";
import {
  isProxyRequest,
  parseProxyRequest,
  type ProxyRequest,
  type Target,
  unknownCluster,
} from "./request.ts";
import { AmbiguousNode, type Router } from "./route.ts";
import { authenticateUser } from "./user_auth.ts";

export interface SshFrontOptions {
  /** The cluster whose users come in. */
  readonly cluster: string;
  readonly identity: () => HostIdentity;
  /** The trusted user authorities, as they are now. */
  readonly userAuthorities: () => TrustedAuthority[];
  readonly router: Router;
  /** Where `proxy:@cluster` leads, tried in turn. */
  readonly authServers: readonly string[];
  /** When the auth service was last seen, and whether it is there now. */
  readonly clusterStatus: () => { readonly online: boolean; readonly lastSeenMs?: number };
  readonly audit?: AuditEmitter;
  /** Takes connections to hosts while it is on. */
  readonly recording?: Pick<RecordingProxy, "isOn" | "open">;
  readonly clock?: Clock;
  readonly dial?: DialTarget;
  readonly limits?: Partial<ServerLimits>;
}

type Connection = ServerConnection<UserIdentity>;

/** Of what a client has typed, so many characters go into an audit event. */
const MAX_EVENT_TEXT = 512;

export class SshFront {
  readonly server: SshServer<UserIdentity>;
  readonly #options: SshFrontOptions;
  readonly #clock: Clock;
  readonly #log = log("proxy");

  constructor(options: SshFrontOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.server = new SshServer<UserIdentity>({
      hostKeys: () => {
        const { key, certificate } = options.identity();
        return [{ key, certificate }];
      },
      authenticate: (attempt) => this.#authenticate(attempt),
      onConnection: (connection) => this.#serve(connection),
      onAuthFailure: (failure) => this.#authFailed(failure),
      ...(options.limits ? { limits: options.limits } : {}),
    });
  }

  #authenticate(attempt: AuthAttempt): UserIdentity {
    return authenticateUser(attempt, this.#options.userAuthorities(), this.#clock.now());
  }

  #serve(connection: Connection): void {
    connection.handle({
      session: () => this.#session(connection),
      directTcpip: async ({ host, port }) => {
        const end = new AbortController();
        connection.closed.then(() => end.abort());
        const target = { host, port };
        try {
          const stream = await this.#open(connection, { kind: "host", target }, end.signal);
          this.#forwarded(connection, target);
          return stream;
        } catch (error) {
          if (!end.signal.aborted) this.#forwarded(connection, target, error);
          // One line is all that a channel's refusal can carry.
          throw withCandidates(error);
        }
      },
      tcpipForward: (bind) => {
        const error = new AccessDenied("this is a proxy: it listens for nobody, nodes do");
        this.#forwarded(connection, bind, error);
        return Promise.reject(error);
      },
    });
  }

  #session(connection: Connection): SessionHandlers {
    return {
      authorize: (request) => {
        if (request.kind === "subsystem" && isProxyRequest(request.name)) return;
        throw new AccessDenied("this is a proxy: it runs no commands, it leads to nodes");
      },
      start: async (request, channel) => {
        if (request.kind !== "subsystem") return channel.exit(1);
        await this.#subsystem(connection, request.name, channel);
      },
    };
  }

  async #subsystem(connection: Connection, name: string, channel: ServerChannel): Promise<void> {
    const gone = new AbortController();
    channel.closed.then(() => gone.abort());
    let upstream: Duplex;
    try {
      const request = parseProxyRequest(name);
      if (request.kind === "sites") {
        channel.stream.end(JSON.stringify([this.#site()]) + "\n");
        this.#succeeded(connection, name);
        return channel.exit(0);
      }
      upstream = await this.#open(connection, request, gone.signal);
    } catch (error) {
      if (gone.signal.aborted) return;
      this.#failed(connection, name, error);
      channel.stderr.write(explain(error));
      return channel.exit(1);
    }
    await relayToEnd(channel, upstream);
    this.#succeeded(connection, name);
  }

  async #open(
    connection: Connection,
    request: Exclude<ProxyRequest, { kind: "sites" }>,
    signal: AbortSignal,
  ): Promise<Duplex> {
    const { cluster, router, authServers, recording, dial } = this.#options;
    const wanted = request.cluster ?? connection.identity.routeToCluster ?? cluster;
    if (wanted !== cluster) throw unknownCluster(wanted);
    const options = { signal, ...(dial ? { dial } : {}) };
    if (request.kind === "auth") return await dialAuthServer(authServers, options);
    const { target } = request;
    const route = await router.route(target);
    if (recording?.isOn) {
      const onAuthFailure = (failure: AuthFailure) => this.#authFailed(failure);
      return await recording.open({ connection, target, route, signal, onAuthFailure });
    }
    return await dialRoute(route, connection.remote, options);
  }

  #site(): Record<string, unknown> {
    const { online, lastSeenMs } = this.#options.clusterStatus();
    return {
      name: this.#options.cluster,
      status: online ? "online" : "offline",
      // Go's zero time, as Teleport writes what never was.
      lastconnected: lastSeenMs === undefined
        ? "0001-01-01T00:00:00Z"
        : new Date(lastSeenMs).toISOString(),
    };
  }

  #succeeded(connection: Connection, name: string): void {
    this.#options.audit?.emit({
      event: "subsystem",
      code: "T3001I",
      ...this.#eventFields(connection),
      name,
    });
  }

  #failed(connection: Connection, name: string, error: unknown): void {
    this.#logFailure(connection, name, error);
    this.#options.audit?.emit({
      event: "subsystem",
      code: "T3001E",
      ...this.#eventFields(connection),
      name: name.slice(0, MAX_EVENT_TEXT),
      exitError: messageOf(error),
    });
  }

  #forwarded(connection: Connection, target: Target, error?: unknown): void {
    const addr = formatAddr(target);
    if (error !== undefined) this.#logFailure(connection, addr, error);
    this.#options.audit?.emit({
      event: "port",
      code: error === undefined ? "T3003I" : "T3003E",
      ...this.#eventFields(connection),
      addr: addr.slice(0, MAX_EVENT_TEXT),
      success: error === undefined,
      ...(error === undefined ? {} : { error: messageOf(error) }),
    });
  }

  #logFailure(connection: Connection, target: string, error: unknown): void {
    const expected = error instanceof TeleportError;
    this.#log[expected ? "info" : "error"]("A connection was not made", {
      user: connection.identity.user,
      client: formatAddr(connection.remote),
      target,
      error: expected ? error.message : error,
    });
  }

  #eventFields(connection: Connection) {
    return {
      user: connection.identity.user,
      login: connection.username,
      server_id: this.#options.identity().hostId,
      "addr.local": formatAddr(connection.local),
      "addr.remote": formatAddr(connection.remote),
      proto: "ssh" as const,
    };
  }

  #authFailed(
    failure: AuthFailure,
  ): void {
    this.#log.info("A client was refused", {
      login: printable(failure.username),
      client: formatAddr(failure.remote),
      error: failure.message,
    });
    // Strangers who knock with bare keys are for the log; a certificate that is refused is news.
    if (!failure.certificate) return;
    this.#options.audit?.emit({
      event: "auth",
      code: "T3007W",
      user: failure.certificate.keyId,
      login: failure.username,
      server_id: this.#options.identity().hostId,
      "addr.local": formatAddr(failure.local),
      "addr.remote": formatAddr(failure.remote),
      proto: "ssh",
      success: false,
      error: failure.message,
      message: failure.message,
    });
  }
}

/**
 * Both directions until the far end has said all it had to say: a server that closed its side of an
 * SSH connection reads no more. The channel ends with status 0, or 1 when the far end broke off.
 */
async function relayToEnd(channel: ServerChannel, upstream: Duplex): Promise<void> {
  // Before the copying ends the channel's output: the status belongs in front of EOF.
  upstream.once("end", () => channel.exit(0));
  const abandon = () => upstream.destroy();
  copy(channel.stream, upstream, abandon);
  await copy(upstream, channel.stream, abandon);
  upstream.destroy();
  channel.exit(1);
}

/** What a client sees on its stderr: one line of error, and the candidates if there are several. */
function explain(error: unknown): string {
  const lines = [`error: ${describe(error)}`];
  if (error instanceof AmbiguousNode) lines.push("", ...error.candidates);
  return lines.map((line) => line + "\n").join("");
}

function describe(error: unknown): string {
  return error instanceof TeleportError
    ? printable(error.message)
    : "the proxy could not do this; its log says why";
}

/** As one line, for a channel that is refused: what is our own fault is said without detail. */
function withCandidates(error: unknown): unknown {
  if (!(error instanceof AmbiguousNode)) {
    return error instanceof TeleportError ? error : new InternalError(describe(error));
  }
  const ids = error.candidates.slice(2).map((line) => line.trim().replace(/\s+/g, " "));
  return new AccessDenied(`${error.message}: ${ids.slice(0, 5).join("; ")}`);
}
