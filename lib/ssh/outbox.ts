/**
 * The bytes on their way to the peer: packets written in one turn leave in one write, and while a
 * write is under way the next one is collected.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { ConnStream } from "./stream.ts";

/** Above it nothing that can wait is added. */
export const outboxHighWater = 1024 * 1024;
/** Collected bytes that are not held back to the end of the turn. */
const enoughForWrite = 256 * 1024;

export class Outbox {
  readonly #stream: Duplex;
  readonly #onDrain: () => void;
  #buffer: Buffer = nothing;
  #used = 0;
  #writing = 0;
  #scheduled = false;
  #ending = false;

  /** @param onDrain called after a write, when the outbox is no longer full */
  constructor(stream: Duplex, onDrain: () => void) {
    this.#stream = stream;
    this.#onDrain = onDrain;
  }

  /** Bytes that the system has not taken yet. */
  get pending(): number {
    return this.#used + this.#writing;
  }

  get isFull(): boolean {
    return this.pending >= outboxHighWater;
  }

  /** Memory for what is to be sent next, to be filled at once. */
  reserve(size: number): Uint8Array {
    if (this.#used >= enoughForWrite) this.flush();
    if (this.#used + size > this.#buffer.length) this.#grow(this.#used + size);
    const start = this.#used;
    this.#used += size;
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
    return this.#buffer.subarray(start, start + size);
  }

  flush(): void {
    if (this.#writing > 0 || this.#used === 0 || !this.#stream.writable) return;
    const buffer = this.#buffer;
    this.#writing = this.#used;
    this.#buffer = nothing;
    this.#used = 0;
    this.#stream.write(buffer.subarray(0, this.#writing), (error) => {
      // A socket is done with the memory then; other streams may have handed it on.
      this.#writing = 0;
      if (error) return;
      if (this.#stream instanceof ConnStream) giveBack(buffer);
      this.flush();
      if (this.#ending && this.pending === 0) this.#end();
      else if (!this.isFull) this.#onDrain();
    });
  }

  /** Ends the stream when all is written. */
  end(): void {
    this.#ending = true;
    this.flush();
    if (this.pending === 0) this.#end();
  }

  #end(): void {
    if (!this.#stream.writableEnded) this.#stream.end();
  }

  #grow(needed: number): void {
    const buffer = take(needed);
    this.#buffer.copy(buffer, 0, 0, this.#used);
    giveBack(this.#buffer);
    this.#buffer = buffer;
  }
}

const nothing = Buffer.alloc(0);

/** Small ones for single packets; big ones for a transfer, in the course of which all is reused. */
const sizes = [4 * 1024, 64 * 1024, 512 * 1024, 2 * 1024 * 1024];
const kept = [64, 32, 16, 2];
const pools: Buffer[][] = sizes.map(() => []);

/** Memory of at least `size` bytes, shared by all connections one after the other. */
function take(size: number): Buffer {
  const kind = sizes.findIndex((each) => each >= size);
  return pools[kind]?.pop() ?? Buffer.allocUnsafeSlow(sizes[kind] ?? 2 * size);
}

function giveBack(buffer: Buffer): void {
  const kind = sizes.indexOf(buffer.length);
  const pool = pools[kind];
  if (pool && pool.length < kept[kind]!) pool.push(buffer);
}
