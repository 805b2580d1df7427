/**
 * The auth server's audit log: stamps events, checks what hosts claim, and recognises what was
 * delivered before.
 */
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
  type StoredEvent,
} from "./events.ts";
import type { EventSink } from "./file_log.ts";

const logger = log("audit");

/** A sender's clock is believed when it is as near as this to ours, milliseconds. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** How soon our own events are on stable storage, milliseconds. */
const SYNC_DELAY_MS = 500;
/** Delivered events that are remembered: a host repeats its last batch, not last week's. */
const MAX_REMEMBERED = 50_000;
const REMEMBERED_BYTES = 4 * 1024 * 1024;

/** A host as its certificate says. */
export interface ReportingHost {
  kind: "node" | "proxy";
  hostId: string;
}

export class AuditLog implements AuditEmitter {
  readonly #sink: EventSink;
  readonly #clock: Clock;
  /** "<host id> <uid>", oldest first. */
  readonly #delivered = new Set<string>();
  #syncTimer: number | undefined;
  #failed = 0;

  constructor(options: { sink: EventSink; clock?: Clock }) {
    this.#sink = options.sink;
    this.#clock = options.clock ?? systemClock;
    for (const { reported_by, uid } of this.#sink.recent(REMEMBERED_BYTES)) {
      if (reported_by !== undefined) this.#remember(`${reported_by} ${uid}`);
    }
  }

  /** Events of our own that could not be written since the start. */
  get failed(): number {
    return this.#failed;
  }

  /** An event of the auth server itself. */
  emit(event: AuditEvent): void {
    const { reported_by: _by, reported_time: _time, ...said } = event;
    const stored = {
      ...said,
      uid: uuid(),
      time: this.#now(),
      ei: event.ei ?? 0,
    } as StoredEvent;
    try {
      this.#sink.write([stored]);
    } catch (e) {
      this.#failed++;
      logger.error("an audit event is lost", { event: event.event, error: messageOf(e) });
      return;
    }
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      this.#sink.sync().catch((e) => logger.error("cannot sync the audit log", { error: e }));
    }, SYNC_DELAY_MS);
    Deno.unrefTimer(this.#syncTimer);
  }

  /**
   * Events from a node or a proxy. Resolves when all that are not rejected are on stable storage.
   * @throws when the disk does not take them: the host keeps them and sends again
   */
  async emitFromHost(host: ReportingHost, events: readonly unknown[]): Promise<EmitResult> {
    const rejected: EmitResult["rejected"] = [];
    events.forEach((event, index) => {
      const checked = this.#check(host, event);
      if (typeof checked === "string") {
        const uid = (event as { uid?: unknown } | null)?.uid;
        rejected.push({ index, reason: checked, ...(typeof uid === "string" ? { uid } : {}) });
        return;
      }
      const key = `${host.hostId} ${checked.uid}`;
      if (this.#delivered.has(key)) return;
      this.#sink.write([checked]);
      this.#remember(key);
    });
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
    return { ...rest, ...this.#timeOf(claimed), reported_by: host.hostId } as StoredEvent;
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

  #remember(key: string): void {
    this.#delivered.add(key);
    if (this.#delivered.size > MAX_REMEMBERED) {
      for (const oldest of this.#delivered) {
        this.#delivered.delete(oldest);
        break;
      }
    }
  }
}
