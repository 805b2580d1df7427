/** A few Workers that hash passwords, started when needed and let go when idle. */
import { InternalError, LimitExceeded } from "../base/errors.ts";
import type { HashAnswer, HashRequest } from "./argon2_worker.ts";

export interface PoolOptions {
  /** Default: the number of processors, at most 4. */
  workers?: number;
  /** How many may wait; the next one is refused. Default 128. */
  maxWaiting?: number;
  /** Default 30 s. */
  idleMs?: number;
}

interface Job {
  request: HashRequest;
  resolve(tag: Uint8Array): void;
  reject(error: Error): void;
}

export class Argon2Pool {
  readonly #size: number;
  readonly #maxWaiting: number;
  readonly #idleMs: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Job>();
  readonly #waiting: Job[] = [];
  #idleTimer: number | undefined;
  #closed = false;

  constructor(options: PoolOptions = {}) {
    this.#size = options.workers ?? Math.min(4, navigator.hardwareConcurrency);
    this.#maxWaiting = options.maxWaiting ?? 128;
    this.#idleMs = options.idleMs ?? 30_000;
  }

  /** @throws LimitExceeded when too many wait already */
  hash(request: HashRequest): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(new InternalError("password hashing is closed"));
    if (this.#waiting.length >= this.#maxWaiting) {
      return Promise.reject(new LimitExceeded("too many logins at this moment, try again"));
    }
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#waiting.push({ request, resolve, reject });
    this.#startNext();
    return promise;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#idleTimer);
    const closed = new InternalError("password hashing is closed");
    for (const job of this.#waiting.splice(0)) job.reject(closed);
    for (const [worker, job] of this.#busy) {
      worker.terminate();
      job.reject(closed);
    }
    this.#busy.clear();
    this.#letGo();
  }

  #startNext(): void {
    if (this.#waiting.length === 0 || this.#busy.size >= this.#size) return;
    clearTimeout(this.#idleTimer);
    const worker = this.#idle.pop() ?? this.#spawn();
    const job = this.#waiting.shift()!;
    this.#busy.set(worker, job);
    worker.postMessage(job.request);
  }

  #spawn(): Worker {
    const worker = new Worker(new URL("./argon2_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<HashAnswer>) => {
      const job = this.#busy.get(worker);
      this.#busy.delete(worker);
      this.#idle.push(worker);
      if (data instanceof Uint8Array) job?.resolve(data);
      else job?.reject(new InternalError(`password hashing failed: ${data}`));
      this.#startNext();
      if (this.#busy.size === 0) this.#letGoLater();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const job = this.#busy.get(worker);
      this.#busy.delete(worker);
      worker.terminate();
      job?.reject(new InternalError(`password hashing failed: ${event.message}`));
      this.#startNext();
    };
    return worker;
  }

  /** An idle Worker holds some 30 MB. */
  #letGoLater(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#letGo(), this.#idleMs);
    Deno.unrefTimer(this.#idleTimer);
  }

  #letGo(): void {
    for (const worker of this.#idle.splice(0)) worker.terminate();
  }
}
