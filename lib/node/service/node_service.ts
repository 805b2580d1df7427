/** The node role of a daemon: the SSH service on 3022, its labels, its heartbeat. */
import type { AuditEmitter } from "../../audit/events.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { parseDuration } from "../../base/duration.ts";
import { messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { formatAddr, normalizeIp, parseAddr } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import { VERSION } from "../../base/version.ts";
import type { Config } from "../../config/mod.ts";
import { advertisedHost } from "../../host/addresses.ts";
import { AuditQueue } from "../../host/audit_queue.ts";
import type { AuthConnection } from "../../host/auth_connection.ts";
import { ClusterCache } from "../../host/cache.ts";
import { privateDirectory } from "../../base/files.ts";
import { HostRecordings } from "../../host/recordings.ts";
import { Heartbeat } from "../../host/heartbeat.ts";
import { ConnectionLeases } from "../../host/connection_leases.ts";
import type { HostIdentity } from "../../host/identity.ts";
import { SessionReports } from "../../host/session_reports.ts";
import type { Node } from "../../resources/types.ts";
import type { Certificate } from "../../sshwire/certificate.ts";
import {
  type AuthAttempt,
  type AuthFailure,
  type PeerAddress,
  SshServer,
} from "../../ssh/server.ts";
import { AgentSockets } from "../forward/agent_socket.ts";
import { Authorizer, type NodeUser } from "./authorizer.ts";
import { serveConnection } from "./connection.ts";
import { NodeLabels } from "./labels.ts";
import { RunningSessions } from "../../host/running_sessions.ts";
import { connectionFields, type NodeFacts } from "./session_audit.ts";

export interface NodeOptions {
  readonly config: Config;
  /** The host's identity with role Node, as it is now. */
  readonly identity: () => HostIdentity;
  /** The node's own connection to the auth service. */
  readonly auth: Pick<AuthConnection, "api" | "call" | "state" | "away">;
  /** Command line that runs this program, up to its verb. */
  readonly teleportCommand: readonly string[];
  readonly clock?: Clock;
}

const DEFAULT_PORT = 3022;
const DEFAULT_DRAIN_MS = 2_000;
/** For how long each spool may take to be sent when the node stops, in milliseconds. */
const SPOOL_DRAIN_MS = 1_000;

/**
 * Starts the node: its port is open when this resolves.
 *
 * @throws Deno.errors.* when the address cannot be listened on
 */
export async function startNode(options: NodeOptions): Promise<NodeService> {
  const { config, identity, auth } = options;
  const { host, port } = parseAddr(config.ssh.listenAddr, DEFAULT_PORT);
  const listener = Deno.listen({ hostname: host, port });
  try {
    const directory = await privateDirectory(`${config.dataDir}/cache`);
    const cache = new ClusterCache({
      api: (signal) => auth.api({ waitMs: Infinity, signal }),
      kinds: ["role", "cert_authority", "proxy", "cluster_config"],
      path: `${directory}/node.json`,
      authorities: identity().authorities,
    });
    const audit = new AuditQueue({
      directory: `${config.dataDir}/log/spool/node`,
      send: (events, signal) => auth.call("audit.emit", { events }, { signal }),
    });
    const { hostId } = identity();
    const recordings = await HostRecordings.open({
      dataDir: config.dataDir,
      role: "node",
      hostId,
      auth,
      cache,
      audit,
    });
    const labels = new NodeLabels(config.ssh.labels, config.ssh.commands);
    return new NodeService(options, { listener, cache, audit, recordings, labels });
  } catch (error) {
    listener.close();
    throw error;
  }
}

interface Parts {
  readonly listener: Deno.TcpListener;
  readonly cache: ClusterCache;
  readonly audit: AuditQueue;
  readonly recordings: HostRecordings;
  readonly labels: NodeLabels;
}

export class NodeService {
  /** Serving, and known to the cluster unless the auth service is away. */
  readonly ready: Promise<void>;
  readonly #options: NodeOptions;
  readonly #parts: Parts;
  readonly #server: SshServer<NodeUser>;
  readonly #heartbeat: Heartbeat<Node>;
  readonly #authorizer: Authorizer;
  readonly #leases: ConnectionLeases;
  /** Of clients whose refusal the audit log knows already, under its own name. */
  readonly #reported = new WeakSet<Certificate>();
  readonly #agentSockets: AgentSockets;
  readonly #clock: Clock;
  readonly #facts: NodeFacts;
  /** Sessions that have not ended. */
  readonly #running = new Set<Promise<unknown>>();
  readonly #sessions = new RunningSessions();
  readonly #reports: SessionReports;

  /** For {@linkcode startNode}. */
  constructor(options: NodeOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#clock = options.clock ?? systemClock;
    const { config, identity, auth } = options;
    const { cluster, hostId } = identity();
    this.#facts = {
      hostId,
      hostname: config.nodename,
      addr: formatAddr({
        host: advertisedHost(config.advertiseIp, this.addr.hostname),
        port: this.addr.port,
      }),
      labels: () => parts.labels.current,
    };
    this.#leases = new ConnectionLeases({
      auth,
      timeoutMs: () =>
        parseDuration(parts.cache.list("cluster_config")[0]?.spec.session_control_timeout ?? "2m"),
    });
    this.#authorizer = new Authorizer({
      cluster,
      cache: parts.cache,
      labels: () => parts.labels.current,
      clock: this.#clock,
      leases: this.#leases,
      onTooMany: (attempt, user) => this.#tooManyConnections(attempt, user),
    });
    this.#agentSockets = AgentSockets.of(hostId, config.dataDir);
    this.#agentSockets.clean();
    this.#server = this.#makeServer();
    this.#heartbeat = new Heartbeat<Node>({
      describe: () => this.#describe(),
      announce: async (_, signal) => {
        // What labels decide must not be decided without them: described again, now complete.
        await parts.labels.ready;
        await auth.call("nodes.heartbeat", { node: this.#describe() }, { signal });
      },
    });
    this.#reports = new SessionReports({
      auth,
      list: () => this.#sessions.list(),
      end: (sid, by, reason) => {
        const why = reason ? `: ${printable(reason)}` : "";
        const found = this.#sessions.end(sid, `The session was ended by ${printable(by)}${why}`);
        log("node").info("A session is to end", { sid, by, reason, found });
      },
    });
    this.#sessions.onChange(() => this.#reports.changed());
    this.ready = this.#serve();
    this.ready.catch(() => {});
  }

  /** Where the node listens. */
  get addr(): Deno.NetAddr {
    return this.#parts.listener.addr as Deno.NetAddr;
  }

  get connectionCount(): number {
    return this.#server.connectionCount;
  }

  /** Stops taking connections, and cuts those that are left after `drainMs` milliseconds. */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    const { cache, audit, labels, listener } = this.#parts;
    const drained = this.#server.close({ drainMs: o.drainMs ?? DEFAULT_DRAIN_MS });
    // The server closes it only when it had begun to serve.
    closeQuietly(listener);
    await Promise.all([
      drained,
      this.#heartbeat.close(),
      this.#reports.close(),
      labels.close(),
    ]);
    // Those that wait for somebody's return. All have their ends to report.
    this.#sessions.endAll("The node is stopping");
    await Promise.all(this.#running);
    this.#leases.close();
    const drainMs = this.#options.auth.state.status === "connected" ? SPOOL_DRAIN_MS : 0;
    await this.#parts.recordings.close({ drainMs });
    await audit.close({ drainMs });
    await cache.close();
  }

  /** Nobody is let in before the roles, the authorities and the labels are known. */
  async #serve(): Promise<void> {
    const { cache, labels, listener } = this.#parts;
    await Promise.all([cache.ready, labels.ready]);
    this.#server.serve(listener).catch((error) => {
      log("node").error("The SSH port has failed", { error: messageOf(error) });
    });
    await Promise.race([this.#heartbeat.announced, this.#options.auth.away()]);
  }

  #makeServer(): SshServer<NodeUser> {
    const { config, identity } = this.#options;
    return new SshServer<NodeUser>({
      hostKeys: () => {
        const { key, certificate } = identity();
        return [{ key, certificate }];
      },
      authenticate: (attempt) => this.#authorizer.authenticate(attempt),
      onConnection: (connection) =>
        serveConnection(connection, {
          config: config.ssh,
          identity,
          teleportCommand: this.#options.teleportCommand,
          cache: this.#parts.cache,
          audit: this.#parts.audit,
          facts: this.#facts,
          clock: this.#clock,
          running: this.#running,
          sessions: this.#sessions,
          tapes: this.#parts.recordings.recorder,
          agentSockets: this.#agentSockets,
        }),
      onAuthFailure: (failure) => this.#authFailed(failure),
      clientAddressFrom: (remote) => this.#isProxy(remote),
      limits: {
        keepAliveIntervalMs: config.auth.keepAliveIntervalMs,
        keepAliveCountMax: config.auth.keepAliveCountMax,
      },
    });
  }

  /** A proxy may come from another of its addresses: then its own address is what is logged. */
  #isProxy(remote: PeerAddress): boolean {
    const address = normalizeIp(remote.host);
    return this.#parts.cache.list("proxy").some(({ spec }) =>
      normalizeIp(parseAddr(spec.addr).host) === address
    );
  }

  #tooManyConnections(attempt: AuthAttempt, user: NodeUser): void {
    if (attempt.certificate) this.#reported.add(attempt.certificate);
    this.#parts.audit.emit({
      event: "session.rejected",
      code: "T1006W",
      ...connectionFields(this.#facts, { ...attempt, identity: user }),
      reason: "max_connections limit reached",
      max: user.options.maxConnections,
    });
  }

  #authFailed(failure: AuthFailure): void {
    const { username, remote, local, message, certificate } = failure;
    log("node").info("A client was refused", {
      login: printable(username),
      client: formatAddr(remote),
      error: message,
    });
    // Strangers who knock with bare keys are for the log; a certificate that is refused is news.
    if (!certificate || this.#reported.has(certificate)) return;
    const { hostId, hostname, addr, labels } = this.#facts;
    const emitter: AuditEmitter = this.#parts.audit;
    emitter.emit({
      event: "auth",
      code: "T3007W",
      user: certificate.keyId,
      login: username,
      server_id: hostId,
      namespace: "default",
      server_hostname: hostname,
      server_addr: addr,
      server_labels: labels(),
      "addr.local": formatAddr(local),
      "addr.remote": formatAddr(remote),
      proto: "ssh",
      success: false,
      error: message,
      // What the client was told.
      message,
    });
  }

  #describe(): Node {
    const { config } = this.#options;
    const publicAddr = config.ssh.publicAddrs[0];
    return {
      kind: "node",
      version: "v2",
      metadata: { name: this.#facts.hostId, namespace: "default", labels: config.ssh.labels },
      spec: {
        addr: this.#facts.addr,
        ...(publicAddr ? { public_addr: formatAddr(parseAddr(publicAddr, DEFAULT_PORT)) } : {}),
        hostname: config.nodename,
        cmd_labels: this.#parts.labels.records,
        use_tunnel: false,
        version: VERSION,
      },
    };
  }
}

function closeQuietly(listener: Deno.TcpListener): void {
  try {
    listener.close();
  } catch {
    // The server has closed it.
  }
}
