/**
 * One storage file: opening it safely, and running statements on it.
 *
 * The change log is the heart of the cluster's store: its row ids are the revisions, and a trigger
 * applies each row to the items. So every write, whatever its condition, is one statement, which is
 * a transaction by itself: short, atomic, and the same for a remote server later.
 */

import type { Client, InStatement, InValue, ResultSet } from "@libsql/client";
import { fileURLToPath, pathToFileURL } from "node:url";
import { dirname, resolve } from "node:path";
import { Backoff, sleep } from "../base/backoff.ts";
import {
  AccessDenied,
  BadParameter,
  ConnectionProblem,
  InternalError,
  LimitExceeded,
  messageOf,
  TeleportError,
} from "../base/errors.ts";
import { log } from "../base/log.ts";
import { BackendClosed } from "./backend.ts";

export type { InStatement, InValue, Row } from "@libsql/client";

/** What a file holds. */
export interface FileFormat {
  /** `application_id` of SQLite: no other format has it. */
  readonly applicationId: number;
  readonly version: number;
  /** Statements that make an empty file one of this format. */
  readonly schema: readonly string[];
  /** FULL: what was acknowledged survives a loss of power. NORMAL: the file stays whole. */
  readonly synchronous: "FULL" | "NORMAL";
}

/** SQLite waits inside the event loop, so only briefly; the rest of the time we wait outside. */
const nativeBusyMs = 100;
const busyPatienceMs = 10_000;

const storeSchema = [
  `CREATE TABLE IF NOT EXISTS items (
     key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, expires_ms INTEGER
   ) WITHOUT ROWID`,
  `CREATE INDEX IF NOT EXISTS items_expiry ON items (expires_ms) WHERE expires_ms IS NOT NULL`,
  // AUTOINCREMENT: a revision is never used twice, even when the log is empty. A value of NULL is
  // a deletion.
  `CREATE TABLE IF NOT EXISTS changes (
     revision INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value TEXT, expires_ms INTEGER
   )`,
  `CREATE TRIGGER IF NOT EXISTS apply_put AFTER INSERT ON changes WHEN NEW.value IS NOT NULL BEGIN
     INSERT INTO items (key, value, revision, expires_ms)
       VALUES (NEW.key, NEW.value, NEW.revision, NEW.expires_ms)
       ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision,
         expires_ms = excluded.expires_ms;
   END`,
  `CREATE TRIGGER IF NOT EXISTS apply_delete AFTER INSERT ON changes WHEN NEW.value IS NULL BEGIN
     DELETE FROM items WHERE key = NEW.key;
   END`,
];

/** The cluster's state. "TLPT". */
const storeFormat: FileFormat = {
  applicationId: 0x544c5054,
  version: 1,
  schema: storeSchema,
  synchronous: "FULL",
};

export class LibsqlFile {
  #closed = false;
  /** Settles when the last attempt that was asked for is over. */
  #lastAttempt: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly client: Client,
    readonly path: string,
    private readonly format: FileFormat,
  ) {}

  /**
   * @param url "file:" and a path, absolute or relative to the working directory
   * @throws BadParameter for another kind of URL or a file that is not ours, AccessDenied,
   * InternalError for a damaged file
   */
  static async open(url: string, format = storeFormat): Promise<LibsqlFile> {
    const path = pathOf(url);
    prepareFile(path);
    // Loaded here: the native library costs every program that does not need it its start-up time.
    const { createClient } = await import("@libsql/client/sqlite3");
    let client: Client;
    try {
      client = createClient({
        url: pathToFileURL(path).href,
        // One connection, so that statements run in the order they were called in.
        concurrency: 1,
        timeout: nativeBusyMs,
      });
    } catch (e) {
      throw toStorageError(e, path);
    }
    const file = new LibsqlFile(client, path, format);
    try {
      await file.#prepare();
    } catch (e) {
      client.close();
      throw e;
    }
    return file;
  }

  /** Runs one statement: a transaction by itself. Retries while another process writes. */
  async run(sql: string, args: InValue[] = []): Promise<ResultSet> {
    return await this.#patiently(() => this.client.execute({ sql, args }));
  }

  /** Reads several things of one moment. */
  async read(statements: InStatement[]): Promise<ResultSet[]> {
    return await this.#patiently(() => this.client.batch(statements, "read"));
  }

  /** Several statements as one transaction. Retries while another process writes. */
  async write(statements: InStatement[]): Promise<ResultSet[]> {
    return await this.#patiently(() => this.client.batch(statements, "write"));
  }

  close(): void {
    this.#closed = true;
    this.client.close();
  }

  async #prepare(): Promise<void> {
    const { applicationId, version: schemaVersion, schema } = this.format;
    const [id, version, tables] = await this.#patiently(() =>
      this.client.batch([
        "PRAGMA application_id",
        "PRAGMA user_version",
        "SELECT count(*) FROM sqlite_master",
      ], "read")
    );
    if (firstValue(id) === 0 && firstValue(tables) === 0) {
      const marks = [
        `PRAGMA application_id = ${applicationId}`,
        `PRAGMA user_version = ${schemaVersion}`,
      ];
      await this.#patiently(() => this.client.batch([...schema, ...marks], "write"));
    } else if (firstValue(id) !== applicationId) {
      throw new BadParameter(
        `${this.path} is a database of another program: name another file for the storage`,
      );
    } else if (firstValue(version) !== schemaVersion) {
      throw new BadParameter(
        `${this.path} was written by another version of Teleport (storage format ${
          firstValue(version)
        }, this version has ${schemaVersion})`,
      );
    }
    makePrivate(this.path);
    const mode = await this.run("PRAGMA journal_mode = WAL");
    if (firstValue(mode) !== "wal") {
      log("storage").warn(
        "The storage file's file system has no write-ahead log: writes are slow",
        {
          path: this.path,
        },
      );
    }
    await this.#patiently(() => this.#configure());
  }

  /** What was acknowledged survives a power failure; what was deleted is overwritten. */
  async #configure(): Promise<void> {
    await this.client.execute(`PRAGMA synchronous = ${this.format.synchronous}`);
    await this.client.execute("PRAGMA secure_delete = FAST");
  }

  /** Tries until it works or the patience for other writers is at its end. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const backoff = new Backoff({ minMs: 2, maxMs: 100 });
    const deadline = performance.now() + busyPatienceMs;
    while (true) {
      if (this.#closed) throw closedError();
      try {
        return await this.#attempt(work);
      } catch (e) {
        if (this.#closed) throw closedError();
        if (!isBusy(e) || performance.now() > deadline) throw toStorageError(e, this.path);
      }
      await sleep(backoff.next());
    }
  }

  /**
   * One attempt at a time, in the order of the calls. After SQLITE_BUSY the connection is thrown
   * away: the driver does not reset the statement, and as long as that one counts as active, SQLite
   * commits nothing of what the same connection writes afterwards, though it reports success.
   */
  #attempt<T>(work: () => Promise<T>): Promise<T> {
    const attempt = this.#lastAttempt.then(async () => {
      try {
        return await work();
      } catch (e) {
        if (isBusy(e) && !this.#closed) {
          await this.client.reconnect();
          await this.#configure();
        }
        throw e;
      }
    });
    this.#lastAttempt = attempt.catch(() => {});
    return attempt;
  }
}

function firstValue(result: ResultSet | undefined): unknown {
  return result?.rows[0]?.[0];
}

function closedError(): BackendClosed {
  return new BackendClosed("The storage is closed");
}

function pathOf(url: string): string {
  if (!url.startsWith("file:")) {
    throw new BadParameter(
      `${JSON.stringify(url.slice(0, 100))}: only storage in a file (file:/path) is supported`,
    );
  }
  if (!url.startsWith("file:/")) return resolve(url.slice("file:".length));
  try {
    return fileURLToPath(url);
  } catch (e) {
    throw new BadParameter(`${JSON.stringify(url.slice(0, 100))} is no path of a file`, {
      cause: e,
    });
  }
}

/** The file holds the cluster's private keys: it never exists with any other mode than 0600. */
function prepareFile(path: string): void {
  try {
    Deno.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    Deno.openSync(path, { createNew: true, write: true, mode: 0o600 }).close();
  } catch (e) {
    if (e instanceof Deno.errors.AlreadyExists && isFile(path)) return;
    const why = e instanceof Deno.errors.AlreadyExists ? "it is not a file" : messageOf(e);
    throw new AccessDenied(`Cannot use ${path} for the storage: ${why}`, { cause: e });
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function makePrivate(path: string): void {
  const { mode } = Deno.statSync(path);
  if (mode === null || (mode & 0o077) === 0) return;
  log("storage").warn("The storage file could be read by others: its mode is set to 0600", {
    path,
  });
  try {
    Deno.chmodSync(path, 0o600);
  } catch (e) {
    throw new AccessDenied(`Cannot make ${path} private: ${messageOf(e)}`, { cause: e });
  }
}

function codeOf(e: unknown): string {
  return typeof e === "object" && e !== null && "code" in e ? String(e.code) : "";
}

function isBusy(e: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(codeOf(e));
}

function toStorageError(e: unknown, path: string): TeleportError {
  if (e instanceof TeleportError) return e;
  const code = codeOf(e);
  const [, Class, what] = errorClasses.find(([pattern]) => pattern.test(code)) ??
    [/./, InternalError, "cannot be used"] as const;
  return new Class(`The storage file ${path} ${what} (${messageOf(e)})`, { cause: e });
}

const errorClasses: [
  RegExp,
  new (message: string, options: { cause: unknown }) => TeleportError,
  string,
][] = [
  [/^SQLITE_NOTADB/, BadParameter, "is no database: name another file, or restore a backup"],
  [/^SQLITE_CORRUPT/, InternalError, "is damaged: restore it from a backup"],
  [/^SQLITE_(BUSY|LOCKED)/, ConnectionProblem, "is kept busy by another process"],
  [/^SQLITE_FULL/, LimitExceeded, "cannot grow: the disk is full"],
  [/^SQLITE_(READONLY|PERM|CANTOPEN|AUTH)/, AccessDenied, "cannot be opened for writing"],
];
