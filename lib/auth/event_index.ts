/**
 * The index of the audit log, as the main thread has it. The work is done by a worker; one that
 * fails is started again, and a damaged index is made anew from the log.
 */
import type { EventHistory, HistoryAnswer, HistoryQuestion } from "../audit/history.ts";
import { Backoff } from "../base/backoff.ts";
import { ConnectionProblem, errorFromCode } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { IndexFileOptions } from "./event_index_file.ts";
import type { IndexReply, IndexRequest } from "./event_index_worker.ts";
import type { EventPage, EventQuery } from "./event_search.ts";

const logger = log("audit");

/** What was written is looked at after so long, milliseconds: many events at once. */
const GATHER_MS = 100;
/** How long a question waits for an index that is being made, milliseconds. */
const PATIENCE_MS = 10_000;

const CANNOT_BE_USED = "the index of the audit log cannot be used now: see the auth server's log";

interface Pending {
  resolve(value: HistoryAnswer | EventPage): void;
  reject(error: Error): void;
}

export class EventIndex implements EventHistory {
  readonly #options: IndexFileOptions;
  readonly #patienceMs: number;
  readonly #backoff = new Backoff({ minMs: 500, maxMs: 60_000 });
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #ready = Promise.withResolvers<void>();
  /** It does not work, for a reason that waiting for does not help; it is tried again. */
  #isOut = false;
  /** It is being made, and has not been of use yet. */
  #isFresh = false;
  #nextId = 0;
  #gatherTimer: number | undefined;
  #restartTimer: number | undefined;
  #isClosed = false;

  /** Begins to open it, and to index what is new. Never throws. */
  constructor(options: IndexFileOptions & { patienceMs?: number }) {
    this.#options = { path: options.path, logs: options.logs };
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#open(false);
  }

  wrote(): void {
    if (this.#isClosed) return;
    this.#gatherTimer ??= setTimeout(() => {
      this.#gatherTimer = undefined;
      this.#send({ do: "advance" });
    }, GATHER_MS);
    Deno.unrefTimer(this.#gatherTimer);
  }

  /**
   * Undefined when the index cannot be used at all: the log goes on without.
   * @throws ConnectionProblem while it is being made
   */
  async lookUp(question: HistoryQuestion): Promise<HistoryAnswer | undefined> {
    if (this.#isOut) return undefined;
    await this.#whenReady();
    return await this.#ask((id) => ({ do: "lookUp", id, question })) as HistoryAnswer;
  }

  /** @throws ConnectionProblem while it is being made or cannot be used, BadParameter */
  async search(query: EventQuery): Promise<EventPage> {
    if (this.#isOut) throw new ConnectionProblem(CANNOT_BE_USED);
    await this.#whenReady();
    return await this.#ask((id) => ({ do: "search", id, query })) as EventPage;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#gatherTimer);
    clearTimeout(this.#restartTimer);
    this.#worker?.terminate();
    this.#rejectAll("the index of the audit log is closed");
  }

  async #whenReady(): Promise<void> {
    let timer: number | undefined;
    const impatience = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(new ConnectionProblem("the index of the audit log is being made: try again soon")),
        this.#patienceMs,
      );
    });
    try {
      await Promise.race([this.#ready.promise, impatience]);
    } finally {
      clearTimeout(timer);
    }
  }

  #ask(request: (id: number) => IndexRequest): Promise<HistoryAnswer | EventPage> {
    if (this.#isClosed) {
      return Promise.reject(new ConnectionProblem("the index of the audit log is closed"));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#send(request(id));
    });
  }

  #send(request: IndexRequest): void {
    this.#worker?.postMessage(request);
  }

  #open(isFresh: boolean): void {
    const url = new URL("./event_index_worker.ts", import.meta.url);
    this.#isFresh = isFresh;
    const worker = new Worker(url, { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<IndexReply>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#failed(event.message, false);
    };
    this.#send({ do: "open", options: this.#options, isFresh });
  }

  #receive(reply: IndexReply): void {
    switch (reply.say) {
      case "ready":
        this.#isOut = false;
        this.#isFresh = false;
        this.#backoff.reset();
        return this.#ready.resolve();
      case "failed":
        return this.#failed(reply.reason, reply.isDamaged);
      case "answer":
        this.#pending.get(reply.id)?.resolve(reply.value);
        break;
      case "error":
        this.#pending.get(reply.id)?.reject(errorFromCode(reply.code, reply.message));
        break;
    }
    this.#pending.delete(reply.id);
  }

  #failed(reason: string, isDamaged: boolean): void {
    if (this.#isClosed) return;
    logger.warn(
      isDamaged
        ? "The index of the audit log is damaged and is made anew from the log"
        : "The index of the audit log cannot be used: events are kept, searching is not possible",
      { path: this.#options.path, reason },
    );
    this.#worker?.terminate();
    this.#worker = undefined;
    // One that is damaged again before it was made is on a disk that does not keep what it is given.
    this.#isOut = !isDamaged || this.#isFresh;
    const waitedFor = this.#ready;
    this.#ready = Promise.withResolvers();
    // Without effect on one that was ready.
    waitedFor.promise.catch(() => {});
    if (this.#isOut) waitedFor.reject(new ConnectionProblem(CANNOT_BE_USED));
    else waitedFor.resolve(this.#ready.promise);
    this.#rejectAll("the index of the audit log has failed: try again");
    clearTimeout(this.#restartTimer);
    this.#restartTimer = setTimeout(() => this.#open(isDamaged), this.#backoff.next());
    Deno.unrefTimer(this.#restartTimer);
  }

  #rejectAll(why: string): void {
    for (const { reject } of this.#pending.values()) reject(new ConnectionProblem(why));
    this.#pending.clear();
  }
}
