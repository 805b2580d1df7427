import type { InValue, Row } from "@libsql/client";
import { type Clock, systemClock } from "../base/clock.ts";
import { AlreadyExists, CompareFailed, messageOf, NotFound } from "../base/errors.ts";
import { log } from "../base/log.ts";
import {
  assertKey,
  type Backend,
  type BackendEvent,
  type Item,
  prefixEnd,
  type RangeOptions,
  type WatchOptions,
  type WriteOptions,
} from "./backend.ts";
import { ChangeFeed } from "./change_feed.ts";
import { LibsqlFile } from "./libsql_file.ts";
import { WATCH_QUEUE_SIZE } from "./watcher.ts";

export interface LibsqlOptions {
  /** "file:" and a path. */
  url: string;
  clock?: Clock;
  /** How many changes a watcher can catch up on; 10,000 unless told. */
  changeLogSize?: number;
  /** How many events may wait for a slow watcher; 10,000 unless told. */
  watchQueueSize?: number;
  /** How often changes by other processes are looked for while there are watchers; 250 ms. */
  pollMs?: number;
}

/**
 * The storage in a file, which several processes may use at once.
 * @throws as LibsqlFile.open()
 */
export async function openLibsql(options: LibsqlOptions): Promise<Backend> {
  return new LibsqlBackend(await LibsqlFile.open(options.url), options);
}

const columns = "key, value, revision, expires_ms";
const live = "(expires_ms IS NULL OR expires_ms > ?)";
const insert = "INSERT INTO changes (key, value, expires_ms)";
const currentRevision = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";

class LibsqlBackend implements Backend {
  readonly #file: LibsqlFile;
  readonly #clock: Clock;
  readonly #changeLogSize: number;
  readonly #feed: ChangeFeed;
  #writesUntilTrim: number;
  #housekeeping: Promise<void> = Promise.resolve();

  constructor(file: LibsqlFile, options: LibsqlOptions) {
    this.#file = file;
    this.#clock = options.clock ?? systemClock;
    this.#changeLogSize = options.changeLogSize ?? 10_000;
    this.#writesUntilTrim = this.#trimInterval();
    this.#feed = new ChangeFeed({
      revision: () => this.revision(),
      changesAfter: (revision, limit) => this.#changesAfter(revision, limit),
      purge: () => this.purgeExpired(),
      pollMs: options.pollMs ?? 250,
      watchQueueSize: options.watchQueueSize ?? WATCH_QUEUE_SIZE,
    });
  }

  async get(key: string): Promise<Item | undefined> {
    assertKey(key);
    const { rows } = await this.#file.run(
      `SELECT ${columns} FROM items WHERE key = ? AND ${live}`,
      [key, this.#clock.now()],
    );
    return rows[0] && itemOf(rows[0]);
  }

  async put(key: string, value: string, options: WriteOptions = {}): Promise<number> {
    assertKey(key);
    const revision = await this.#write(`${insert} VALUES (?, ?, ?)`, valuesOf(key, value, options));
    return revision as number;
  }

  async create(key: string, value: string, options: WriteOptions = {}): Promise<number> {
    assertKey(key);
    const revision = await this.#write(
      `${insert} SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM items WHERE key = ? AND ${live})`,
      [...valuesOf(key, value, options), key, this.#clock.now()],
    );
    if (revision === undefined) throw new AlreadyExists(`${key} already exists`);
    return revision;
  }

  async compareAndSwap(
    key: string,
    expected: { revision: number },
    value: string,
    options: WriteOptions = {},
  ): Promise<number> {
    assertKey(key);
    const revision = await this.#write(
      `${insert} SELECT ?, ?, ?
         WHERE EXISTS (SELECT 1 FROM items WHERE key = ? AND ${live} AND revision = ?)`,
      [...valuesOf(key, value, options), key, this.#clock.now(), expected.revision],
    );
    if (revision === undefined) await this.#throwWhy(key);
    return revision as number;
  }

  async delete(key: string, options: { revision?: number } = {}): Promise<void> {
    assertKey(key);
    const revision = await this.#write(
      `${insert} SELECT key, NULL, NULL FROM items
         WHERE key = ? AND ${live} AND revision = coalesce(?, revision)`,
      [key, this.#clock.now(), options.revision ?? null],
    );
    if (revision === undefined) await this.#throwWhy(key);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<Item[]> {
    const { sql, args } = keyRange(prefix);
    const { rows } = await this.#file.run(
      `SELECT ${columns} FROM items WHERE ${sql} AND key > ? AND ${live} ORDER BY key LIMIT ?`,
      [...args, options.after ?? "", this.#clock.now(), options.limit ?? -1],
    );
    return rows.map(itemOf);
  }

  async deleteRange(prefix: string): Promise<number> {
    const { sql, args } = keyRange(prefix);
    return await this.#writeMany(
      `${insert} SELECT key, NULL, NULL FROM items WHERE ${sql} AND ${live} ORDER BY key`,
      [...args, this.#clock.now()],
    );
  }

  watch(prefix: string, options: WatchOptions = {}): AsyncIterable<BackendEvent> {
    return this.#feed.watch(prefix, options);
  }

  async revision(): Promise<number> {
    const { rows } = await this.#file.run(currentRevision);
    return Number(rows[0]?.[0] ?? 0);
  }

  async purgeExpired(): Promise<number> {
    const now = this.#clock.now();
    // Looking first spares the lock: nearly always there is nothing to do.
    const { rows } = await this.#file.run(
      "SELECT 1 FROM items WHERE expires_ms <= ? LIMIT 1",
      [now],
    );
    if (rows.length === 0) return 0;
    return await this.#writeMany(
      `${insert} SELECT key, NULL, NULL FROM items WHERE expires_ms <= ? ORDER BY key`,
      [now],
    );
  }

  async close(): Promise<void> {
    await this.#feed.close();
    await this.#housekeeping;
    this.#file.close();
  }

  /** Runs an insert of at most one change; resolves to its revision, undefined for none. */
  async #write(sql: string, args: InValue[]): Promise<number | undefined> {
    const result = await this.#file.run(sql, args);
    if (result.rowsAffected === 0) return undefined;
    this.#wrote(1);
    return Number(result.lastInsertRowid);
  }

  async #writeMany(sql: string, args: InValue[]): Promise<number> {
    const { rowsAffected } = await this.#file.run(sql, args);
    if (rowsAffected > 0) this.#wrote(rowsAffected);
    return rowsAffected;
  }

  #wrote(changes: number): void {
    this.#feed.wake();
    this.#writesUntilTrim -= changes;
    if (this.#writesUntilTrim > 0) return;
    this.#writesUntilTrim = this.#trimInterval();
    // The write itself has succeeded, whatever becomes of this.
    this.#housekeeping = this.#trim().catch((e) =>
      log("storage").warn("Cannot trim the change log", { reason: messageOf(e) })
    );
  }

  #trimInterval(): number {
    return Math.max(1, Math.floor(this.#changeLogSize / 10));
  }

  async #trim(): Promise<void> {
    await this.#file.run(
      `DELETE FROM changes WHERE revision <= (${currentRevision}) - ?`,
      [this.#changeLogSize],
    );
    await this.purgeExpired();
  }

  async #changesAfter(revision: number, limit: number): Promise<BackendEvent[]> {
    const { rows } = await this.#file.run(
      `SELECT ${columns} FROM changes WHERE revision > ? ORDER BY revision LIMIT ?`,
      [revision, limit],
    );
    return rows.map((row) =>
      row.value === null
        ? { type: "delete", key: String(row.key), revision: Number(row.revision) }
        : { type: "put", item: itemOf(row) }
    );
  }

  async #throwWhy(key: string): Promise<never> {
    if (await this.get(key)) throw new CompareFailed(`${key} was changed by somebody else`);
    throw new NotFound(`${key} is not found`);
  }
}

function valuesOf(key: string, value: string, { expiresMs }: WriteOptions): InValue[] {
  return [key, value, expiresMs === undefined ? null : Math.ceil(expiresMs)];
}

function itemOf(row: Row): Item {
  const item: Item = {
    key: String(row.key),
    value: String(row.value),
    revision: Number(row.revision),
  };
  if (row.expires_ms !== null) item.expiresMs = Number(row.expires_ms);
  return item;
}

/** The keys with this prefix, as bounds that the primary key's index serves. */
function keyRange(prefix: string): { sql: string; args: string[] } {
  const end = prefixEnd(prefix);
  return end === undefined
    ? { sql: "key >= ?", args: [prefix] }
    : { sql: "key >= ? AND key < ?", args: [prefix, end] };
}
