import { Duplex } from "node:stream";
import type { Buffer } from "node:buffer";

/** Two ends of a pipe in memory, with back-pressure. For tests. */
export function streamPair(): [Duplex, Duplex] {
  const a = new End();
  const b = new End();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class End extends Duplex {
  peer!: End;
  #resume: (() => void) | undefined;

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.peer.#deliver(chunk, done);
  }

  override _final(done: () => void): void {
    this.peer.#deliver(null, () => {});
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.peer.destroyed) queueMicrotask(() => this.peer.destroy());
    done(error);
  }

  #deliver(chunk: Buffer | null, done: () => void): void {
    if (this.destroyed || this.push(chunk)) done();
    else this.#resume = done;
  }
}
