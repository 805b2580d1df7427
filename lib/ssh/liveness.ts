/** Whether the peer is still there. */

export interface KeepAlive {
  /** Milliseconds of silence after which the peer is asked whether it is there; 0 for never. */
  intervalMs: number;
  /** So many unanswered questions end the connection. */
  countMax: number;
}

/** Asks a silent peer for a sign of life. */
export class Liveness {
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastHeard = performance.now();
  #unanswered = 0;

  /** Something came from the peer. */
  heard(): void {
    this.#lastHeard = performance.now();
    this.#unanswered = 0;
  }

  start({ intervalMs, countMax }: KeepAlive, actions: { ask(): void; giveUp(): void }): void {
    if (intervalMs <= 0) return;
    this.#timer = setInterval(() => {
      // A little less than the interval: timers are not exact.
      if (performance.now() - this.#lastHeard < intervalMs * 0.9) return;
      if (this.#unanswered >= countMax) {
        actions.giveUp();
      } else {
        this.#unanswered++;
        actions.ask();
      }
    }, intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
