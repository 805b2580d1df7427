/** Waiting longer after each failure, and never in step with the others that failed with us. */

export interface BackoffOptions {
  /** The first wait. */
  minMs: number;
  /** No wait is longer. */
  maxMs: number;
  /** By how much each wait grows; 2 unless told. */
  factor?: number;
  /** Which part of a wait is random, 0 (none) to 1 (all of it); 0.5 unless told. */
  jitter?: number;
  /** A number in [0, 1); Math.random unless told. */
  random?: () => number;
}

export class Backoff {
  readonly #options: Required<BackoffOptions>;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = { factor: 2, jitter: 0.5, random: Math.random, ...options };
  }

  /** Milliseconds to wait before the next try. */
  next(): number {
    const { minMs, maxMs, factor, jitter, random } = this.#options;
    const full = Math.min(maxMs, minMs * factor ** this.#failures);
    if (full < maxMs) this.#failures++;
    return full * (1 - jitter * random());
  }

  /** To be called after a success: the next wait is a short one again. */
  reset(): void {
    this.#failures = 0;
  }
}

/**
 * Resolves after `ms` milliseconds.
 * @throws the signal's reason, at once when it is aborted
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
