/** The connections that are being forwarded now. */
import type { Duplex } from "node:stream";
import { relay } from "../../ssh/stream.ts";

export interface ForwardedConnection {
  /** The forward it belongs to, as it was asked for: "-L 8080:db:80". */
  readonly via: string;
  readonly from: string;
  readonly to: string;
}

export class Connections {
  readonly #open = new Map<ForwardedConnection, readonly Duplex[]>();
  #waiting: (() => void)[] = [];

  get size(): number {
    return this.#open.size;
  }

  list(): readonly ForwardedConnection[] {
    return [...this.#open.keys()];
  }

  /** Moves bytes until both directions have ended, the end of one leaving the other open. */
  async relay(connection: ForwardedConnection, a: Duplex, b: Duplex): Promise<void> {
    this.#open.set(connection, [a, b]);
    const ended = relay(a, b);
    // Whoever has read the head of a stream has paused it.
    for (const stream of [a, b]) if (stream.isPaused()) stream.resume();
    await ended;
    this.#open.delete(connection);
    if (this.#open.size === 0) { for (const resolve of this.#waiting.splice(0)) resolve(); }
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    for (const streams of this.#open.values()) for (const stream of streams) stream.destroy();
  }
}
