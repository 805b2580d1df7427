/**
 * Recordings on their way from this host's disk to the auth service, while their sessions run and
 * after. A recording leaves the disk when auth has acknowledged its hash: so it outlasts restarts
 * of both, and an auth service that is away.
 */
import { createHash } from "node:crypto";
import { RECORDING_CHUNK_BYTES } from "../api/types.ts";
import { Backoff, sleep } from "../base/backoff.ts";
import { CompareFailed, ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { readAt } from "../recording/reader.ts";
import type { RecordingSpool, SpooledRecording } from "../recording/spool.ts";
import type { RecordingRemote } from "../recording/sync_upload.ts";

export interface RecordingUploadOptions {
  readonly spool: RecordingSpool;
  readonly remote: RecordingRemote;
  /** Resolves when the auth service can be reached; rejects when `signal` is aborted. */
  readonly connected: (signal: AbortSignal) => Promise<unknown>;
  /** Recordings that are sent at once; 10 when omitted. */
  readonly concurrency?: number;
  /** Pause after a failure that is of one recording; of 1 s to 5 min when omitted. */
  readonly backoff?: () => Backoff;
  /** A running session's recording is sent every so many milliseconds; 2000 when omitted. */
  readonly paceMs?: number;
}

/**
 * Bytes a second that are sent while little waits: the way to auth costs the thread that serves
 * sessions some 20 ms a megabyte, and nobody is in a hurry.
 */
const CALM_RATE = 1024 * 1024;
/** And in one call: a key that is pressed meanwhile waits for no more than that. */
const CALM_BYTES = 128 * 1024;
/** What waits shall be at auth within about so long, in seconds: much of it is sent faster. */
const BACKLOG_S = 120;
/** When more than this waits, it goes in larger pieces. */
const BACKLOG_BYTES = 64 * 1024 * 1024;
/** With many sessions each is sent less often: a host may make so many calls a second. */
const SHARE_MS = 20;
const LOOK_EVERY_MS = 200;
const HASH_SLICE = 256 * 1024;

/** What is known of one recording's way to auth. Times are of performance.now(). */
interface Progress {
  /** How much auth has; unknown after a start and after a failure. */
  sent: number | undefined;
  /** After a failure: not before then. */
  retryAt: number;
  /** While the session runs: little is not sent before then. */
  paceAt: number;
  isBusy: boolean;
  readonly backoff: Backoff;
}

export class RecordingUpload {
  readonly #options: RecordingUploadOptions;
  readonly #stop = new AbortController();
  readonly #progress = new Map<string, Progress>();
  readonly #log = log("recording-upload");
  readonly #busy = new Set<Promise<void>>();
  /** Runs while there is something to send. */
  #timer: number | undefined;
  readonly #offChange: () => void;
  #awayBackoff = new Backoff({ minMs: 250, maxMs: 10_000 });
  /** The rate allows nothing before then. */
  #nextSendAt = 0;
  #soon: number | undefined;
  #isClosing = false;
  /** Set while auth is away. */
  #waiting: Promise<void> | undefined;

  get #paceMs(): number {
    return Math.max(this.#options.paceMs ?? 2_000, this.#options.spool.count * SHARE_MS);
  }

  /** Begins to send at once. */
  constructor(options: RecordingUploadOptions) {
    this.#options = options;
    this.#offChange = options.spool.onChange((recording) => this.#changed(recording));
    for (const recording of options.spool.recordings) this.#changed(recording);
  }

  /**
   * Sends what has ended for at most `drainMs` milliseconds, then stops; the rest stays on disk for
   * the next start.
   */
  async close(o: { drainMs: number }): Promise<void> {
    const until = performance.now() + o.drainMs;
    this.#isClosing = true;
    const hasEnded = () => this.#options.spool.recordings.some(({ ended }) => ended);
    while (hasEnded() && !this.#waiting && performance.now() < until) {
      this.#look();
      await sleep(20);
    }
    this.#offChange();
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#stop.abort(new ConnectionProblem("the upload of recordings was stopped"));
    await Promise.all([...this.#busy, this.#waiting]);
  }

  #changed(recording: SpooledRecording): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS);
    const sent = this.#progress.get(recording.sid)?.sent ?? recording.size;
    if (recording.ended || recording.size - sent >= CALM_BYTES) this.#look();
  }

  #look(): void {
    if (this.#stop.signal.aborted || this.#waiting) return;
    if (this.#options.spool.count === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    const now = performance.now();
    for (const recording of this.#options.spool.recordings) {
      if (now < this.#nextSendAt && !this.#isClosing) return this.#lookAt(this.#nextSendAt);
      if (this.#busy.size >= (this.#options.concurrency ?? 10)) return;
      const progress = this.#progressOf(recording, now);
      if (!progress.isBusy && isDue(recording, progress, now)) this.#begin(recording, progress);
    }
  }

  #progressOf({ sid, ended }: SpooledRecording, now: number): Progress {
    let progress = this.#progress.get(sid);
    if (progress === undefined) {
      const backoff = this.#options.backoff?.() ?? new Backoff({ minMs: 1_000, maxMs: 300_000 });
      progress = {
        // Of one that still runs nothing was sent; of what an earlier run has left, auth knows.
        sent: ended ? undefined : 0,
        retryAt: now,
        // A session's start has better to do.
        paceAt: now + this.#paceMs,
        isBusy: false,
        backoff,
      };
      this.#progress.set(sid, progress);
    }
    return progress;
  }

  #begin(recording: SpooledRecording, progress: Progress): void {
    progress.isBusy = true;
    const work = this.#step(recording, progress).catch((error) =>
      this.#failed(recording, progress, error)
    ).finally(() => {
      progress.isBusy = false;
      this.#busy.delete(work);
      this.#look();
    });
    this.#busy.add(work);
  }

  /** One chunk, or the end. */
  async #step(recording: SpooledRecording, progress: Progress): Promise<void> {
    const { spool, remote } = this.#options;
    const { sid } = recording;
    using file = await Deno.open(spool.path(sid));
    const { size, ended } = recording;
    const sent = progress.sent ??= (await remote.state(sid)).size;
    if (sent < size) {
      const most = spool.bytes > BACKLOG_BYTES ? RECORDING_CHUNK_BYTES : CALM_BYTES;
      const chunk = await readAt(file, sent, Math.min(size - sent, most));
      this.#spend(chunk.length);
      progress.sent = (await remote.append(sid, sent, chunk)).size;
      progress.paceAt = performance.now() + this.#paceMs;
    } else if (ended) {
      const answer = await remote.finish(sid, size, await hashOf(file, size));
      if (answer.stored) {
        this.#progress.delete(sid);
        await spool.remove(sid);
        this.#log.info("A recording is at the auth service", { sid, size });
        return;
      }
      progress.sent = answer.size;
      progress.retryAt = performance.now() + progress.backoff.next();
      this.#log.warn("The auth service lacks a part of a recording", { sid, has: answer.size });
      return;
    }
    progress.backoff.reset();
    this.#awayBackoff.reset();
  }

  #lookAt(time: number): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#look();
    }, time - performance.now());
  }

  #spend(bytes: number): void {
    const rate = Math.max(CALM_RATE, this.#options.spool.bytes / BACKLOG_S);
    this.#nextSendAt = Math.max(performance.now(), this.#nextSendAt) + bytes / rate * 1000;
  }

  async #failed(recording: SpooledRecording, progress: Progress, error: unknown): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { sid } = recording;
    progress.sent = undefined;
    if (error instanceof ConnectionProblem) {
      this.#waitForAuth();
      return;
    }
    if (error instanceof Deno.errors.NotFound) {
      this.#progress.delete(sid);
      await this.#options.spool.quarantine(sid, "its file has gone");
      return;
    }
    // What auth has cannot be gone on with: the hash, which is wrong, makes it begin again.
    if (error instanceof CompareFailed && recording.ended) progress.sent = recording.size;
    progress.retryAt = performance.now() + progress.backoff.next();
    this.#log.warn("A recording is kept here, as the auth service does not take it", {
      sid,
      error: messageOf(error),
    });
  }

  #waitForAuth(): void {
    this.#waiting ??= (async () => {
      const { signal } = this.#stop;
      try {
        await sleep(this.#awayBackoff.next(), signal);
        await this.#options.connected(signal);
      } catch {
        // Stopped, or there is another failure to come.
      } finally {
        this.#waiting = undefined;
      }
    })();
  }
}

function isDue({ size, ended }: SpooledRecording, progress: Progress, now: number): boolean {
  if (now < progress.retryAt) return false;
  if (ended || progress.sent === undefined) return true;
  const left = size - progress.sent;
  return left >= CALM_BYTES || (left > 0 && now >= progress.paceAt);
}

async function hashOf(file: Deno.FsFile, size: number): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < size; at += HASH_SLICE) {
    hash.update(await readAt(file, at, Math.min(HASH_SLICE, size - at)));
  }
  return hash.digest("hex");
}
