/** Searching the audit log by its index. */
import type { InValue, Row } from "../storage/libsql_file.ts";
import { BadParameter, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";

export interface EventQuery {
  /** Milliseconds since 1970; `toMs` itself is left out. */
  fromMs?: number | undefined;
  toMs?: number | undefined;
  types?: readonly string[] | undefined;
  user?: string | undefined;
  sid?: string | undefined;
  /** UUID or name of the host. */
  server?: string | undefined;
  /** Anywhere in the event as it is stored, in any case. */
  text?: string | undefined;
  /** By time, newest or oldest first; or as they arrived, for who follows the log. */
  order: "desc" | "asc" | "arrival";
  limit: number;
  /** Where an earlier page ended; "end" is where the log ends now, with order "arrival". */
  cursor?: string | undefined;
}

export interface EventPage {
  /** Lines of the log. */
  lines: string[];
  /** There may be more: absent at the end, always there with order "arrival". */
  next?: string;
}

/** The index, as a search needs it. */
export interface SearchSource {
  rows(sql: string, args: InValue[]): Promise<Row[]>;
  /** Of the file with this id. */
  path(id: number): string | undefined;
}

/** A page is closed at so many bytes: well under the 16 MiB of an API frame. */
const PAGE_BYTES = 4 * 1024 * 1024;
/** Events that one call looks at for a text. */
const SCAN_EVENTS = 20_000;
const ROWS = 1_000;

interface Position {
  readonly timeMs: number;
  readonly id: number;
}

/** @throws BadParameter for a cursor that is none */
export async function findEvents(query: EventQuery, source: SearchSource): Promise<EventPage> {
  const { order, limit, text } = query;
  let position = await startOf(query, source);
  const needle = text === undefined || text === "" ? undefined : text.toLowerCase();
  using lines = new LineReader(source);
  const found: string[] = [];
  let bytes = 0;
  let scanned = 0;
  while (true) {
    const wanted = needle === undefined ? Math.min(ROWS, limit - found.length) : ROWS;
    const { sql, args } = statement(query, position, wanted);
    const rows = await source.rows(sql, args);
    for (const row of rows) {
      const [id, timeMs, file, offset, size] = numbers(row);
      scanned++;
      const line = lines.read(file, offset, size);
      position = { timeMs, id };
      if (line === undefined) continue;
      if (needle !== undefined && !line.toLowerCase().includes(needle)) continue;
      found.push(line);
      bytes += line.length;
      if (found.length === limit || bytes >= PAGE_BYTES) {
        return { lines: found, next: format(order, position) };
      }
    }
    if (rows.length < wanted) {
      const next = order === "arrival"
        ? format(order, position ?? { timeMs: 0, id: 0 })
        : undefined;
      return next === undefined ? { lines: found } : { lines: found, next };
    }
    if (scanned >= SCAN_EVENTS) return { lines: found, next: format(order, position!) };
  }
}

async function startOf(
  { order, cursor }: EventQuery,
  source: SearchSource,
): Promise<Position | undefined> {
  if (cursor === undefined) return undefined;
  if (cursor === "end") {
    const [row] = await source.rows("SELECT coalesce(max(id), 0) FROM events", []);
    return { timeMs: 0, id: Number(row![0]) };
  }
  const [, time, id] = /^(?:(-?\d{1,15})\.)?(\d{1,15})$/.exec(cursor) ?? [];
  if (id === undefined || (order !== "arrival") !== (time !== undefined)) {
    throw new BadParameter(`${JSON.stringify(cursor.slice(0, 50))} is no cursor of this order`);
  }
  return { timeMs: Number(time ?? 0), id: Number(id) };
}

function format(order: EventQuery["order"], { timeMs, id }: Position): string {
  return order === "arrival" ? String(id) : `${timeMs}.${id}`;
}

function statement(
  query: EventQuery,
  after: Position | undefined,
  limit: number,
): { sql: string; args: InValue[] } {
  const conditions: string[] = [];
  const args: InValue[] = [];
  const where = (condition: string, ...values: InValue[]) => {
    conditions.push(condition);
    args.push(...values);
  };
  const { fromMs, toMs, types, user, sid, server, order } = query;
  if (fromMs !== undefined) where("time >= ?", fromMs);
  if (toMs !== undefined) where("time < ?", toMs);
  if (types !== undefined && types.length > 0) {
    where(`type IN (${types.map(() => "?").join(",")})`, ...types);
  }
  if (user !== undefined) where("user = ?", user);
  if (sid !== undefined) where("sid = ?", sid);
  if (server !== undefined) where("(server = ? OR hostname = ?)", server, server);
  if (after !== undefined) {
    if (order === "arrival") where("id > ?", after.id);
    else where(`(time, id) ${order === "asc" ? ">" : "<"} (?, ?)`, after.timeMs, after.id);
  }
  const sorted = { arrival: "id", asc: "time, id", desc: "time DESC, id DESC" }[order];
  const condition = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  args.push(limit);
  return {
    sql: `SELECT id, time, file, offset, size FROM events ${condition} ORDER BY ${sorted} LIMIT ?`,
    args,
  };
}

function numbers(row: Row): [number, number, number, number, number] {
  return [row.id, row.time, row.file, row.offset, row.size].map(Number) as never;
}

/** Reads lines at their places; keeps the files of one search open. */
class LineReader implements Disposable {
  readonly #files = new Map<number, Deno.FsFile | undefined>();
  readonly #decoder = new TextDecoder();

  constructor(private readonly source: SearchSource) {}

  /** Undefined when the file is gone. */
  read(file: number, offset: number, length: number): string | undefined {
    const handle = this.#open(file);
    if (handle === undefined) return undefined;
    const bytes = new Uint8Array(length);
    handle.seekSync(offset, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < length) {
      const n = handle.readSync(bytes.subarray(filled));
      if (n === null) return undefined;
      filled += n;
    }
    const line = this.#decoder.decode(bytes);
    return line.startsWith("{") && line.endsWith("}") ? line : undefined;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file?.close();
  }

  #open(id: number): Deno.FsFile | undefined {
    if (this.#files.has(id)) return this.#files.get(id);
    let file: Deno.FsFile | undefined;
    const path = this.source.path(id);
    try {
      if (path !== undefined) file = Deno.openSync(path);
    } catch (e) {
      log("audit").error("A file of the audit log cannot be read", { path, reason: messageOf(e) });
    }
    this.#files.set(id, file);
    return file;
  }
}
