/**
 * Bytes on their way out: what is added in one turn leaves in one write, and while a write is under
 * way the next one is collected.
 */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { giveMemory, keepsNothing, nothing, takeMemory } from "./memory.ts";

/** Above it nothing that can wait is added. */
const highWater = 1024 * 1024;
/** Collected bytes that are not held back to the end of the turn. */
const enoughForWrite = 256 * 1024;

/**
 * Writes `bytes`, then calls `done`: with true when they may be used again, false when somebody may
 * still look at them, and not at all when nothing can be written any more.
 */
export type WriteOut = (bytes: Buffer, done: (isFree: boolean) => void) => void;

export class Outbox {
  readonly #write: WriteOut;
  #buffer: Buffer = nothing;
  #used = 0;
  #writing = 0;
  #isScheduled = false;
  #isClosed = false;
  #onEmpty: (() => void) | undefined;
  /** Called after a write, when the outbox is not full. */
  onDrain: () => void = () => {};

  constructor(write: WriteOut) {
    this.#write = write;
  }

  /** Into a stream. */
  static of(stream: Duplex): Outbox {
    return new Outbox((bytes, done) => {
      if (stream.writable) stream.write(bytes, (error) => error || done(keepsNothing in stream));
    });
  }

  /** Bytes that the system has not taken yet. */
  get pending(): number {
    return this.#used + this.#writing;
  }

  get isFull(): boolean {
    return this.pending >= highWater;
  }

  /** Memory for what is to be sent next, to be filled at once. */
  reserve(size: number): Uint8Array {
    if (this.#used >= enoughForWrite) this.flush();
    if (this.#used + size > this.#buffer.length) this.#grow(this.#used + size);
    const start = this.#used;
    this.#used += size;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      queueMicrotask(() => {
        this.#isScheduled = false;
        this.flush();
      });
    }
    return this.#buffer.subarray(start, start + size);
  }

  /** Writes what is collected, unless a write is under way. */
  flush(): void {
    if (this.#writing > 0 || this.#used === 0 || this.#isClosed) return;
    const buffer = this.#buffer;
    this.#writing = this.#used;
    this.#buffer = nothing;
    this.#used = 0;
    this.#write(buffer.subarray(0, this.#writing), (isFree) => {
      if (isFree) giveMemory(buffer);
      this.#writing = 0;
      this.flush();
      this.#tellEmpty();
      if (!this.isFull && !this.#isClosed) this.onDrain();
    });
  }

  /** Calls `then` as soon as all is written. */
  whenEmpty(then: () => void): void {
    this.#onEmpty = then;
    this.flush();
    this.#tellEmpty();
  }

  /** Nothing is written any more. */
  close(): void {
    this.#isClosed = true;
    this.#onEmpty = undefined;
  }

  #tellEmpty(): void {
    if (this.pending > 0) return;
    const then = this.#onEmpty;
    this.#onEmpty = undefined;
    then?.();
  }

  #grow(needed: number): void {
    const buffer = takeMemory(needed);
    this.#buffer.copy(buffer, 0, 0, this.#used);
    giveMemory(this.#buffer);
    this.#buffer = buffer;
  }
}
