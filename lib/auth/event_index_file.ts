/**
 * The index of the audit log: one row an event, with what is searched for and where its line stands.
 * It is made from the JSON lines and can be made again; what is true is in them.
 *
 * Runs in a worker (event_index_worker.ts): SQLite and the reading of lines block their thread.
 */
import type { StoredEvent } from "../audit/events.ts";
import type { HistoryAnswer, HistoryQuestion } from "../audit/history.ts";
import { type FileFormat, type InStatement, LibsqlFile } from "../storage/libsql_file.ts";
import { findEvents } from "./event_search.ts";
import type { EventPage, EventQuery } from "./event_search.ts";

const format: FileFormat = {
  // "TLPI"
  applicationId: 0x544c5049,
  version: 3,
  // A loss of power costs the last rows: they are made again from the lines.
  synchronous: "NORMAL",
  schema: [
    `CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL)`,
    `CREATE TABLE events (
       id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, type TEXT NOT NULL, user TEXT,
       sid TEXT, server TEXT, hostname TEXT, host TEXT, service TEXT,
       uid TEXT NOT NULL,
       file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL
     )`,
    `CREATE INDEX events_time ON events (time)`,
    `CREATE INDEX events_type ON events (type, time)`,
    `CREATE INDEX events_user ON events (user, time)`,
    `CREATE INDEX events_sid ON events (sid) WHERE sid IS NOT NULL`,
    `CREATE INDEX events_server ON events (server, time)`,
    `CREATE INDEX events_uid ON events (uid)`,
    `CREATE INDEX events_file ON events (file)`,
    // How far the numbers of each host's spool went.
    `CREATE TABLE streams (
       host TEXT NOT NULL, stream TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (host, stream)
     ) WITHOUT ROWID`,
    `CREATE TABLE made (ms INTEGER NOT NULL)`,
    `INSERT INTO made VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER))`,
  ],
};

const columns = [
  ...["time", "type", "user", "sid", "server", "hostname", "host", "service", "uid"],
  ...["file", "offset", "size"],
];
/** Read at once. */
const CHUNK_BYTES = 256 * 1024;
/** Ids are random: new rows are all over the database. */
const CACHE_KIB = 16 * 1024;
/** How long the list of files is good for, milliseconds: one is added a day. */
const LIST_MS = 5_000;
/** Characters of a UUID and a slash: the directory of one auth server. */
const DIRECTORY = 37;
const LINE_FEED = 10;

export interface IndexFileOptions {
  /** Of the database. */
  path: string;
  /** Where the log is: `<logs>/<auth server's UUID>/YYYY-MM-DD.00:00:00.log`. */
  logs: string;
}

export class EventIndexFile {
  readonly #database: LibsqlFile;
  readonly #logs: string;
  /** Name → how far it is indexed, and the id of the file in the rows. */
  readonly #files = new Map<string, { id: number; size: number }>();
  #listed: string[] = [];
  #listedAt = -Infinity;

  private constructor(database: LibsqlFile, logs: string) {
    this.#database = database;
    this.#logs = logs;
  }

  /** @throws as LibsqlFile.open(), and when what is in it cannot be read */
  static async open({ path, logs }: IndexFileOptions): Promise<EventIndexFile> {
    const database = await LibsqlFile.open(`file:${path}`, format);
    try {
      await database.run(`PRAGMA cache_size = -${CACHE_KIB}`);
      const index = new EventIndexFile(database, logs);
      await index.#readFiles();
      return index;
    } catch (e) {
      database.close();
      throw e;
    }
  }

  /** Removes the database, which is made anew at the next opening. */
  static remove(path: string): void {
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      try {
        Deno.removeSync(file);
      } catch (e) {
        if (!(e instanceof Deno.errors.NotFound)) throw e;
      }
    }
  }

  /** Indexes one chunk of what is new. Resolves to false when there was nothing. */
  async advance(): Promise<boolean> {
    const today = `${new Date().toISOString().slice(0, 10)}.00:00:00.log`;
    const isNewDay = (this.#listed.at(-1)?.slice(DIRECTORY) ?? "") < today;
    if (isNewDay || performance.now() - this.#listedAt > LIST_MS) await this.#list();
    for (const name of this.#listed) {
      if (await this.#advanceIn(name)) return true;
    }
    return false;
  }

  /** What was stored of this before. */
  async lookUp({ uids, sids, streams }: HistoryQuestion): Promise<HistoryAnswer> {
    const [made, known, owners, ...numbers] = await this.#database.read([
      "SELECT ms FROM made",
      {
        sql: `SELECT uid, server, type FROM events WHERE uid IN (${marks(uids)})`,
        args: [...uids],
      },
      {
        // With min(), SQLite takes the other columns from the row that has it.
        sql: `SELECT sid, service, host, min(id) FROM events
                WHERE sid IN (${marks(sids)}) AND service IS NOT NULL GROUP BY sid, service`,
        args: [...sids],
      },
      ...streams.map(({ host, stream }) => ({
        sql: "SELECT last FROM streams WHERE host = ? AND stream = ?",
        args: [host, stream],
      })),
    ]);
    return {
      sinceMs: Number(made!.rows[0]![0]),
      events: known!.rows.map(({ uid, type, server }) => ({
        uid: String(uid),
        event: String(type),
        ...(server === null ? {} : { host: String(server) }),
      })),
      owners: owners!.rows.map(({ sid, service, host }) => ({
        sid: String(sid),
        service: service === "proxy" ? "proxy" : "node",
        host: String(host),
      })),
      streams: streams.flatMap((asked, i) => {
        const last = numbers[i]!.rows[0]?.[0];
        return last === undefined ? [] : [{ ...asked, last: Number(last) }];
      }),
    };
  }

  async search(query: EventQuery): Promise<EventPage> {
    const names = new Map([...this.#files].map(([name, { id }]) => [id, `${this.#logs}/${name}`]));
    return await findEvents(query, {
      rows: async (sql, args) => (await this.#database.run(sql, args)).rows,
      path: (id) => names.get(id),
    });
  }

  async close(): Promise<void> {
    // The driver leaves the write-ahead log behind.
    await this.#database.run("PRAGMA wal_checkpoint(TRUNCATE)").catch(() => {});
    this.#database.close();
  }

  async #readFiles(): Promise<void> {
    const { rows } = await this.#database.run("SELECT name, id, size FROM files");
    for (const { name, id, size } of rows) {
      this.#files.set(String(name), { id: Number(id), size: Number(size) });
    }
    await this.#list();
    for (const [name, { size }] of [...this.#files]) {
      const path = `${this.#logs}/${name}`;
      // Removed, or not the file it was: its rows lead nowhere.
      if (!this.#listed.includes(name) || Deno.statSync(path).size < size) {
        await this.#forget(name);
      }
    }
  }

  /** Oldest first. */
  async #list(): Promise<void> {
    const found: string[] = [];
    for await (const directory of Deno.readDir(this.#logs)) {
      if (!directory.isDirectory || !/^[0-9a-f-]{36}$/.test(directory.name)) continue;
      for await (const { name } of Deno.readDir(`${this.#logs}/${directory.name}`)) {
        if (/^\d{4}-\d\d-\d\d\.00:00:00\.log$/.test(name)) found.push(`${directory.name}/${name}`);
      }
    }
    this.#listed = found.sort((a, b) => a.slice(DIRECTORY) < b.slice(DIRECTORY) ? -1 : 1);
    this.#listedAt = performance.now();
  }

  async #advanceIn(name: string): Promise<boolean> {
    const path = `${this.#logs}/${name}`;
    const known = this.#files.get(name);
    const from = known?.size ?? 0;
    let size: number;
    try {
      size = Deno.statSync(path).size;
    } catch {
      // Removed since the files were listed; its rows go at the next start.
      return false;
    }
    if (size <= from) return false;
    const bytes = readLines(path, from, size);
    if (bytes.length === 0) return false;
    const id = known?.id ?? await this.#nextFileId();
    const lines = parseLines(bytes, from);
    const end = from + bytes.length;
    await this.#database.write([
      {
        sql: `INSERT INTO files (id, name, size) VALUES (?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET size = excluded.size`,
        args: [id, name, end],
      },
      insert(lines, id),
      ...streamUpdates(lines.map(({ event }) => event)),
    ]);
    this.#files.set(name, { id, size: end });
    return true;
  }

  async #nextFileId(): Promise<number> {
    const { rows } = await this.#database.run("SELECT coalesce(max(id), 0) + 1 FROM files");
    return Number(rows[0]![0]);
  }

  async #forget(name: string): Promise<void> {
    const { id } = this.#files.get(name)!;
    await this.#database.write([
      { sql: "DELETE FROM events WHERE file = ?", args: [id] },
      { sql: "DELETE FROM files WHERE id = ?", args: [id] },
    ]);
    this.#files.delete(name);
  }
}

interface Line {
  readonly event: StoredEvent;
  readonly offset: number;
  readonly length: number;
}

/** Whole lines only; a single one may be longer than a chunk. */
function readLines(path: string, from: number, size: number): Uint8Array {
  using file = Deno.openSync(path);
  for (let want = CHUNK_BYTES;; want *= 4) {
    const bytes = new Uint8Array(Math.min(want, size - from));
    file.seekSync(from, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < bytes.length) {
      const n = file.readSync(bytes.subarray(filled));
      if (n === null) break;
      filled += n;
    }
    const end = bytes.lastIndexOf(LINE_FEED, filled - 1) + 1;
    if (end > 0 || want >= size - from) return bytes.subarray(0, end);
  }
}

function parseLines(bytes: Uint8Array, from: number): Line[] {
  const decoder = new TextDecoder();
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, start);
    const event = parseEvent(decoder.decode(bytes.subarray(start, end)));
    if (event !== undefined) lines.push({ event, offset: from + start, length: end - start });
    start = end + 1;
  }
  return lines;
}

/** Undefined for what a crash tore or somebody else wrote. */
function parseEvent(line: string): StoredEvent | undefined {
  try {
    const event = JSON.parse(line) as Partial<StoredEvent> | null;
    const good = typeof event?.event === "string" && typeof event.uid === "string" &&
      !Number.isNaN(Date.parse(event.time ?? ""));
    return good ? event as StoredEvent : undefined;
  } catch {
    return undefined;
  }
}

/** As one JSON text: the driver takes its time with each single value. */
function insert(lines: readonly Line[], file: number): InStatement {
  const rows = lines.map(({ event, offset, length }) => {
    const fields = event as unknown as Record<string, unknown>;
    const { user, sid, server_id, server_hostname, target_hostname, reported_by } = fields;
    return [
      Date.parse(event.time),
      event.event,
      textOrNull(user),
      textOrNull(sid),
      textOrNull(server_id),
      textOrNull(target_hostname ?? server_hostname),
      textOrNull(reported_by),
      textOrNull(event.reported_service),
      event.uid,
      file,
      offset,
      length,
    ];
  });
  return {
    sql: `INSERT INTO events (${columns.join(", ")})
            SELECT ${columns.map((_, i) => `value ->> ${i}`).join(", ")} FROM json_each(?)`,
    args: [JSON.stringify(rows)],
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** The highest number of each spool. What was reported as missing counts: it was told. */
function streamUpdates(events: readonly StoredEvent[]): InStatement[] {
  const last = new Map<string, { host: string; stream: string; seq: number }>();
  for (const event of events) {
    const [host, stream, seq] = event.event === "audit.gap"
      ? [event.server_id, event.stream, event.last_missing]
      : [event.reported_by, event.reported_stream, event.reported_seq];
    if (host === undefined || stream === undefined || seq === undefined) continue;
    const key = `${host} ${stream}`;
    if (seq > (last.get(key)?.seq ?? 0)) last.set(key, { host, stream, seq });
  }
  return [...last.values()].map(({ host, stream, seq }) => ({
    sql: `INSERT INTO streams VALUES (?, ?, ?)
            ON CONFLICT DO UPDATE SET last = max(last, excluded.last)`,
    args: [host, stream, seq],
  }));
}

function marks(values: readonly unknown[]): string {
  return values.map(() => "?").join(",");
}
