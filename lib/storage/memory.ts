import { AlreadyExists, CompareFailed, NotFound } from "../base/errors.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import {
  assertKey,
  type Backend,
  type BackendEvent,
  compareKeys,
  type Item,
  type RangeOptions,
  type WatchOptions,
  type WriteOptions,
} from "./backend.ts";
import { fellBehind, revisionOf, WATCH_QUEUE_SIZE, Watcher } from "./watcher.ts";

export interface MemoryOptions {
  clock?: Clock;
  /** How many changes a watcher can catch up on. */
  changeLogSize?: number;
  /** How many events may wait for a slow watcher. */
  watchQueueSize?: number;
}

/** The contract without persistence: for tests, and for what need not survive. */
export class MemoryBackend implements Backend {
  readonly #clock: Clock;
  readonly #changeLogSize: number;
  readonly #watchQueueSize: number;
  readonly #items = new Map<string, Item>();
  readonly #watchers = new Set<Watcher>();
  #sortedKeys: string[] | undefined = [];
  #changes: BackendEvent[] = [];
  #revision = 0;
  /** No item expires before. */
  #nextExpiryMs = Infinity;
  #purging: ReturnType<typeof setInterval> | undefined;

  constructor(options: MemoryOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#changeLogSize = options.changeLogSize ?? 10_000;
    this.#watchQueueSize = options.watchQueueSize ?? WATCH_QUEUE_SIZE;
  }

  // deno-lint-ignore require-await
  async get(key: string): Promise<Item | undefined> {
    return this.#get(key);
  }

  // deno-lint-ignore require-await
  async put(key: string, value: string, options: WriteOptions = {}): Promise<number> {
    return this.#put(key, value, options);
  }

  // deno-lint-ignore require-await
  async create(key: string, value: string, options: WriteOptions = {}): Promise<number> {
    if (this.#get(key)) throw new AlreadyExists(`${key} already exists`);
    return this.#put(key, value, options);
  }

  // deno-lint-ignore require-await
  async compareAndSwap(
    key: string,
    expected: { revision: number },
    value: string,
    options: WriteOptions = {},
  ): Promise<number> {
    this.#expect(key, expected.revision);
    return this.#put(key, value, options);
  }

  // deno-lint-ignore require-await
  async delete(key: string, options: { revision?: number } = {}): Promise<void> {
    this.#expect(key, options.revision);
    this.#delete(key);
  }

  // deno-lint-ignore require-await
  async range(prefix: string, { limit, after }: RangeOptions = {}): Promise<Item[]> {
    const keys = this.#keys().filter((key) =>
      key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0)
    );
    return keys.slice(0, limit).map((key) => ({ ...this.#items.get(key) as Item }));
  }

  // deno-lint-ignore require-await
  async deleteRange(prefix: string): Promise<number> {
    const keys = this.#keys().filter((key) => key.startsWith(prefix));
    for (const key of keys) this.#delete(key);
    return keys.length;
  }

  watch(prefix: string, { signal, after }: WatchOptions = {}): AsyncIterable<BackendEvent> {
    const watcher = new Watcher(
      prefix,
      signal,
      this.#watchQueueSize,
      (ended) => this.#removeWatcher(ended),
    );
    if (!watcher.open) return watcher;
    this.#purge();
    const floor = after ?? this.#revision;
    if (floor > this.#revision || floor < this.#revision - this.#changes.length) {
      watcher.fail(fellBehind());
      return watcher;
    }
    watcher.begin(floor, this.#changes.filter((event) => revisionOf(event) > floor));
    this.#watchers.add(watcher);
    this.#purging ??= setInterval(() => this.#purge(), 1000);
    return watcher;
  }

  // deno-lint-ignore require-await
  async revision(): Promise<number> {
    return this.#revision;
  }

  // deno-lint-ignore require-await
  async purgeExpired(): Promise<number> {
    return this.#purge();
  }

  // deno-lint-ignore require-await
  async close(): Promise<void> {
    for (const watcher of [...this.#watchers]) watcher.end();
  }

  #get(key: string): Item | undefined {
    assertKey(key);
    this.#purge();
    const item = this.#items.get(key);
    return item && { ...item };
  }

  #expect(key: string, revision: number | undefined): void {
    const item = this.#get(key);
    if (!item) throw new NotFound(`${key} is not found`);
    if (revision !== undefined && item.revision !== revision) {
      throw new CompareFailed(`${key} was changed by somebody else`);
    }
  }

  #put(key: string, value: string, { expiresMs }: WriteOptions): number {
    assertKey(key);
    this.#purge();
    const item: Item = { key, value, revision: this.#revision + 1 };
    if (expiresMs !== undefined) {
      item.expiresMs = expiresMs;
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresMs);
    }
    if (!this.#items.has(key)) this.#sortedKeys = undefined;
    this.#items.set(key, item);
    this.#record({ type: "put", item: { ...item } });
    return item.revision;
  }

  #delete(key: string): void {
    this.#items.delete(key);
    this.#sortedKeys = undefined;
    this.#record({ type: "delete", key, revision: this.#revision + 1 });
  }

  #record(event: BackendEvent): void {
    this.#revision++;
    this.#changes.push(event);
    // Cut in halves, so that not every write moves the whole array.
    if (this.#changes.length > 2 * this.#changeLogSize) {
      this.#changes = this.#changes.slice(-this.#changeLogSize);
    }
    for (const watcher of this.#watchers) watcher.push(event);
  }

  #keys(): string[] {
    this.#purge();
    return this.#sortedKeys ??= [...this.#items.keys()].sort(compareKeys);
  }

  #purge(): number {
    const now = this.#clock.now();
    if (now < this.#nextExpiryMs) return 0;
    const expired = [...this.#items.values()].filter(({ expiresMs = Infinity }) =>
      expiresMs <= now
    );
    this.#nextExpiryMs = Infinity;
    for (const { key } of expired) this.#delete(key);
    for (const { expiresMs = Infinity } of this.#items.values()) {
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresMs);
    }
    return expired.length;
  }

  #removeWatcher(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    clearInterval(this.#purging);
    this.#purging = undefined;
  }
}
