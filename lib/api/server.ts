/**
 * Server of the auth API on one byte stream: frame → caller's kind allowed? → parameters well
 * formed? → handler → answer.
 */
import type { Duplex } from "node:stream";
import type { Buffer } from "node:buffer";
import { z } from "zod";
import {
  AccessDenied,
  BadParameter,
  InternalError,
  LimitExceeded,
  NotFound,
  type TeleportError,
  toTeleportError,
} from "../base/errors.ts";
import { randomHex } from "../base/ids.ts";
import { log } from "../base/log.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";
import { type ApiMethod, type MethodName, methods } from "./contract.ts";
import { CONNECTION_LIMITS, type ConnectionLimits, RateLimit } from "./limits.ts";
import type { ApiService, CallContext } from "./service.ts";
import {
  type Caller,
  WATCH_EVENT,
  type WatchEvent,
  type WatchKind,
  type WatchNotification,
} from "./types.ts";

const logger = log("api");

export interface ServeOptions {
  caller: Caller;
  service: ApiService;
  /** Default: by the caller's kind. */
  limits?: ConnectionLimits;
  /** A watcher that takes nothing for so long is dropped. Default 30 s. */
  watchStallMs?: number;
}

export interface ApiConnection {
  close(): void;
  /** Resolves when the connection is gone; never rejects. */
  closed: Promise<void>;
}

/** Answers calls on the stream until it ends. */
export function serveApi(stream: Duplex, options: ServeOptions): ApiConnection {
  return new Connection(stream, options);
}

/** What the caller is called in messages and logs. */
export function callerName(caller: Caller): string {
  switch (caller.kind) {
    case "admin":
      return caller.name;
    case "user":
      return caller.identity.user;
    case "node":
    case "proxy":
      return caller.hostId;
    case "joining":
      return "joining host";
  }
}

interface Watch {
  start(): void;
  stop(): void;
}

interface Request {
  id: number | string;
  method: string;
  params: unknown;
}

class Connection implements ApiConnection {
  readonly closed: Promise<void>;

  readonly #stream: Duplex;
  readonly #options: ServeOptions;
  readonly #limits: ConnectionLimits;
  readonly #decoder: FrameDecoder;
  readonly #rate: RateLimit;
  readonly #gone = new AbortController();
  readonly #context: CallContext;
  readonly #watches = new Map<string, Watch>();
  readonly #waiting: Request[] = [];
  #running = 0;

  constructor(stream: Duplex, options: ServeOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#limits = options.limits ?? CONNECTION_LIMITS[options.caller.kind];
    this.#decoder = new FrameDecoder(this.#limits.frameBytes);
    this.#rate = new RateLimit(this.#limits.callsPerSecond, this.#limits.burst);
    this.#context = { caller: options.caller, signal: this.#gone.signal };
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#gone.signal.addEventListener("abort", () => resolve(), { once: true });
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("drain", () => this.#startWaiting());
    for (const event of ["end", "close", "error"]) stream.on(event, () => this.close());
  }

  close(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    this.#waiting.length = 0;
    this.#stream.destroy();
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const message of this.#decoder.push(chunk)) this.#accept(message);
    } catch (e) {
      // Where the next frame would begin is not known any more.
      this.#send(errorAnswer(null, toTeleportError(e)));
      this.#stream.end();
      this.close();
    }
  }

  #accept(message: unknown): void {
    const parsed = requestSchema.safeParse(message);
    if (!parsed.success) throw new BadParameter("not a JSON-RPC 2.0 request");
    this.#waiting.push({ params: {}, ...parsed.data } as Request);
    this.#startWaiting();
  }

  #startWaiting(): void {
    // A caller that does not read its answers gets no more of them made.
    while (this.#running < this.#limits.concurrentCalls && !this.#stream.writableNeedDrain) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      this.#running++;
      this.#answer(request).finally(() => {
        this.#running--;
        this.#startWaiting();
      });
    }
    if (this.#waiting.length > 0 || this.#stream.writableNeedDrain) this.#stream.pause();
    else if (this.#stream.isPaused()) this.#stream.resume();
  }

  async #answer({ id, method, params }: Request): Promise<void> {
    try {
      const result = await this.#call(method, params);
      this.#send({ jsonrpc: "2.0", id, result });
      // Only now, so that the caller knows the id when the first events come.
      if (method === "watch") this.#watches.get((result as { watch_id: string }).watch_id)?.start();
    } catch (e) {
      this.#send(errorAnswer(id, this.#publicError(method, toTeleportError(e))));
    }
  }

  async #call(method: string, params: unknown): Promise<unknown> {
    if (!this.#rate.take()) {
      throw new LimitExceeded("too many requests, slow down");
    }
    if (!Object.hasOwn(methods, method)) throw new NotFound(`unknown method ${quote(method)}`);
    const entry: ApiMethod<z.ZodType, unknown> = methods[method as MethodName];
    const { caller } = this.#context;
    if (!entry.callers.includes(caller.kind)) {
      logger.warn("call refused", { method, kind: caller.kind, caller: callerName(caller) });
      throw new AccessDenied(`${caller.kind} ${quote(callerName(caller))} may not call ${method}`);
    }
    const parsed = entry.params.safeParse(params);
    if (!parsed.success) throw new BadParameter(`${method}: ${describeIssues(parsed.error)}`);
    if (method === "watch") {
      return this.#watch((parsed.data as { kinds: (WatchKind | "session")[] }).kinds);
    }
    if (method === "watch.stop") {
      this.#watches.get((parsed.data as { watch_id: string }).watch_id)?.stop();
      return {};
    }
    const handler = this.#options
      .service[method as Exclude<MethodName, "watch" | "watch.stop">] as (
        params: unknown,
        context: CallContext,
      ) => unknown;
    return await handler.call(this.#options.service, parsed.data, this.#context);
  }

  #watch(kinds: (WatchKind | "session")[]): { watch_id: string } {
    if (this.#watches.size >= this.#limits.watches) {
      throw new LimitExceeded(`too many watches (max=${this.#limits.watches})`);
    }
    const watch_id = randomHex(8);
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#gone.signal]);
    this.#watches.set(watch_id, {
      start: () =>
        this.#pump(watch_id, kinds, signal).finally(() => this.#watches.delete(watch_id)),
      stop: () => stop.abort(),
    });
    return { watch_id };
  }

  async #pump(
    watch_id: string,
    kinds: (WatchKind | "session")[],
    signal: AbortSignal,
  ): Promise<void> {
    const notify = (events: WatchEvent[], error?: TeleportError) =>
      this.#send({
        jsonrpc: "2.0",
        method: WATCH_EVENT,
        params: {
          watch_id,
          events,
          ...(error && { error: { code: error.code, message: error.message } }),
        } satisfies WatchNotification,
      });
    try {
      for await (const events of this.#options.service.watch(kinds, { ...this.#context, signal })) {
        if (signal.aborted) return;
        notify(events);
        if (this.#stream.writableNeedDrain) await this.#drained(signal);
      }
      if (!signal.aborted) throw new InternalError("watch ended");
    } catch (e) {
      if (!signal.aborted) notify([], this.#publicError("watch", toTeleportError(e)));
    }
  }

  #drained(signal: AbortSignal): Promise<void> {
    const stallMs = this.#options.watchStallMs ?? 30_000;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new LimitExceeded(`nothing was read for ${stallMs / 1000} s`)),
      stallMs,
    );
    const done = () => resolve();
    this.#stream.once("drain", done);
    signal.addEventListener("abort", done, { once: true });
    return promise.finally(() => {
      clearTimeout(timer);
      this.#stream.off("drain", done);
      signal.removeEventListener("abort", done);
    });
  }

  /** What went wrong inside us is for the log and for administrators. */
  #publicError(method: string, error: TeleportError): TeleportError {
    if (error.code !== "internal") return error;
    const reference = randomHex(4);
    logger.error("call failed", { method, reference, error });
    return this.#context.caller.kind === "admin"
      ? error
      : new InternalError(`internal error, see the auth server's log (reference ${reference})`);
  }

  #send(message: unknown): void {
    if (this.#gone.signal.aborted || this.#stream.writableEnded) return;
    let frame: Uint8Array;
    try {
      frame = encodeFrame(message);
    } catch (e) {
      frame = encodeFrame(errorAnswer((message as { id?: number }).id ?? null, toTeleportError(e)));
    }
    this.#stream.write(frame);
  }
}

const requestSchema = z.strictObject({
  jsonrpc: z.literal("2.0"),
  id: z.union([z.number().int(), z.string().max(64)]),
  method: z.string().max(64),
  params: z.custom<object>((v) => typeof v === "object" && v !== null && !Array.isArray(v))
    .optional(),
});

const RPC_CODES: Partial<Record<TeleportError["code"], number>> = {
  bad_parameter: -32602,
  internal: -32603,
};

function errorAnswer(id: number | string | null, error: TeleportError): unknown {
  return {
    jsonrpc: "2.0",
    id,
    error: {
      code: RPC_CODES[error.code] ?? -32000,
      message: error.message,
      data: { code: error.code },
    },
  };
}

function describeIssues(error: z.ZodError): string {
  return error.issues.slice(0, 5).map((issue) => {
    const where = issue.path.map(String).join(".");
    return where === "" ? issue.message : `${quote(where)}: ${issue.message}`;
  }).join("; ");
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
