/** A tape's half on the main thread: gathers what is shown, and knows how far the Worker is. */
import { InternalError, LimitExceeded, type TeleportError } from "../base/errors.ts";
import { boundedSide } from "./cast.ts";
import type { Failure, FromWorker, ToWorker } from "./messages.ts";
import type { SyncUpload } from "./sync_upload.ts";
import type { Tape, TapeSize } from "./tape.ts";

// deno-lint-ignore no-explicit-any -- a distributive Omit
type WithoutId<T> = T extends any ? Omit<T, "id"> : never;

/** What the recorder does for a tape, and is told by it. */
export interface TapeContext {
  readonly recorded: boolean;
  /** It was to be recorded, and cannot be. */
  readonly lost: boolean;
  /** Of a tape that goes to auth while it runs. */
  readonly upload: SyncUpload | undefined;
  readonly post: (message: WithoutId<ToWorker>, transfer: Transferable[]) => void;
  /** There is something to flush soon. */
  readonly touched: (port: TapePort) => void;
  readonly ended: (size: number) => void;
  /** @returns whether the session may go on unrecorded */
  readonly failed: (failure: Failure) => boolean;
}

/** The recorder's side of a tape. */
export interface TapePort {
  readonly tape: Tape;
  flush(): void;
  receive(message: FromWorker): void;
  /** The Worker is gone, and left a file of this size. */
  lost(failure: Failure, size: number): void;
}

/** Bytes that go to the Worker in one message at most. */
const POST_BYTES = 64 * 1024;
const FIRST_BYTES = 1024;
/** Output within this time has one time in the recording, in seconds. */
const SAME_TIME = 0.004;
/**
 * The session waits for the Worker, or for auth, when more than this is not worked off and the
 * oldest of it is older than this, in milliseconds: a burst passes at full speed, and a kill costs
 * the last second all the same.
 */
const MAX_BEHIND = 1024 * 1024;
const MAX_BEHIND_MS = 400;
/** It waits in any case beyond this, and when all sessions together are beyond this. */
const MAX_BURST = 32 * 1024 * 1024;
const MAX_ALL_BEHIND = 64 * 1024 * 1024;
const MAX_FREE = 16;
/** An answer from the Worker that does not come must not hold up the end of a session for ever. */
const END_MS = 60_000;

/** Buffers that came back from the Worker. */
const free: ArrayBuffer[] = [];
let allBehind = 0;

export class RunningTape implements Tape {
  readonly failed: Promise<TeleportError>;
  readonly port: TapePort;
  readonly #context: TapeContext;
  readonly #began = performance.now();
  readonly #fail: (error: TeleportError) => void;
  readonly #snapshots = new Map<number, (picture: Uint8Array) => void>();
  #nextSnapshot = 1;
  #recorded: boolean;
  #pending: Uint8Array<ArrayBuffer> | undefined;
  #length = 0;
  #marks: number[] = [];
  #lastMark = -Infinity;
  /** Not said yet. */
  #size: { time: number; cols: number; rows: number } | undefined;
  #behind = 0;
  /** When little was not worked off for the last time. */
  #caughtUpAt = 0;
  #caughtUp: PromiseWithResolvers<void> | undefined;
  #ending: Promise<void> | undefined;
  readonly #ended = Promise.withResolvers<void>();

  constructor(context: TapeContext) {
    this.#context = context;
    this.#recorded = context.recorded;
    const { promise, resolve } = Promise.withResolvers<TeleportError>();
    this.failed = promise;
    this.#fail = resolve;
    this.port = {
      tape: this,
      flush: () => this.#flush(),
      receive: (message) => this.#receive(message),
      lost: (failure, size) => {
        this.#cannotRecord(failure);
        this.#context.ended(size);
        this.#release();
        this.#ended.resolve();
      },
    };
    context.upload?.failed.then((error) => {
      this.#recorded = false;
      this.#setBehind(-this.#behind);
      this.#fail(error);
    });
  }

  get recorded(): boolean {
    return this.#recorded;
  }

  get lost(): Tape["lost"] {
    if (this.#context.lost) return "all";
    return this.#context.recorded && !this.#recorded ? "end" : "nothing";
  }

  output(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#ending || chunk.length === 0) return undefined;
    this.#flushSize();
    const time = this.#time();
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + POST_BYTES - this.#length);
      this.#keep(part, time);
      at += part.length;
      if (this.#length >= POST_BYTES) this.#flushOutput();
    }
    if (this.#length > 0) this.#context.touched(this.port);
    if (!this.#isBehind()) return undefined;
    return (this.#caughtUp ??= Promise.withResolvers<void>()).promise;
  }

  resize({ cols, rows }: TapeSize): void {
    if (this.#ending) return;
    this.#flushOutput();
    // Of sizes between which nothing is shown, the last one counts.
    this.#size = { time: this.#time(), cols: boundedSide(cols), rows: boundedSide(rows) };
    this.#context.touched(this.port);
  }

  mark(label: string): void {
    if (this.#ending) return;
    this.#flush();
    this.#context.post({ type: "mark", time: this.#time(), label }, []);
  }

  snapshot(): Promise<Uint8Array> {
    if (this.#ending) return Promise.resolve(new Uint8Array(0));
    this.#flush();
    const request = this.#nextSnapshot++;
    return new Promise((resolve) => {
      this.#snapshots.set(request, resolve);
      this.#context.post({ type: "snapshot", request }, []);
    });
  }

  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    this.#flush();
    this.#context.post({ type: "end", time: this.#time() }, []);
    let timer: number | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, END_MS));
    await Promise.race([this.#ended.promise, late]);
    clearTimeout(timer);
    this.#release();
    await this.#context.upload?.end();
  }

  #isBehind(): boolean {
    // Who has nothing with the Worker is told of nothing by it.
    if (allBehind > MAX_ALL_BEHIND && this.#behind > 0) return true;
    if (this.#behind <= MAX_BEHIND) return false;
    // What auth must have is not let go on as a burst.
    if (this.#context.upload || this.#behind > MAX_BURST) return true;
    return performance.now() - this.#caughtUpAt > MAX_BEHIND_MS;
  }

  #time(): number {
    return (performance.now() - this.#began) / 1000;
  }

  #keep(part: Uint8Array, time: number): void {
    if (time - this.#lastMark >= SAME_TIME || this.#length === 0) {
      this.#marks.push(this.#length, time);
      this.#lastMark = time;
    }
    const length = this.#length + part.length;
    if (this.#pending === undefined || this.#pending.length < length) this.#grow(length);
    this.#pending!.set(part, this.#length);
    this.#length = length;
  }

  #grow(length: number): void {
    let capacity = Math.max(FIRST_BYTES, this.#pending?.length ?? 0);
    while (capacity < length) capacity *= 2;
    const reused = capacity === POST_BYTES ? free.pop() : undefined;
    const larger = new Uint8Array(reused ?? new ArrayBuffer(capacity));
    if (this.#pending) larger.set(this.#pending.subarray(0, this.#length));
    this.#pending = larger;
  }

  #flush(): void {
    this.#flushOutput();
    this.#flushSize();
  }

  #flushSize(): void {
    if (this.#size) this.#context.post({ type: "resize", ...this.#size }, []);
    this.#size = undefined;
  }

  #flushOutput(): void {
    if (this.#length === 0 || this.#pending === undefined) return;
    const { buffer } = this.#pending;
    const message = { type: "output", buffer, length: this.#length, marks: this.#marks } as const;
    this.#setBehind(this.#length);
    this.#pending = undefined;
    this.#length = 0;
    this.#marks = [];
    this.#context.post(message, [buffer]);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "taken":
        if (message.buffer.byteLength === POST_BYTES && free.length < MAX_FREE) {
          free.push(message.buffer);
        }
        // What goes to auth is worked off when it is there.
        if (!this.#context.upload) this.#setBehind(-message.bytes);
        return;
      case "member":
        this.#context.upload?.send(message.data, () => this.#setBehind(-message.raw));
        return;
      case "snapshot":
        this.#snapshots.get(message.request)?.(message.data);
        this.#snapshots.delete(message.request);
        return;
      case "failed":
        return this.#cannotRecord(message.failure);
      case "ended":
        this.#context.ended(message.size);
        this.#ended.resolve();
        return;
    }
  }

  #cannotRecord(failure: Failure): void {
    const wasRecorded = this.#recorded;
    this.#recorded = false;
    if (!wasRecorded || this.#context.failed(failure)) return;
    this.#fail(
      failure.diskFull
        ? new LimitExceeded("the session ends, as it cannot be recorded: this host's disk is full")
        : new InternalError(`the session ends, as it cannot be recorded: ${failure.message}`),
    );
  }

  #setBehind(change: number): void {
    // From here on something is not worked off.
    if (change > 0 && this.#behind <= MAX_BEHIND / 2) this.#caughtUpAt = performance.now();
    this.#behind += change;
    allBehind += change;
    if (change < 0 && this.#behind <= MAX_BEHIND / 2) {
      this.#caughtUp?.resolve();
      this.#caughtUp = undefined;
    }
  }

  /** Nobody waits for anything of this tape any more. */
  #release(): void {
    this.#setBehind(-this.#behind);
    this.#caughtUp?.resolve();
    for (const resolve of this.#snapshots.values()) resolve(new Uint8Array(0));
    this.#snapshots.clear();
  }
}
