import { BackendClosed, type BackendEvent, WatchExpired } from "./backend.ts";

/** How many events may wait for a slow watcher; with one more it has fallen behind. */
export const WATCH_QUEUE_SIZE = 10_000;

/** One iteration of `Backend.watch()`: a queue between the backend and whoever iterates. */
export class Watcher implements AsyncIterableIterator<BackendEvent> {
  #queue: BackendEvent[] = [];
  #state: "open" | "ended" | { error: unknown } = "open";
  #wake: (() => void) | undefined;
  #ready: Promise<void> | undefined;
  /** The watcher has seen everything up to this revision, or does not want to. */
  #floor = 0;

  constructor(
    readonly prefix: string,
    private readonly signal: AbortSignal | undefined,
    private readonly queueSize: number,
    private readonly onEnd: (watcher: Watcher) => void,
  ) {
    if (signal?.aborted) this.end();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get open(): boolean {
    return this.#state === "open";
  }

  /** Nothing is handed out before `ready` has resolved; its rejection fails the iteration. */
  waitFor(ready: Promise<void>): void {
    this.#ready = ready.catch((error) => {
      if (error instanceof BackendClosed) this.end();
      else this.fail(error);
    });
  }

  /** Where to begin, and what came before the pushed events. */
  begin(floor: number, backlog: readonly BackendEvent[]): void {
    this.#floor = floor;
    this.#queue = [...backlog.filter((event) => this.#wants(event)), ...this.#queue];
    this.#wake?.();
  }

  push(event: BackendEvent): void {
    if (!this.open || !this.#wants(event)) return;
    if (this.#queue.length >= this.queueSize) return this.fail(fellBehind());
    this.#queue.push(event);
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#finish({ error });
  }

  end(): void {
    this.#finish("ended");
  }

  async next(): Promise<IteratorResult<BackendEvent>> {
    if (this.#ready) await this.#ready;
    while (true) {
      const event = this.#queue.shift();
      if (event) {
        if (revisionOf(event) <= this.#floor) continue;
        this.#floor = revisionOf(event);
        return { done: false, value: event };
      }
      if (this.#state === "ended") return { done: true, value: undefined };
      if (this.#state !== "open") throw this.#state.error;
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
    }
  }

  return(): Promise<IteratorResult<BackendEvent>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #onAbort = () => this.end();

  #wants(event: BackendEvent): boolean {
    return (event.type === "put" ? event.item.key : event.key).startsWith(this.prefix);
  }

  #finish(state: "ended" | { error: unknown }): void {
    if (!this.open) return;
    this.#state = state;
    this.#queue = [];
    this.signal?.removeEventListener("abort", this.#onAbort);
    this.onEnd(this);
    this.#wake?.();
  }
}

export function revisionOf(event: BackendEvent): number {
  return event.type === "put" ? event.item.revision : event.revision;
}

export function fellBehind(): WatchExpired {
  return new WatchExpired("This watch fell behind the changes: list anew and watch from there");
}
