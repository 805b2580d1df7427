/** How long a connection may last: to the end of its certificate, or until nobody uses it. */
import { formatDuration } from "../base/duration.ts";
import type { Clock } from "../base/clock.ts";

export interface ConnectionLimitsOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970 at which the certificate ends; undefined lets it go on after that. */
  readonly expiresMs?: number | undefined;
  /** Milliseconds without a byte either way; 0 is no limit. */
  readonly idleTimeoutMs: number;
  /** Called once, with what the user and the audit log are told. */
  readonly disconnect: (reason: string) => void;
}

/** Timers hold 31 bits of milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastActiveMs: number;
  #isOver = false;
  #wereReached = false;

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
    this.#lastActiveMs = options.clock.now();
    this.#schedule();
  }

  /** Whether it was one of these limits that ended the connection. */
  get wereReached(): boolean {
    return this.#wereReached;
  }

  /** A byte came or went. Cheap: the timer finds out by itself, later. */
  active(): void {
    this.#lastActiveMs = this.#options.clock.now();
  }

  /** The connection has ended by itself. */
  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** A limit that is watched elsewhere was reached. */
  end(reason: string): void {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    this.#end(reason);
  }

  #schedule(): void {
    const { clock, expiresMs, idleTimeoutMs } = this.#options;
    const ends = [
      ...(expiresMs === undefined ? [] : [expiresMs]),
      ...(idleTimeoutMs > 0 ? [this.#lastActiveMs + idleTimeoutMs] : []),
    ];
    if (ends.length === 0) return;
    const waitMs = Math.max(0, Math.min(...ends) - clock.now());
    this.#timer = setTimeout(() => this.#look(), Math.min(waitMs, MAX_TIMER_MS));
  }

  #look(): void {
    if (this.#isOver) return;
    const { clock, expiresMs, idleTimeoutMs } = this.#options;
    const now = clock.now();
    const idleMs = now - this.#lastActiveMs;
    if (expiresMs !== undefined && now >= expiresMs) {
      this.#end(`client certificate expired at ${new Date(expiresMs).toISOString()}`);
    } else if (idleTimeoutMs > 0 && idleMs >= idleTimeoutMs) {
      const idle = formatDuration(Math.floor(idleMs / 1000) * 1000);
      this.#end(
        `client is idle for ${idle}, exceeded idle timeout of ${formatDuration(idleTimeoutMs)}`,
      );
    } else {
      this.#schedule();
    }
  }

  #end(reason: string): void {
    this.#isOver = true;
    this.#wereReached = true;
    this.#options.disconnect(reason);
  }
}
