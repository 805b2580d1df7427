import type { CallerKind } from "./types.ts";
import { MAX_FRAME_BYTES } from "./frames.ts";

/** Bounds of one connection. */
export interface ConnectionLimits {
  /** Largest frame that is accepted, bytes. */
  frameBytes: number;
  /** Calls being worked on at one time; while there are more, the connection is not read. */
  concurrentCalls: number;
  /** Calls a second on average; beyond, a call is answered with limit_exceeded. */
  callsPerSecond: number;
  /** Calls that may come at once after a quiet time. */
  burst: number;
  watches: number;
}

const HOST: ConnectionLimits = {
  frameBytes: MAX_FRAME_BYTES,
  concurrentCalls: 64,
  callsPerSecond: 200,
  burst: 500,
  watches: 16,
};

export const CONNECTION_LIMITS: Record<CallerKind, ConnectionLimits> = {
  admin: { ...HOST, callsPerSecond: 2000, burst: 5000 },
  // Speaks for every person who logs in.
  proxy: { ...HOST, concurrentCalls: 256, callsPerSecond: 1000, burst: 2000 },
  node: HOST,
  user: { frameBytes: 64 * 1024, concurrentCalls: 8, callsPerSecond: 20, burst: 50, watches: 0 },
  // Anybody at all may open one of these.
  joining: { frameBytes: 64 * 1024, concurrentCalls: 2, callsPerSecond: 2, burst: 6, watches: 0 },
};

/** Token bucket: `burst` at once, `perSecond` on average. */
export class RateLimit {
  #tokens: number;
  #last: number;

  /** @param nowMs any steady clock, milliseconds */
  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {
    this.#tokens = burst;
    this.#last = nowMs();
  }

  /** False when there is nothing left. */
  take(): boolean {
    const now = this.nowMs();
    this.#tokens = Math.min(
      this.burst,
      this.#tokens + Math.max(0, now - this.#last) / 1000 * this.perSecond,
    );
    this.#last = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
