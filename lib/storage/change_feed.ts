import { log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import { BackendClosed, type BackendEvent, type WatchOptions } from "./backend.ts";
import { fellBehind, revisionOf, Watcher } from "./watcher.ts";

export interface ChangeSource {
  revision(): Promise<number>;
  /** Changes in the order of their revisions, which have no gaps unless the log was trimmed. */
  changesAfter(revision: number, limit: number): Promise<BackendEvent[]>;
  purge(): Promise<unknown>;
  pollMs: number;
  watchQueueSize: number;
}

const pageSize = 1000;
const purgeMs = 1000;

/**
 * Reads the change log once for all watchers: at once after a write of this process, and every
 * `pollMs` for those of others. Idle without watchers.
 */
export class ChangeFeed {
  readonly #source: ChangeSource;
  readonly #watchers = new Set<Watcher>();
  /** Everything up to this revision was given to the watchers. */
  #position = 0;
  #reading: Promise<void> | undefined;
  #readAgain = false;
  #timers: number[] = [];
  #closed = false;

  constructor(source: ChangeSource) {
    this.#source = source;
  }

  watch(prefix: string, { signal, after }: WatchOptions): AsyncIterable<BackendEvent> {
    const watcher = new Watcher(
      prefix,
      signal,
      this.#source.watchQueueSize,
      (ended) => this.#remove(ended),
    );
    if (watcher.open) watcher.waitFor(this.#join(watcher, after));
    return watcher;
  }

  /** Something was written. */
  wake(): void {
    if (this.#watchers.size === 0) return;
    this.#readAgain = true;
    this.#reading ??= this.#read().finally(() => this.#reading = undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watcher of [...this.#watchers]) watcher.end();
    await this.#reading;
  }

  async #join(watcher: Watcher, after: number | undefined): Promise<void> {
    // Asked for before anything else, so that a write that follows watch() comes after it.
    const revision = await this.#source.revision();
    if (this.#closed) return watcher.end();
    if (!watcher.open) return;
    const floor = after ?? revision;
    // A revision that is not there yet: the store is older than what the watcher saw.
    if (floor > revision) throw fellBehind();
    if (this.#watchers.size === 0) this.#position = revision;
    const position = this.#position;
    this.#watchers.add(watcher);
    this.#startTimers();
    const backlog = floor < position ? await this.#between(floor, position) : [];
    watcher.begin(floor, backlog);
    this.wake();
  }

  async #between(after: number, last: number): Promise<BackendEvent[]> {
    const events: BackendEvent[] = [];
    while (after < last) {
      const page = await this.#source.changesAfter(after, Math.min(pageSize, last - after));
      if (!follows(page, after)) throw fellBehind();
      events.push(...page);
      after += page.length;
    }
    return events;
  }

  async #read(): Promise<void> {
    try {
      while (this.#readAgain && this.#watchers.size > 0) {
        this.#readAgain = false;
        let page: BackendEvent[];
        do {
          const after = this.#position;
          page = await this.#source.changesAfter(after, pageSize);
          if (page.length > 0 && !follows(page, after)) {
            await this.#failAll();
            break;
          }
          // A watcher that joined meanwhile may have moved the position on.
          this.#position = Math.max(this.#position, after + page.length);
          for (const event of page) this.#publish(event);
        } while (page.length === pageSize);
      }
    } catch (e) {
      if (e instanceof BackendClosed) return;
      log("storage").warn("Cannot read the change log, trying again", { reason: messageOf(e) });
    }
  }

  #publish(event: BackendEvent): void {
    for (const watcher of [...this.#watchers]) watcher.push(event);
  }

  /** The log was trimmed beyond where we are: this process was held up for very long. */
  async #failAll(): Promise<void> {
    for (const watcher of [...this.#watchers]) watcher.fail(fellBehind());
    this.#position = await this.#source.revision();
  }

  #startTimers(): void {
    if (this.#timers.length > 0) return;
    this.#timers = [
      setInterval(() => this.wake(), this.#source.pollMs),
      setInterval(() => {
        this.#source.purge().catch((e) => {
          if (e instanceof BackendClosed) return;
          log("storage").warn("Cannot delete what has expired", { reason: messageOf(e) });
        });
      }, purgeMs),
    ];
  }

  #remove(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }
}

function follows(page: BackendEvent[], after: number): boolean {
  return page[0] !== undefined && revisionOf(page[0]) === after + 1;
}
