/** One authenticated connection to the node: its sessions, its limits, what it may not do. */
import type { Clock } from "../../base/clock.ts";
import { AccessDenied, LimitExceeded, messageOf } from "../../base/errors.ts";
import { uuid } from "../../base/ids.ts";
import { log } from "../../base/log.ts";
import { formatAddr } from "../../base/net.ts";
import type { SshConfig } from "../../config/mod.ts";
import type { AuditQueue } from "../../host/audit_queue.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { HostIdentity } from "../../host/identity.ts";
import type { TapeStarter } from "../../recording/tape.ts";
import type { ServerConnection, SessionHandlers } from "../../ssh/server.ts";
import type { AgentSockets } from "../forward/agent_socket.ts";
import { PortForwarding } from "../forward/port_forwarding.ts";
import { Relays } from "../forward/relays.ts";
import { SessionForwarding } from "../forward/session_forwarding.ts";
import type { NodeUser } from "./authorizer.ts";
import { limitConnection } from "../../host/limit_connection.ts";
import { checkProxied } from "../../host/proxied_session.ts";
import type { RunningSessions } from "../../host/running_sessions.ts";
import { Session, type SessionOptions } from "./session.ts";
import { connectionFields, type NodeFacts, SessionAudit } from "./session_audit.ts";

export interface ConnectionContext {
  readonly config: Pick<SshConfig, "permitUserEnv">;
  readonly identity: () => HostIdentity;
  /** Command line that runs this program, up to its verb. */
  readonly teleportCommand: readonly string[];
  readonly cache: Pick<ClusterCache, "authorities" | "get" | "list">;
  readonly audit: Pick<AuditQueue, "emit" | "full">;
  readonly facts: NodeFacts;
  readonly clock: Clock;
  /** Sessions that have not ended. */
  readonly running: Set<Promise<unknown>>;
  readonly sessions: RunningSessions;
  readonly tapes: TapeStarter;
  readonly agentSockets: AgentSockets;
}

/** Forwarded connections that a client may have at once. */
const MAX_FORWARDS = 2048;

export function serveConnection(
  connection: ServerConnection<NodeUser>,
  context: ConnectionContext,
): void {
  const { relayedBy, remote, username, identity } = connection;
  log("node").info("Logged in", {
    user: identity.identity.user,
    login: username,
    client: formatAddr(remote),
    ...(relayedBy ? { relayed_by: formatAddr(relayedBy) } : {}),
  });
  const { audit, cache, clock, facts } = context;
  const limits = limitConnection(connection, {
    cache,
    clock,
    onReached: (reason) => {
      const fields = connectionFields(facts, connection);
      audit.emit({ event: "client.disconnect", code: "T3006I", ...fields, reason });
    },
  });
  const onActivity = () => limits.active();
  const relays = new Relays(MAX_FORWARDS, onActivity);
  const ports = new PortForwarding({ connection, audit, facts, relays });
  let sessions = 0;
  connection.handle({
    session: () => {
      refuseTooMany(sessions, connection, context);
      sessions++;
      return openSession(connection, context, relays, {
        onActivity,
        mayReturn: () => !limits.wereReached,
        onClosed: () => sessions--,
      });
    },
    maxForwards: connection.identity.options.portForwarding ? MAX_FORWARDS : 0,
    directTcpip: (target) => ports.connect(target),
    tcpipForward: (bind) => ports.listen(bind),
    cancelTcpipForward: (bind) => ports.cancel(bind),
    unknownForward: (type, target) => ports.refused(type, target),
    onForwardActivity: onActivity,
  });
}

/** @throws LimitExceeded when the roles allow no further session in this connection */
function refuseTooMany(
  sessions: number,
  connection: ServerConnection<NodeUser>,
  { audit, facts }: ConnectionContext,
): void {
  const { options: { maxSessions: max }, identity: { user } } = connection.identity;
  if (max === 0 || sessions < max) return;
  const reason = "max_sessions limit reached";
  const fields = connectionFields(facts, connection);
  audit.emit({ event: "session.rejected", code: "T1006W", ...fields, reason, max });
  throw new LimitExceeded(`too many session channels for user "${user}" (max=${max})`);
}

function openSession(
  connection: ServerConnection<NodeUser>,
  context: ConnectionContext,
  relays: Relays,
  callbacks: Pick<SessionOptions, "onActivity" | "mayReturn" | "onClosed">,
): SessionHandlers {
  const { config, identity, cache, audit, facts, clock, running } = context;
  const id = uuid();
  const fields = connectionFields(facts, connection);
  return new Session({
    id,
    proxied: (value) => proxiedSession(value, connection, context),
    connection,
    facts: fields,
    audit: new SessionAudit(audit, { ...fields, sid: id }, clock),
    auditWorks: () => !audit.full,
    cluster: identity().cluster,
    cache,
    sessions: context.sessions,
    tapes: context.tapes,
    forwarding: new SessionForwarding({
      sessionId: id,
      connection,
      audit,
      facts,
      sockets: context.agentSockets,
      relays,
    }),
    // Not known yet: then this node records, which is never less than what is wanted.
    recording: cache.list("cluster_config")[0]?.spec.session_recording ?? "node",
    webProxyAddr: cache.list("proxy").find(({ spec }) => spec.public_addr)?.spec.public_addr,
    permitUserEnv: config.permitUserEnv,
    teleportCommand: context.teleportCommand,
    onStart: (ended) => {
      const settled = ended.catch(() => {}).finally(() => running.delete(settled));
      running.add(settled);
    },
    onJoinRefused: (reason) =>
      audit.emit({ event: "session.rejected", code: "T1006W", ...fields, reason }),
    ...callbacks,
  }).handlers;
}

/** Whoever says so without proof is recorded here as well. */
function proxiedSession(
  value: string,
  { identity, username }: ServerConnection<NodeUser>,
  { identity: own, cache, clock, sessions }: ConnectionContext,
): string | undefined {
  const { hostId, cluster } = own();
  const want = { nodeId: hostId, user: identity.identity.user, login: username };
  const authorities = cache.authorities("host").filter((each) => each.cluster === cluster);
  try {
    const sid = checkProxied(value, want, authorities, clock.now());
    if (sessions.get(sid)) throw new AccessDenied("there is a session with this id");
    return sid;
  } catch (error) {
    const { user } = want;
    log("node").warn("A session is said to be recorded at a proxy, and nothing proves it", {
      user,
      error: messageOf(error),
    });
    return undefined;
  }
}
