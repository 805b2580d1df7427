/**
 * Asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/), written and read line by line.
 * One event of our own: `[t, "x-bytes", "<base64>"]` is output that is not UTF-8; players that do
 * not know it leave it out.
 */
import { fromBase64, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { isUuid } from "../base/ids.ts";
import type { RecordingMeta } from "./meta.ts";

export interface CastHeader {
  readonly width: number;
  readonly height: number;
  /** Seconds since the epoch. */
  readonly timestamp?: number;
  readonly title?: string;
  /** Of recordings of ours. */
  readonly teleport?: RecordingMeta;
}

/** Times are seconds since the start. */
export type CastEvent =
  | { readonly type: "output"; readonly time: number; readonly data: Uint8Array }
  | {
    readonly type: "resize";
    readonly time: number;
    readonly cols: number;
    readonly rows: number;
  }
  | { readonly type: "marker"; readonly time: number; readonly label: string };

/** Longest side of a terminal, in characters. */
const MAX_SIDE = 65_535;
const MAX_LABEL = 1024;
/** Longest text in a description. */
const MAX_FIELD = 512;

/** The first line, with its line feed. */
export function headerLine(meta: RecordingMeta): string {
  const { cols, rows, started, term, login, server_hostname } = meta;
  return JSON.stringify({
    version: 2,
    width: cols,
    height: rows,
    timestamp: Math.floor(Date.parse(started) / 1000),
    env: { TERM: term },
    title: `${login}@${server_hostname}`,
    teleport: meta,
  }) + "\n";
}

export function resizeLine(time: number, size: { cols: number; rows: number }): string {
  return `[${timeText(time)},"r","${size.cols}x${size.rows}"]\n`;
}

export function markerLine(time: number, label: string): string {
  return `[${timeText(time)},"m",${JSON.stringify(label.slice(0, MAX_LABEL))}]\n`;
}

/** @throws BadParameter unless it is the header of an asciicast v2 */
export function parseHeader(line: string): CastHeader {
  const value = parseJson(line);
  if (!isObject(value) || value.version !== 2) {
    throw new BadParameter("This is no recording: its first line is no asciicast v2 header");
  }
  const { width, height, timestamp, title, teleport } = value;
  if (!isSide(width) || !isSide(height)) {
    throw new BadParameter("The recording's header has no usable size of the terminal");
  }
  return {
    width,
    height,
    ...(typeof timestamp === "number" && Number.isFinite(timestamp) ? { timestamp } : {}),
    ...(typeof title === "string" ? { title: title.slice(0, MAX_LABEL) } : {}),
    ...(teleport === undefined ? {} : { teleport: parseMeta(teleport) }),
  };
}

/**
 * @returns undefined for an event of a kind that is not known, which a reader passes over
 * @throws BadParameter for a line that is none of asciicast v2
 */
export function parseEvent(line: string): CastEvent | undefined {
  const value = parseJson(line);
  if (!Array.isArray(value) || value.length < 3) throw badLine();
  const [time, code, data] = value as unknown[];
  if (typeof time !== "number" || !(time >= 0) || !Number.isFinite(time)) throw badLine();
  if (typeof code !== "string") throw badLine();
  if (!["o", "x-bytes", "r", "m"].includes(code)) return undefined;
  if (typeof data !== "string") throw badLine();
  switch (code) {
    case "o":
      return { type: "output", time, data: utf8Encode(data) };
    case "x-bytes":
      return { type: "output", time, data: fromBase64(data) };
    case "m":
      return { type: "marker", time, label: data.slice(0, MAX_LABEL) };
    default:
      return { type: "resize", time, ...parseSize(data) };
  }
}

/**
 * The description within the bounds that readers set: what a client may choose, such as TERM or a
 * size, must not make its recording one that nobody takes.
 */
export function boundedMeta(meta: RecordingMeta): RecordingMeta {
  const cut = Object.entries(meta).map(([key, value]) =>
    typeof value === "string" ? [key, value.slice(0, MAX_FIELD).toWellFormed()] : [key, value]
  );
  return { ...Object.fromEntries(cut), cols: boundedSide(meta.cols), rows: boundedSide(meta.rows) };
}

/** A side of a terminal that readers take. */
export function boundedSide(side: number): number {
  return Math.min(Math.max(Math.trunc(side) || 1, 1), MAX_SIDE);
}

/** @throws BadParameter unless every field is there and in bounds */
export function parseMeta(value: unknown): RecordingMeta {
  if (!isObject(value)) throw new BadParameter("The recording's header lacks its description");
  const text = (key: keyof RecordingMeta, max = MAX_FIELD): string => {
    const field = value[key];
    if (typeof field === "string" && field.length <= max) return field;
    throw new BadParameter(`The recording's header has no usable "${key}"`);
  };
  const sid = text("sid");
  const { cols, rows, recorded_by } = value;
  if (!isUuid(sid)) throw new BadParameter(`The recording's header has no usable "sid"`);
  if (!isSide(cols) || !isSide(rows)) {
    throw new BadParameter("The recording's header has no usable size of the terminal");
  }
  if (recorded_by !== "node" && recorded_by !== "proxy") {
    throw new BadParameter(`The recording's header has no usable "recorded_by"`);
  }
  const started = text("started", 64);
  if (!Number.isFinite(Date.parse(started))) {
    throw new BadParameter(`The recording's header has no usable "started"`);
  }
  return {
    sid,
    user: text("user"),
    login: text("login"),
    server_id: text("server_id"),
    server_hostname: text("server_hostname"),
    server_addr: text("server_addr"),
    addr_remote: text("addr_remote"),
    cluster: text("cluster"),
    started,
    cols,
    rows,
    term: text("term"),
    recorded_by,
  };
}

function parseSize(text: string): { cols: number; rows: number } {
  const [, cols, rows] = /^(\d{1,5})x(\d{1,5})$/.exec(text)?.map(Number) ?? [];
  if (!isSide(cols) || !isSide(rows)) throw badLine();
  return { cols, rows };
}

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_SIDE;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new BadParameter("A line of the recording is not JSON", { cause });
  }
}

function badLine(): BadParameter {
  return new BadParameter("A line of the recording is no event of asciicast v2");
}

/** Microseconds, as asciinema writes them. */
export function timeText(time: number): string {
  return String(Math.round(time * 1e6) / 1e6);
}
