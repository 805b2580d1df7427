/**
 * Audit events on their way to the auth service.
 *
 * An event is on disk before `emit()` returns, one JSON line in the newest segment file of the
 * spool, and leaves it when the auth service has acknowledged it. So events outlast a kill -9 of
 * the daemon, a restart, and an auth service that is away. Each carries its own id: an event that
 * is sent twice, because the answer was lost, is recognised by the auth service. Each carries a
 * number: that one is missing, because it was lost here or was taken out of the spool, is seen there.
 */
import type { AuditEmitter, AuditEvent } from "../audit/events.ts";
import type { AuditEmitResult } from "../api/types.ts";
import { Backoff, sleep } from "../base/backoff.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { ConnectionProblem, messageOf } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import { AuditSequence, type SequencePosition } from "./audit_sequence.ts";
import { AuditSpool, type SpoolBatch } from "./audit_spool.ts";

export interface AuditQueueOptions {
  /** The spool's own directory, e.g. `<data_dir>/log/spool/node`. */
  readonly directory: string;
  /** Delivers a batch; resolves when the auth service has it on disk. */
  readonly send: (events: AuditEvent[], signal: AbortSignal) => Promise<AuditEmitResult>;
  /** The spool grows to so many bytes at most; 256 MiB when omitted. */
  readonly maxBytes?: number;
  /** Events of one batch; 500 when omitted. */
  readonly batchEvents?: number;
  readonly clock?: Clock;
  readonly backoff?: Backoff;
}

/** Pause between the first event and its sending, in milliseconds: a batch comes together. */
const GATHER_MS = 100;
/** A batch is closed at about so many bytes: well under the 16 MiB of an API frame. */
const BATCH_BYTES = 1024 * 1024;

export class AuditQueue implements AuditEmitter {
  readonly #options: AuditQueueOptions;
  readonly #clock: Clock;
  readonly #spool: AuditSpool;
  readonly #sequence: AuditSequence;
  readonly #stop = new AbortController();
  readonly #log = log("audit-queue");
  readonly #loop: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #dropped = 0;

  /**
   * Opens the spool and begins to send what is in it.
   *
   * @throws Deno.errors.* when the directory cannot be used
   */
  constructor(options: AuditQueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#spool = new AuditSpool(options.directory, {
      maxBytes: options.maxBytes ?? 256 * 1024 * 1024,
    });
    this.#sequence = new AuditSequence(
      `${options.directory}/sequence`,
      positionOf(this.#spool),
      this.#clock.now(),
    );
    this.#loop = this.#run();
  }

  /**
   * True when the next event might not be kept: the spool is at its limit, or the disk takes no
   * more. A service that must not act unseen refuses new sessions then.
   */
  get full(): boolean {
    return this.#spool.full;
  }

  /** Bytes that wait for the auth service. */
  get pendingBytes(): number {
    return this.#spool.pendingBytes;
  }

  /** Events that were lost since the start, because the spool was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Writes the event to the spool. Never throws; what cannot be kept is counted and logged. */
  emit(event: AuditEvent): void {
    const complete = {
      ...event,
      uid: event.uid ?? uuid(),
      time: event.time ?? new Date(this.#clock.now()).toISOString(),
      reported_stream: this.#sequence.stream,
      reported_seq: this.#sequence.next(),
    };
    try {
      this.#spool.append(JSON.stringify(complete));
    } catch (error) {
      this.#dropped++;
      this.#sequence.save();
      this.#log.error("An audit event is lost", {
        event: event.event,
        dropped: this.#dropped,
        error: messageOf(error),
      });
    }
    this.#wake.resolve();
  }

  /**
   * Sends what is left for at most `drainMs` milliseconds, then stops; the rest stays on disk for
   * the next start.
   */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + (o.drainMs ?? 0);
    while (this.#spool.pendingBytes > 0 && performance.now() < deadline) await sleep(20);
    this.#stop.abort(new Error("the audit queue was closed"));
    this.#wake.resolve();
    await this.#loop;
    this.#sequence.save();
    this.#spool.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = this.#options.backoff ?? new Backoff({ minMs: 500, maxMs: 30_000 });
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
      try {
        const batch = await this.#spool.next({
          events: this.#options.batchEvents ?? 500,
          bytes: BATCH_BYTES,
        });
        if (!batch) {
          await this.#wake.promise;
          await sleep(GATHER_MS, signal).catch(() => {});
          continue;
        }
        await this.#deliver(batch);
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        const level = error instanceof ConnectionProblem ? "debug" : "warn";
        this.#log[level]("Audit events wait for the auth service", { error: messageOf(error) });
        await sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #deliver(batch: SpoolBatch): Promise<void> {
    const events: AuditEvent[] = [];
    for (const line of batch.lines) {
      try {
        events.push(JSON.parse(line) as AuditEvent);
      } catch {
        // The torn end of a segment, from a machine that lost power in the middle of a write.
        this.#log.warn("A torn line in the audit spool is left out", { bytes: line.length });
      }
    }
    if (events.length > 0) {
      const { rejected } = await this.#options.send(events, this.#stop.signal);
      for (const { uid, reason } of rejected) {
        this.#log.error("The auth service refused an audit event", { uid, reason });
      }
    }
    this.#sequence.save();
    await this.#spool.acknowledge(batch);
  }
}

/** Of the newest event on disk. */
function positionOf(spool: AuditSpool): SequencePosition | undefined {
  const newest = spool.newest();
  if (newest === undefined) return undefined;
  try {
    const { reported_stream: stream, reported_seq: seq } = JSON.parse(newest.line) as AuditEvent;
    if (stream === undefined || seq === undefined) return undefined;
    // A torn line was an event, and had a number.
    return { stream, seq: newest.torn ? seq + 1 : seq };
  } catch {
    return undefined;
  }
}
