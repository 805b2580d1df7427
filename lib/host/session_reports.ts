/** Tells the auth service which sessions run on this host, and hears from it which are to end. */
import type { ActiveSession } from "../api/types.ts";
import { Backoff, sleep } from "../base/backoff.ts";
import { ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { AuthConnection } from "./auth_connection.ts";

export interface SessionReportsOptions {
  /** The sessions that run now. */
  readonly list: () => ActiveSession[];
  /** Ends one, if it is (still) there. @param by who wants it, and why if that was said */
  readonly end: (sid: string, by: string, reason: string | undefined) => void;
  readonly auth: Pick<AuthConnection, "api" | "call">;
  /** How often they are reported although nothing changed, in milliseconds; 10 s. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 10_000;
/** Changes come together: a command that is over by then is not reported at all. */
const QUIET_MS = 200;

export class SessionReports {
  readonly #options: SessionReportsOptions;
  readonly #stop = new AbortController();
  readonly #loops: Promise<unknown>;
  #change = Promise.withResolvers<void>();

  /** Begins at once. */
  constructor(options: SessionReportsOptions) {
    this.#options = options;
    this.#loops = Promise.all([this.#report(), this.#obey()]);
  }

  /** What list() says has changed. Cheap. */
  changed(): void {
    this.#change.resolve();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the reports of sessions were closed"));
    await this.#loops;
  }

  async #report(): Promise<void> {
    const { signal } = this.#stop;
    const { list, auth, intervalMs = INTERVAL_MS } = this.#options;
    const backoff = new Backoff({ minMs: 1_000, maxMs: intervalMs });
    let last = "[]";
    let nextAt = 0;
    while (!signal.aborted) {
      try {
        this.#change = Promise.withResolvers();
        const sessions = list();
        const text = JSON.stringify(sessions);
        // Without sessions there is nothing to say, once that was said.
        if (text !== last || (sessions.length > 0 && performance.now() >= nextAt)) {
          await auth.call("sessions.heartbeat", { sessions }, { signal });
          last = text;
          nextAt = performance.now() + intervalMs;
        }
        backoff.reset();
        await this.#nextChange(sessions.length > 0 ? nextAt - performance.now() : undefined);
        await sleep(QUIET_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        // The auth service may have forgotten all, or never have heard it.
        last = "";
        complain("The auth service did not take the list of sessions", error);
        await sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #nextChange(waitMs: number | undefined): Promise<void> {
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, this.#stop.signal]);
    const time = waitMs === undefined ? untilAborted(signal) : sleep(Math.max(0, waitMs), signal);
    time.catch(() => {});
    try {
      await Promise.race([this.#change.promise, time]);
    } finally {
      done.abort();
    }
  }

  async #obey(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff({ minMs: 250, maxMs: 30_000 });
    while (!signal.aborted) {
      try {
        const api = await this.#options.auth.api({ waitMs: Infinity, signal });
        for await (const event of api.watch(["session"], { signal })) {
          if (event.type === "init") backoff.reset();
          if (event.type !== "delete" || event.kind !== "session") continue;
          this.#options.end(event.name, event.by ?? "an administrator", event.reason);
        }
      } catch (error) {
        if (!signal.aborted) complain("Orders to end sessions cannot be heard now", error);
      }
      await sleep(backoff.next(), signal).catch(() => {});
    }
  }
}

function complain(what: string, error: unknown): void {
  // That auth is away, its connection says already.
  const level = error instanceof ConnectionProblem ? "debug" : "warn";
  log("sessions")[level](what, { error: messageOf(error) });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
}
