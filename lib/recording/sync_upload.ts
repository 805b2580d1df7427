/** A recording on its way to auth while its session runs, in order, one call at a time. */
import { createHash } from "node:crypto";
import { concat } from "../base/bytes.ts";
import { sleep } from "../base/backoff.ts";
import {
  ConnectionProblem,
  messageOf,
  type TeleportError,
  toTeleportError,
} from "../base/errors.ts";
import { log } from "../base/log.ts";

/** How recordings reach the auth service. Repeating a call does no harm. */
export interface RecordingRemote {
  append(sid: string, offset: number, data: Uint8Array): Promise<{ size: number }>;
  finish(sid: string, size: number, sha256: string): Promise<{ stored: boolean; size: number }>;
  state(sid: string): Promise<{ size: number; finished: boolean }>;
}

const PATIENCE_MS = 10_000;
const RETRY_MS = 500;
/** Members that wait go together, up to so many bytes. */
const CALL_BYTES = 512 * 1024;

interface Waiting {
  readonly data: Uint8Array;
  readonly done: () => void;
}

export class SyncUpload {
  /** Resolves when the beginning is at auth. @throws ConnectionProblem and what else auth says */
  readonly begun: Promise<void>;
  /** Resolves with the reason when it cannot go on; never rejects. */
  readonly failed: Promise<TeleportError>;

  readonly #remote: RecordingRemote;
  readonly #sid: string;
  readonly #patienceMs: number;
  readonly #hash = createHash("sha256");
  readonly #begun = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<TeleportError>();
  readonly #waiting: Waiting[] = [];
  #size = 0;
  #error: TeleportError | undefined;
  #sending: Promise<void> | undefined;

  /** @param o.patienceMs for so long a session waits for auth to come back; 10 s when omitted */
  constructor(remote: RecordingRemote, sid: string, o: { patienceMs?: number | undefined } = {}) {
    this.#patienceMs = o.patienceMs ?? PATIENCE_MS;
    this.#remote = remote;
    this.#sid = sid;
    this.begun = this.#begun.promise;
    this.begun.catch(() => {});
    this.failed = this.#failed.promise;
  }

  /** @param done called when the bytes are at auth */
  send(data: Uint8Array, done: () => void): void {
    if (this.#error) return;
    this.#waiting.push({ data, done });
    this.#sending ??= this.#send();
  }

  /** Resolves when auth has all of it and its hash, or when that cannot be. */
  async end(): Promise<void> {
    await this.#sending;
    if (this.#error) return;
    try {
      const hash = this.#hash.digest("hex");
      await this.#patiently(() => this.#remote.finish(this.#sid, this.#size, hash));
    } catch (error) {
      // All of it is there: auth ends it by itself in time.
      log("recording").warn("Auth was not told of a recording's end", {
        sid: this.#sid,
        error: messageOf(error),
      });
    }
  }

  async #send(): Promise<void> {
    try {
      for (let next; (next = this.#take()).length > 0;) {
        const data = concat(...next.map((each) => each.data));
        await this.#patiently(() => this.#remote.append(this.#sid, this.#size, data));
        this.#size += data.length;
        this.#hash.update(data);
        this.#begun.resolve();
        for (const { done } of next) done();
      }
    } catch (error) {
      this.#error = toTeleportError(error);
      this.#waiting.length = 0;
      this.#begun.reject(
        new ConnectionProblem(
          `the session cannot be recorded at the auth service: ${messageOf(error)}`,
          { cause: error },
        ),
      );
      this.#failed.resolve(
        new ConnectionProblem(
          `the session ends, as its recording does not reach the auth service: ${messageOf(error)}`,
          { cause: error },
        ),
      );
    } finally {
      this.#sending = undefined;
    }
  }

  #take(): Waiting[] {
    let bytes = 0;
    const count = this.#waiting.findIndex(({ data }) => (bytes += data.length) > CALL_BYTES);
    return this.#waiting.splice(0, count < 0 ? this.#waiting.length : Math.max(1, count));
  }

  async #patiently<T>(call: () => Promise<T>): Promise<T> {
    const giveUpAt = performance.now() + this.#patienceMs;
    while (true) {
      try {
        return await call();
      } catch (error) {
        // Before the session has begun nobody needs to wait.
        const isFirst = this.#size === 0;
        if (!(error instanceof ConnectionProblem) || isFirst || performance.now() > giveUpAt) {
          throw error;
        }
        await sleep(RETRY_MS);
      }
    }
  }
}
