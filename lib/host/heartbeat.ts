/** Tells the auth service again and again that this host is there, and what it looks like. */
import { Backoff, sleep } from "../base/backoff.ts";
import { ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";

/** For how long the auth service keeps a host that has gone silent, in milliseconds. */
export const ANNOUNCE_TTL_MS = 600_000;

export interface HeartbeatOptions<T> {
  /** The host as it is now. Called often: it must be cheap. */
  readonly describe: () => T;
  readonly announce: (description: T, signal: AbortSignal) => Promise<unknown>;
  /** How often `describe` is compared with what was last announced, in milliseconds; 5 s. */
  readonly checkMs?: number;
  /** How often it is announced although nothing changed; half the TTL and up to a tenth more. */
  readonly announceMs?: () => number;
  readonly backoff?: Backoff;
}

/** Announces at once, at each change, and every five to six minutes, until it is closed. */
export class Heartbeat<T> {
  readonly #options: HeartbeatOptions<T>;
  readonly #stop = new AbortController();
  readonly #first = Promise.withResolvers<void>();
  readonly #loop: Promise<void>;

  constructor(options: HeartbeatOptions<T>) {
    this.#options = options;
    this.#first.promise.catch(() => {});
    this.#loop = this.#run();
  }

  /** Resolves when the auth service has heard of this host for the first time. */
  get announced(): Promise<void> {
    return this.#first.promise;
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the heartbeat was closed"));
    this.#first.reject(this.#stop.signal.reason);
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const o = this.#options;
    const checkMs = o.checkMs ?? 5_000;
    const pause = o.announceMs ??
      (() => ANNOUNCE_TTL_MS / 2 + Math.random() * ANNOUNCE_TTL_MS / 10);
    const backoff = o.backoff ?? new Backoff({ minMs: 1_000, maxMs: 30_000 });
    let last: string | undefined;
    let nextAt = 0;
    while (!signal.aborted) {
      try {
        const description = o.describe();
        const text = JSON.stringify(description);
        if (text !== last || performance.now() >= nextAt) {
          await o.announce(description, signal);
          last = text;
          nextAt = performance.now() + pause();
          this.#first.resolve();
        }
        backoff.reset();
        await sleep(checkMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        last = undefined;
        // That auth is away, its connection says already.
        const level = error instanceof ConnectionProblem ? "debug" : "warn";
        log("heartbeat")[level]("The auth service did not take the heartbeat", {
          error: messageOf(error),
        });
        await sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }
}
