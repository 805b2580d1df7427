/** Two streams that are the ends of one connection, in memory. */
import { Duplex } from "node:stream";

/**
 * What is written to one is read from the other, with back-pressure, and each direction ends by
 * itself. When one end is destroyed, the other reads what was written before and then the end.
 */
export function streamPair(): [Duplex, Duplex] {
  const a = new End();
  const b = new End();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

const highWaterMark = 128 * 1024;

class End extends Duplex {
  peer!: End;
  #hasEnded = false;
  /** The peer's write that waits for our reader. */
  #taken: (() => void) | undefined;

  constructor() {
    super({ allowHalfOpen: true, highWaterMark });
  }

  override _read(): void {
    this.#release();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    if (!this.peer.#deliver(chunk, done)) done();
  }

  override _final(done: () => void): void {
    this.peer.#end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#release();
    this.peer.#end();
    done(error);
  }

  #release(): void {
    const done = this.#taken;
    this.#taken = undefined;
    done?.();
  }

  /** False when nothing has to be waited for: there is room, or nobody to read it. */
  #deliver(chunk: Uint8Array, done: () => void): boolean {
    if (this.destroyed || this.#hasEnded || this.push(chunk)) return false;
    this.#taken = done;
    return true;
  }

  #end(): void {
    if (this.#hasEnded || this.destroyed) return;
    this.#hasEnded = true;
    this.push(null);
  }
}
