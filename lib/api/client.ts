/**
 * Client of the auth API over any byte stream. Loads no schema library: `tsh` starts with it.
 */
import type { Duplex } from "node:stream";
import type { Buffer } from "node:buffer";
import {
  BadParameter,
  ConnectionProblem,
  errorFromCode,
  LimitExceeded,
  messageOf,
  type TeleportError,
  toTeleportError,
} from "../base/errors.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";
import type { ApiParams, ApiResult, MethodName } from "./contract.ts";
import { WATCH_EVENT, type WatchEvent, type WatchKind, type WatchNotification } from "./types.ts";

export interface CallOptions {
  /** Default 30 s; 0 waits for ever. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Events that a watch may have ready and unread before it fails. */
const MAX_UNREAD_EVENTS = 200_000;

interface Pending {
  resolve(result: unknown): void;
  reject(error: TeleportError): void;
}

/** One connection to the API. Calls run side by side; when the stream ends, all of them fail. */
export class ApiClient {
  /** Resolves when the connection is gone, whoever ended it; never rejects. */
  readonly closed: Promise<void>;

  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  readonly #pending = new Map<number, Pending>();
  readonly #watches = new Map<string, WatchQueue>();
  readonly #markClosed: () => void;
  #nextId = 1;
  #end: TeleportError | undefined;

  static over(stream: Duplex): ApiClient {
    return new ApiClient(stream);
  }

  private constructor(stream: Duplex) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#markClosed = resolve;
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("error", (e: Error) => this.#fail(new ConnectionProblem(messageOf(e), { cause: e })));
    const gone = () => this.#fail(new ConnectionProblem("connection to the auth server was lost"));
    stream.on("end", gone);
    stream.on("close", gone);
  }

  /**
   * @throws what the server answered, by its code; ConnectionProblem when the connection breaks or
   * no answer comes in time; AccessDenied, NotFound, … as the method says
   */
  call<M extends MethodName>(
    method: M,
    params: ApiParams<M>,
    options: CallOptions = {},
  ): Promise<ApiResult<M>> {
    return this.#request(method, params, options, (result) => result as ApiResult<M>);
  }

  /**
   * Present state as "put" events, then "init", then changes. Ends when `signal` is aborted.
   * @throws from the iteration: ConnectionProblem when the connection breaks, LimitExceeded when
   * this watcher was too slow; then watch again, on a new connection if need be
   */
  async *watch(
    kinds: readonly (WatchKind | "session")[],
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<WatchEvent, void, undefined> {
    if (options.signal?.aborted) return;
    const [id, queue] = await this.#request(
      "watch",
      { kinds: [...kinds] },
      {},
      // Registered while the answer is handled: the first events may be in the same packet.
      (result) => {
        const id = (result as { watch_id: string }).watch_id;
        const queue = new WatchQueue();
        this.#watches.set(id, queue);
        return [id, queue] as const;
      },
    );
    const stop = () => queue.end(undefined);
    options.signal?.addEventListener("abort", stop, { once: true });
    if (options.signal?.aborted) stop();
    try {
      for (;;) {
        const batch = await queue.next();
        if (batch === undefined) return;
        for (const event of batch) {
          if (options.signal?.aborted) return;
          yield event;
        }
      }
    } finally {
      options.signal?.removeEventListener("abort", stop);
      this.#watches.delete(id);
      if (this.#end === undefined && !queue.endedByServer) {
        this.call("watch.stop", { watch_id: id }).catch(() => {});
      }
    }
  }

  close(): void {
    this.#fail(new ConnectionProblem("connection to the auth server was closed"));
  }

  #request<T>(
    method: string,
    params: unknown,
    { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: CallOptions,
    accept: (result: unknown) => T,
  ): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (signal?.aborted) return Promise.reject(abortError(signal));
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const timer = timeoutMs > 0
      ? setTimeout(
        () => settle(new ConnectionProblem(`no answer to ${method} within ${timeoutMs / 1000} s`)),
        timeoutMs,
      )
      : undefined;
    const onAbort = () => settle(abortError(signal!));
    const settle = (error: TeleportError | undefined, result?: unknown) => {
      if (!this.#pending.delete(id)) return;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      if (error !== undefined) reject(error);
      else resolve(accept(result));
    };
    this.#pending.set(id, { resolve: (r) => settle(undefined, r), reject: settle });
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      this.#stream.write(encodeFrame({ jsonrpc: "2.0", id, method, params }));
    } catch (e) {
      settle(toTeleportError(e));
    }
    return promise;
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const message of this.#decoder.push(chunk)) this.#handle(message);
    } catch (e) {
      this.#fail(new ConnectionProblem(`auth server sent nonsense: ${messageOf(e)}`, { cause: e }));
    }
  }

  #handle(message: unknown): void {
    if (!isObject(message)) throw new BadParameter("message is not an object");
    if (message.method === WATCH_EVENT) {
      return this.#watchEvent(message.params as unknown as WatchNotification);
    }
    const pending = typeof message.id === "number" ? this.#pending.get(message.id) : undefined;
    // An answer to a call that was given up is no fault.
    if (pending === undefined) return;
    if (isObject(message.error)) pending.reject(remoteError(message.error));
    else pending.resolve(message.result);
  }

  #watchEvent(notification: WatchNotification): void {
    const queue = this.#watches.get(notification.watch_id);
    if (queue === undefined) return;
    queue.push(notification.events);
    if (notification.error !== undefined) {
      queue.endedByServer = true;
      queue.end(errorFromCode(notification.error.code, notification.error.message));
    }
  }

  #fail(error: TeleportError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    for (const pending of [...this.#pending.values()]) pending.reject(error);
    for (const queue of this.#watches.values()) queue.end(error);
    this.#stream.destroy();
    this.#markClosed();
  }
}

/** Hands batches from the connection to the one who iterates. */
class WatchQueue {
  endedByServer = false;
  #batches: WatchEvent[][] = [];
  #unread = 0;
  #ended = false;
  #error: TeleportError | undefined;
  #wake: (() => void) | undefined;

  push(batch: WatchEvent[]): void {
    if (this.#ended) return;
    this.#batches.push(batch);
    this.#unread += batch.length;
    if (this.#unread > MAX_UNREAD_EVENTS) {
      this.#batches = [];
      this.end(new LimitExceeded("watch events came faster than they were read"));
    }
    this.#wake?.();
  }

  /** What is queued is still read, then the iteration throws `error`, or ends without one. */
  end(error: TeleportError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async next(): Promise<WatchEvent[] | undefined> {
    for (;;) {
      const batch = this.#batches.shift();
      if (batch !== undefined) {
        this.#unread -= batch.length;
        return batch;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

function remoteError(error: Record<string, unknown>): TeleportError {
  const code = isObject(error.data) && typeof error.data.code === "string"
    ? error.data.code
    : "internal";
  return errorFromCode(code, typeof error.message === "string" ? error.message : "unknown error");
}

function abortError(signal: AbortSignal): TeleportError {
  return new ConnectionProblem("call was cancelled", { cause: signal.reason });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
