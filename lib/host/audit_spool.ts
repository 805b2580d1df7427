/**
 * The spool of audit events: files `<number>.ndjson` in one directory, written at the end of the
 * newest and read from the oldest. A file is removed when all of it was acknowledged; `ack` says
 * how far into the oldest that went.
 *
 * A line is handed to the kernel in one write before `append()` returns: the daemon may die then.
 * Against loss of power the file is synced a second later, and when the next one is begun.
 */
import { InternalError, LimitExceeded, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { writeFileAtomic } from "../base/files.ts";

export interface SpoolBatch {
  readonly lines: readonly string[];
  readonly segment: number;
  /** Where the batch ends in its segment, in bytes. */
  readonly end: number;
}

/** A segment is closed at this size. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
const SYNC_AFTER_MS = 1_000;
const PROBE_EVERY_MS = 1_000;
const PROBE_BYTES = 64 * 1024;
const LINE_FEED = 10;

export class AuditSpool {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #encoder = new TextEncoder();
  /** Bytes of each segment file, in the order of their numbers. */
  readonly #sizes = new Map<number, number>();
  #file: Deno.FsFile | undefined;
  #current = 0;
  #acknowledged = 0;
  #syncTimer: number | undefined;
  #failing = false;
  #probedAt = 0;

  constructor(directory: string, o: { maxBytes: number }) {
    this.#directory = directory;
    this.#maxBytes = o.maxBytes;
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    Deno.chmodSync(directory, 0o700);
    const numbers = [...Deno.readDirSync(directory)]
      .map((entry) => /^(\d+)\.ndjson$/.exec(entry.name)?.[1])
      .filter((digits) => digits !== undefined).map(Number).sort((a, b) => a - b);
    for (const number of numbers) this.#sizes.set(number, Deno.statSync(this.#path(number)).size);
    // Never behind the torn end of an older file: a new start writes into a file of its own.
    this.#current = (numbers.at(-1) ?? 0) + 1;
    this.#acknowledged = this.#readAcknowledged(numbers[0]);
  }

  get pendingBytes(): number {
    let sum = -this.#acknowledged;
    for (const size of this.#sizes.values()) sum += size;
    return Math.max(0, sum);
  }

  get full(): boolean {
    return this.pendingBytes >= this.#maxBytes || (this.#failing && !this.#recovered());
  }

  /**
   * @throws LimitExceeded when the spool is full
   * @throws Deno.errors.* when the disk is
   */
  append(line: string): void {
    const bytes = this.#encoder.encode(line + "\n");
    if (this.pendingBytes + bytes.length > this.#maxBytes) {
      throw new LimitExceeded(
        `the audit spool ${this.#directory} has reached its limit of ${this.#maxBytes} bytes`,
      );
    }
    const before = this.#sizes.get(this.#current) ?? 0;
    try {
      this.#file ??= this.#open();
      let written = 0;
      while (written < bytes.length) written += this.#file.writeSync(bytes.subarray(written));
      this.#failing = false;
    } catch (error) {
      this.#failing = true;
      this.#probedAt = performance.now();
      this.#cutBack(before);
      throw error;
    }
    this.#sizes.set(this.#current, before + bytes.length);
    if (before + bytes.length >= SEGMENT_BYTES) this.#endSegment();
    else this.#syncSoon();
  }

  /**
   * The newest whole line on disk, acknowledged or not, and whether a torn one follows it; undefined
   * when the spool is empty.
   */
  newest(): { line: string; torn: boolean } | undefined {
    for (const [segment, size] of [...this.#sizes].reverse()) {
      if (size === 0) continue;
      const bytes = Deno.readFileSync(this.#path(segment));
      const end = bytes.lastIndexOf(LINE_FEED);
      if (end < 0) continue;
      const start = bytes.lastIndexOf(LINE_FEED, end - 1) + 1;
      const line = new TextDecoder().decode(bytes.subarray(start, end));
      return { line, torn: end < bytes.length - 1 };
    }
    return undefined;
  }

  /** The oldest lines that are not acknowledged; undefined when there are none. */
  async next(limit: { events: number; bytes: number }): Promise<SpoolBatch | undefined> {
    for (const [segment, size] of this.#sizes) {
      const from = this.#acknowledged;
      if (from >= size) {
        // The newest stays open for writing; an older one is done with.
        if (segment === this.#current) return undefined;
        await this.#drop(segment);
        continue;
      }
      const bytes = await this.#read(segment, from, size, limit.bytes);
      return cutLines(bytes, segment, from, size, limit.events);
    }
    return undefined;
  }

  /** The auth service has the batch: it need not be kept. */
  async acknowledge(batch: SpoolBatch): Promise<void> {
    if (batch.segment !== this.#sizes.keys().next().value) {
      throw new InternalError(`segment ${batch.segment} of the audit spool is not the oldest`);
    }
    const size = this.#sizes.get(batch.segment) ?? 0;
    if (batch.end >= size && batch.segment !== this.#current) {
      await this.#drop(batch.segment);
      return;
    }
    this.#acknowledged = batch.end;
    await writeFileAtomic(`${this.#directory}/ack`, `${batch.segment} ${batch.end}\n`);
  }

  close(): void {
    this.#endSegment();
  }

  #open(): Deno.FsFile {
    const file = Deno.openSync(this.#path(this.#current), {
      append: true,
      create: true,
      mode: 0o600,
    });
    if (!this.#sizes.has(this.#current)) this.#sizes.set(this.#current, 0);
    return file;
  }

  /** After a failure, tries at most once a second whether the disk takes data again. */
  #recovered(): boolean {
    if (performance.now() - this.#probedAt < PROBE_EVERY_MS) return false;
    this.#probedAt = performance.now();
    const path = `${this.#directory}/probe`;
    try {
      Deno.writeFileSync(path, new Uint8Array(PROBE_BYTES));
      this.#failing = false;
    } catch {
      return false;
    } finally {
      try {
        Deno.removeSync(path);
      } catch {
        // It was not made.
      }
    }
    return true;
  }

  #cutBack(size: number): void {
    try {
      this.#file?.truncateSync(size);
    } catch {
      // Then a torn line stays at the end of this file, and the next one begins a new file.
      this.#endSegment();
    }
  }

  #endSegment(): void {
    clearTimeout(this.#syncTimer);
    this.#syncTimer = undefined;
    if (!this.#file) return;
    try {
      this.#file.syncDataSync();
    } catch (error) {
      warnUnsynced(error);
    }
    this.#file.close();
    this.#file = undefined;
    this.#current++;
  }

  #syncSoon(): void {
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      // Not on the main thread: a slow disk must not stop the sessions.
      this.#file?.syncData().catch(warnUnsynced);
    }, SYNC_AFTER_MS);
  }

  async #read(segment: number, from: number, size: number, limit: number): Promise<Uint8Array> {
    using file = await Deno.open(this.#path(segment), { read: true });
    await file.seek(from, Deno.SeekMode.Start);
    let want = Math.min(size - from, limit);
    let bytes = new Uint8Array(0);
    // A single line may be longer than a batch should be: then the batch is that line.
    while (true) {
      const part = await readFully(file, want - bytes.length);
      const joined = new Uint8Array(bytes.length + part.length);
      joined.set(bytes);
      joined.set(part, bytes.length);
      bytes = joined;
      if (part.length === 0 || bytes.includes(LINE_FEED) || from + bytes.length >= size) {
        return bytes;
      }
      want = Math.min(size - from, want * 2);
    }
  }

  async #drop(segment: number): Promise<void> {
    // `ack` first: were the daemon to die in between, the file is sent again, and recognised.
    await Deno.remove(`${this.#directory}/ack`).catch(() => {});
    await Deno.remove(this.#path(segment)).catch(() => {});
    this.#sizes.delete(segment);
    this.#acknowledged = 0;
  }

  #readAcknowledged(oldest: number | undefined): number {
    try {
      const [segment, end] = Deno.readTextFileSync(`${this.#directory}/ack`).split(" ").map(Number);
      return segment === oldest && Number.isSafeInteger(end) ? end! : 0;
    } catch {
      return 0;
    }
  }

  #path(segment: number): string {
    return `${this.#directory}/${String(segment).padStart(10, "0")}.ndjson`;
  }
}

function warnUnsynced(error: unknown): void {
  log("audit-queue").warn("The audit spool cannot be synced", { error: messageOf(error) });
}

async function readFully(file: Deno.FsFile, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const n = await file.read(buffer.subarray(filled));
    if (n === null) break;
    filled += n;
  }
  return buffer.subarray(0, filled);
}

function cutLines(
  bytes: Uint8Array,
  segment: number,
  from: number,
  size: number,
  limit: number,
): SpoolBatch {
  const decoder = new TextDecoder();
  const lines: string[] = [];
  let start = 0;
  while (lines.length < limit) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end < 0) break;
    if (end > start) lines.push(decoder.decode(bytes.subarray(start, end)));
    start = end + 1;
  }
  // What is left at the very end of a file without a line feed is a write that was cut short.
  if (lines.length < limit && from + bytes.length >= size) start = bytes.length;
  return { lines, segment, end: from + start };
}
