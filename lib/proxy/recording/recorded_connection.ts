/** A client's connection to a host, that ends at the proxy: its sessions, its forwards, its limits. */
import type { AuditEmitter, RecordingMode } from "../../audit/events.ts";
import type { Clock } from "../../base/clock.ts";
import { LimitExceeded } from "../../base/errors.ts";
import { uuid } from "../../base/ids.ts";
import { log } from "../../base/log.ts";
import { formatAddr } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { HostIdentity } from "../../host/identity.ts";
import { limitConnection } from "../../host/limit_connection.ts";
import { proveProxied } from "../../host/proxied_session.ts";
import type { RunningSessions } from "../../host/running_sessions.ts";
import { type PartyFacts, SessionAudit } from "../../host/session_audit.ts";
import type { TapeStarter } from "../../recording/tape.ts";
import type { ServerConnection, SessionHandlers } from "../../ssh/server.ts";
import type { Route } from "../route.ts";
import { RecordedForwards } from "./recorded_forwards.ts";
import { RecordedSession } from "./recorded_session.ts";
import type { RecordedUser } from "./recorded_user.ts";
import type { TargetConnection } from "./target_connection.ts";

export interface RecordedContext {
  readonly identity: () => HostIdentity;
  /** How the audit log names the proxy. */
  readonly hostname: string;
  readonly addr: string;
  readonly cache: Pick<ClusterCache, "authorities" | "get" | "list">;
  readonly audit: AuditEmitter & { readonly full: boolean };
  readonly tapes: TapeStarter;
  readonly sessions: RunningSessions;
  readonly clock: Clock;
}

export interface RecordedTarget {
  /** The host as the client has named it. */
  readonly asked: string;
  readonly route: Route;
}

type Connection = ServerConnection<RecordedUser>;

/** Forwarded connections that a client may have at once. */
const MAX_FORWARDS = 2048;

/** Where the cluster wants sessions recorded. Not known yet: at the nodes. */
export function recordingMode(cache: Pick<ClusterCache, "list">): RecordingMode {
  return cache.list("cluster_config")[0]?.spec.session_recording ?? "node";
}

/** @param running gets the sessions that have not ended */
export function serveRecorded(
  connection: Connection,
  target: RecordedTarget,
  targetConnection: TargetConnection,
  context: RecordedContext,
  running: Set<Promise<unknown>>,
): void {
  const facts = factsOf(connection, target, context);
  log("proxy").info("Logged in to a host behind this proxy", {
    user: facts.user,
    login: facts.login,
    client: formatAddr(connection.remote),
    target: facts.target_addr,
  });
  const { audit, cache, clock } = context;
  // A node limits its connections itself.
  const limits = target.route.node ? undefined : limitConnection(connection, {
    cache,
    clock,
    onReached: (reason) => {
      audit.emit({ event: "client.disconnect", code: "T3006I", ...facts, reason });
    },
  });
  const onActivity = () => limits?.active();
  const auditWorks = () => !context.audit.full;
  const forwards = new RecordedForwards({
    connection,
    target: targetConnection,
    isNode: target.route.node !== undefined,
    facts,
    audit: context.audit,
    auditWorks,
    onActivity,
  });
  const ending = new Set<Promise<unknown>>();
  let sessions = 0;
  connection.handle({
    session: () => {
      if (!target.route.node) refuseTooMany(sessions, connection, facts, context);
      sessions++;
      return openSession(connection, target, targetConnection, facts, context, {
        onActivity,
        onStart: (ended) => {
          keepUntilSettled(ended, running);
          keepUntilSettled(ended, ending);
        },
        onClosed: () => sessions--,
      });
    },
    maxForwards: connection.identity.options.portForwarding ? MAX_FORWARDS : 0,
    directTcpip: (to) => forwards.connect(to),
    tcpipForward: (bind) => forwards.listen(bind),
    cancelTcpipForward: (bind) => forwards.cancel(bind),
    unknownForward: (type, to) => forwards.refused(type, to),
    onForwardActivity: onActivity,
  });
  targetConnection.lost.then(async (error) => {
    // Its sessions have something to say to the client first.
    await Promise.all(ending);
    const reason = error?.message.replace(/^The other side disconnected: /, "");
    connection.close(reason ?? `${printable(target.asked)} has closed the connection`);
  });
}

function keepUntilSettled(
  ended: Promise<void>,
  among: Set<Promise<unknown>>,
): void {
  const settled = ended.catch(() => {}).finally(() => among.delete(settled));
  among.add(settled);
}

/** @throws LimitExceeded when the roles allow no further session in this connection */
function refuseTooMany(
  sessions: number,
  connection: Connection,
  facts: PartyFacts,
  { audit }: RecordedContext,
): void {
  const { maxSessions: max } = connection.identity.options;
  if (max === 0 || sessions < max) return;
  reportTooMany(audit, facts, "max_sessions", max);
  throw new LimitExceeded(`too many session channels for user "${facts.user}" (max=${max})`);
}

/** A limit of the roles was reached. */
export function reportTooMany(
  audit: AuditEmitter,
  facts: PartyFacts,
  limit: "max_connections" | "max_sessions",
  max: number,
): void {
  const reason = `${limit} limit reached`;
  audit.emit({ event: "session.rejected", code: "T1006W", ...facts, reason, max });
}

function openSession(
  connection: Connection,
  { asked, route }: RecordedTarget,
  target: TargetConnection,
  facts: PartyFacts,
  { identity, audit, cache, clock, tapes, sessions }: RecordedContext,
  callbacks: {
    onActivity: () => void;
    onStart: (ended: Promise<void>) => void;
    onClosed: () => void;
  },
): SessionHandlers {
  const id = uuid();
  const nodeId = route.node?.metadata.name ?? "";
  const { user, login } = facts;
  return new RecordedSession({
    id,
    connection,
    target,
    isNode: route.node !== undefined,
    proof: () => proveProxied({ sid: id, nodeId, user, login }, identity()),
    place: {
      server_id: nodeId,
      server_hostname: route.node?.spec.hostname ?? asked,
      server_addr: formatAddr(route),
      cluster: identity().cluster,
    },
    facts,
    audit: new SessionAudit(audit, { ...facts, sid: id }, clock),
    auditWorks: () => !audit.full,
    recording: recordingMode(cache),
    tapes,
    sessions,
    onRejected: (reason) =>
      audit.emit({ event: "session.rejected", code: "T1006W", ...facts, reason }),
    onX11: (error) =>
      audit.emit({
        event: "x11-forward",
        code: error === undefined ? "T3008I" : "T3008W",
        ...facts,
        sid: id,
        success: error === undefined,
        ...(error === undefined ? {} : { error }),
      }),
    ...callbacks,
  }).handlers;
}

/** How the audit log names a connection to a host behind this proxy. */
export function factsOf(
  connection: Pick<Connection, "identity" | "username" | "local" | "remote">,
  { asked, route }: RecordedTarget,
  { identity, hostname, addr }: RecordedContext,
): PartyFacts {
  return {
    user: connection.identity.identity.user,
    login: connection.username,
    server_id: identity().hostId,
    namespace: "default",
    server_hostname: hostname,
    server_addr: addr,
    ...(route.node ? { target_id: route.node.metadata.name } : {}),
    target_hostname: route.node?.spec.hostname ?? asked,
    target_addr: formatAddr(route),
    "addr.local": formatAddr(connection.local),
    "addr.remote": formatAddr(connection.remote),
    proto: "ssh",
  };
}
