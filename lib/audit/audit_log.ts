/**
 * The auth server's audit log: stamps events, checks what hosts claim, and recognises what was
 * delivered before.
 */
import { sleep } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import { asAuditEvent, hostEventSchema } from "./event_schema.ts";
import {
  type AuditEmitter,
  type AuditEvent,
  type EmitResult,
  HOST_EVENTS,
  LAST_INDEX,
  type StoredEvent,
} from "./events.ts";
import type { EventSink } from "./file_log.ts";
import type { EventHistory, HistoryAnswer, HistoryQuestion } from "./history.ts";
import { type Gap, HostSequences } from "./host_sequences.ts";
import { RecentEvents } from "./recent_events.ts";
import { sessionEndUid } from "./session_end.ts";

const logger = log("audit");

/** A sender's clock is believed when it is as near as this to ours, milliseconds. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** How soon our own events are on stable storage, milliseconds. */
const SYNC_DELAY_MS = 500;
/** How often, and after how many milliseconds each, a session's end asks whether it is known. */
const END_TRIES = 120;
const END_RETRY_MS = 5_000;
/** Of the log, at a start, so much is remembered; what is older is in its index. */
const REMEMBERED_BYTES = 4 * 1024 * 1024;

/** A host as its certificate says. */
export interface ReportingHost {
  kind: "node" | "proxy";
  hostId: string;
}

/** What the auth server knows of a host: stamped on its events, in place of what it says itself. */
export interface HostFacts {
  hostname: string;
  /** "host:port". */
  addr: string;
  labels: Record<string, string>;
}

export interface AuditLogOptions {
  sink: EventSink;
  clock?: Clock;
  /** Without one, only the newest events are recognised when they come again. */
  history?: EventHistory;
}

/** An event of a host on its way in. */
interface Arrived {
  event: StoredEvent;
  /** It may have been stored before: its number is not a new one, or others report it too. */
  isDoubtful: boolean;
}

export class AuditLog implements AuditEmitter {
  readonly #sink: EventSink;
  readonly #clock: Clock;
  readonly #history: EventHistory | undefined;
  readonly #recent = new RecentEvents();
  readonly #sequences = new HostSequences();
  readonly #ends = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #describe: (host: ReportingHost) => HostFacts | undefined = () => undefined;
  #syncTimer: number | undefined;
  #failed = 0;

  constructor(options: AuditLogOptions) {
    this.#sink = options.sink;
    this.#clock = options.clock ?? systemClock;
    this.#history = options.history;
    for (const event of this.#sink.recent(REMEMBERED_BYTES)) {
      this.#recent.add(event);
      this.#sequences.stored(event);
    }
  }

  /** Events of our own that could not be written since the start. */
  get failed(): number {
    return this.#failed;
  }

  /** Says from where the facts about hosts come that their events are stamped with. */
  describeHosts(describe: (host: ReportingHost) => HostFacts | undefined): void {
    this.#describe = describe;
  }

  /** An event of the auth server itself; a `session.end` on behalf of a host that cannot say it. */
  emit(event: AuditEvent): void {
    const own = Object.entries(event).filter(([key]) => !key.startsWith("reported_"));
    const stored = {
      ...Object.fromEntries(own),
      uid: event.event === "session.end" ? sessionEndUid(event.sid) : uuid(),
      time: this.#now(),
      ei: event.ei ?? (isLast(event) ? LAST_INDEX : 0),
    } as StoredEvent;
    if (stored.event !== "session.end") return this.#store(stored);
    const ending = this.#storeEnd(stored).finally(() => this.#ends.delete(ending));
    this.#ends.add(ending);
  }

  /**
   * Events from a node or a proxy. Resolves when all that are not rejected are on stable storage.
   * @throws when the disk does not take them, or it is not known yet what was stored before: the
   * host keeps them and sends again; BadParameter for what no host of ours sends
   */
  async emitFromHost(host: ReportingHost, events: readonly unknown[]): Promise<EmitResult> {
    const rejected: EmitResult["rejected"] = [];
    const reject = (index: number, uid: unknown, reason: string) =>
      rejected.push({ index, reason, ...(typeof uid === "string" ? { uid } : {}) });
    const unknownStreams = this.#sequences.unknownOf(host, events);
    const checked = events.map((event) => this.#check(host, event));
    const facts = this.#describe(host);
    const arrived = checked.map((each) =>
      typeof each === "string"
        ? each
        : { event: this.#withTarget(stamp(each, facts)), isDoubtful: false }
    );
    const answer = await this.#ask(arrived, unknownStreams);
    // From here on nothing waits: what one batch sees, another has written.
    const gaps = this.#sequences.follow(host, events, answer);
    for (const gap of gaps) this.#storeGap(host, gap);
    arrived.forEach((each, index) => {
      if (typeof each === "string") {
        reject(index, (events[index] as { uid?: unknown } | null)?.uid, each);
      } else if (this.#isForeign(host, each.event, answer)) {
        reject(index, each.event.uid, "the session is another host's");
      } else if (!this.#isKnown(each, answer)) {
        this.#sink.write([each.event]);
        this.#recent.add(each.event);
      }
    });
    this.#history?.wrote();
    if (rejected.length > 0) {
      logger.warn("events of a host were refused", {
        host: host.hostId,
        count: rejected.length,
        reason: rejected[0]!.reason,
      });
    }
    // Also when all were known: an earlier delivery may have failed just here.
    await this.#sink.sync();
    return { rejected };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#ends);
    clearTimeout(this.#syncTimer);
    await this.#sink.sync().catch((e) => logger.error("cannot sync the audit log", { error: e }));
    this.#sink.close();
  }

  /** The event as it is stored, or why it is refused. */
  #check(host: ReportingHost, event: unknown): StoredEvent | string {
    const name = (event as { event?: unknown } | null)?.event;
    if (!(HOST_EVENTS[host.kind] as readonly unknown[]).includes(name)) {
      return `a ${host.kind} may not report ${JSON.stringify(String(name).slice(0, 60))}`;
    }
    const parsed = hostEventSchema.safeParse(event);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      return `${issue.path.map(String).join(".")}: ${issue.message}`;
    }
    if (parsed.data.server_id !== host.hostId) {
      return `server_id ${parsed.data.server_id} is not the sender's own`;
    }
    const { time: claimed, ...rest } = asAuditEvent(parsed.data);
    const stored = {
      ...rest,
      ...this.#timeOf(claimed),
      reported_by: host.hostId,
      reported_service: host.kind,
    } as StoredEvent;
    if (stored.event === "session.end") stored.uid = sessionEndUid(stored.sid);
    return stored;
  }

  /** Where a proxy says that a session leads: a node is called as it has announced itself. */
  #withTarget(event: StoredEvent): StoredEvent {
    const { target_id } = event as { target_id?: string };
    const facts = target_id === undefined
      ? undefined
      : this.#describe({ kind: "node", hostId: target_id });
    if (facts === undefined) return event;
    return { ...event, target_hostname: facts.hostname, target_addr: facts.addr } as StoredEvent;
  }

  /** Asks the history for what is not remembered; marks the events that may be known to it. */
  async #ask(
    arrived: readonly (Arrived | string)[],
    streams: HistoryQuestion["streams"],
  ): Promise<HistoryAnswer | undefined> {
    if (this.#history === undefined) return undefined;
    const uids = new Set<string>();
    const sids = new Set<string>();
    for (const each of arrived) {
      if (typeof each === "string") continue;
      const { event } = each;
      each.isDoubtful = event.event === "session.end" || !this.#sequences.isNew(event);
      if (each.isDoubtful && !this.#recent.has(event)) uids.add(event.uid);
      const sid = sidOf(event);
      const isOwned = this.#recent.ownersOf(sid ?? "")?.node !== undefined;
      if (sid !== undefined && (!isOwned || event.event === "session.end")) sids.add(sid);
    }
    const question: HistoryQuestion = {
      uids: [...uids],
      sids: [...sids],
      streams,
    };
    if (Object.values(question).every((list) => list.length === 0)) return undefined;
    return await this.#history.lookUp(question);
  }

  #isKnown({ event, isDoubtful }: Arrived, answer: HistoryAnswer | undefined): boolean {
    if (this.#recent.has(event)) return true;
    if (!isDoubtful || answer === undefined) return false;
    return answer.events.some((known) =>
      known.uid === event.uid && known.event === event.event &&
      (event.event === "session.end" || known.host === event.reported_by)
    );
  }

  /**
   * A node speaks of its own sessions only, and does not end one that a proxy speaks of, too: that
   * the proxy does. A proxy speaks of those that it relays.
   */
  #isForeign(
    host: ReportingHost,
    event: StoredEvent,
    answer: HistoryAnswer | undefined,
  ): boolean {
    const sid = sidOf(event);
    if (sid === undefined || host.kind === "proxy") return false;
    const ownerOf = (service: "node" | "proxy") =>
      this.#recent.ownersOf(sid)?.[service] ??
        answer?.owners.find((known) => known.sid === sid && known.service === service)?.host;
    const owners = [ownerOf("node"), event.event === "session.end" ? ownerOf("proxy") : undefined];
    return owners.some((owner) => owner !== undefined && owner !== host.hostId);
  }

  #store(event: StoredEvent): void {
    try {
      this.#sink.write([event]);
    } catch (e) {
      this.#failed++;
      logger.error("an audit event is lost", { event: event.event, error: messageOf(e) });
      return;
    }
    this.#recent.add(event);
    this.#history?.wrote();
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      this.#sink.sync().catch((e) => logger.error("cannot sync the audit log", { error: e }));
    }, SYNC_DELAY_MS);
    Deno.unrefTimer(this.#syncTimer);
  }

  /** Unless somebody has said it already. While that is not known, it waits. */
  async #storeEnd(event: StoredEvent): Promise<void> {
    const question = { uids: [event.uid], sids: [], streams: [] };
    let answer: HistoryAnswer | undefined;
    for (let tries = 0; tries < END_TRIES; tries++) {
      try {
        answer = await this.#history?.lookUp(question);
        break;
      } catch (e) {
        logger.debug("the end of a session waits", { sid: sidOf(event), error: messageOf(e) });
        await sleep(END_RETRY_MS, this.#closing.signal).catch(() => {});
        if (this.#closing.signal.aborted) break;
      }
    }
    if (!this.#isKnown({ event, isDoubtful: true }, answer)) this.#store(event);
  }

  #storeGap(host: ReportingHost, { stream, first, last }: Gap): void {
    logger.warn("events of a host are missing", {
      host: host.hostId,
      service: host.kind,
      count: last - first + 1,
      first,
      last,
    });
    this.#store({
      event: "audit.gap",
      code: "TA001W",
      server_id: host.hostId,
      service: host.kind,
      stream,
      first_missing: first,
      last_missing: last,
      uid: uuid(),
      time: this.#now(),
      ei: 0,
    });
  }

  #timeOf(claimed: string | undefined): { time: string; reported_time?: string } {
    const now = this.#clock.now();
    if (claimed === undefined) return { time: this.#now() };
    const claimedMs = Date.parse(claimed);
    return Math.abs(claimedMs - now) <= CLOCK_TOLERANCE_MS
      ? { time: new Date(claimedMs).toISOString() }
      : { time: this.#now(), reported_time: claimed };
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}

/**
 * What the auth server knows of the host takes the place of what the host says of itself. Of one
 * that has not announced itself yet, it is kept under names that say whose word it is.
 */
function stamp(event: StoredEvent, facts: HostFacts | undefined): StoredEvent {
  const { server_hostname, server_addr, server_labels: _labels, ...rest } = event as
    & StoredEvent
    & { server_hostname?: string; server_addr?: string; server_labels?: unknown };
  const server = facts === undefined
    ? {
      ...(server_hostname === undefined ? {} : { reported_hostname: server_hostname }),
      ...(server_addr === undefined ? {} : { reported_addr: server_addr }),
    }
    : {
      server_hostname: facts.hostname,
      server_addr: facts.addr,
      server_labels: facts.labels,
    };
  return { ...rest, namespace: "default", ...server } as StoredEvent;
}

function isLast({ event }: AuditEvent): boolean {
  return event === "session.end" || event === "session.upload";
}

function sidOf(event: StoredEvent): string | undefined {
  return "sid" in event ? event.sid : undefined;
}
