/**
 * The bytes on their way to the peer: packets written in one turn leave in one write, and while a
 * write is under way the next one is collected.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { ConnStream } from "./stream.ts";

/** Above it nothing that can wait is added. */
export const outboxHighWater = 1024 * 1024;
const firstSize = 16 * 1024;

export class Outbox {
  readonly #stream: Duplex;
  readonly #onDrain: () => void;
  #buffer: Buffer = Buffer.alloc(0);
  #used = 0;
  /** A buffer that was written and may be used again. */
  #spare: Buffer | undefined;
  #writing = 0;
  #scheduled = false;
  #held = false;
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

  /** Copies the parts. */
  add(a: Uint8Array, b?: Uint8Array, c?: Uint8Array): void {
    const size = a.length + (b?.length ?? 0) + (c?.length ?? 0);
    if (this.#used + size > this.#buffer.length) this.#grow(this.#used + size);
    this.#buffer.set(a, this.#used);
    this.#used += a.length;
    if (b) {
      this.#buffer.set(b, this.#used);
      this.#used += b.length;
    }
    if (c) {
      this.#buffer.set(c, this.#used);
      this.#used += c.length;
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
  }

  /** While it is held, nothing is written. */
  set held(held: boolean) {
    this.#held = held;
    if (!held) this.flush();
  }

  flush(): void {
    if (this.#writing > 0 || this.#held || this.#used === 0 || !this.#stream.writable) return;
    const buffer = this.#buffer;
    this.#writing = this.#used;
    this.#buffer = this.#spare ?? Buffer.alloc(0);
    this.#spare = undefined;
    this.#used = 0;
    this.#stream.write(buffer.subarray(0, this.#writing), (error) => {
      // Other streams may hand the buffer on; a socket is done with it. A big one is not kept idle.
      const reusable = this.#stream instanceof ConnStream &&
        (buffer.length <= firstSize || this.#used > 0);
      if (reusable) this.#spare = buffer;
      this.#writing = 0;
      if (error) return;
      this.flush();
      if (this.#ending && this.#used === 0) this.#end();
      else if (!this.isFull) this.#onDrain();
    });
  }

  /** Ends the stream when all is written. */
  end(): void {
    this.#ending = true;
    this.#held = false;
    this.flush();
    if (this.pending === 0) this.#end();
  }

  #end(): void {
    if (!this.#stream.writableEnded) this.#stream.end();
  }

  #grow(needed: number): void {
    let size = Math.max(firstSize, this.#buffer.length);
    while (size < needed) size *= 2;
    const buffer = Buffer.allocUnsafeSlow(size);
    buffer.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = buffer;
  }
}
