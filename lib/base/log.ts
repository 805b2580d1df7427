/**
 * The log of the daemons: one line a record, as text or JSON, secrets redacted. Written here
 * instead of taken from a library, because every binary loads it at its start and because records
 * must be out before a process dies: a write is one synchronous system call.
 */
import { messageOf, TeleportError } from "./errors.ts";
import { printable } from "./text.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "off";
export type LogFields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LogOptions {
  /** Records below it are dropped. */
  level: LogLevel;
  format: "text" | "json";
  /** "stderr", "stdout", or the path of a file that is appended to; stderr unless told. */
  output?: string;
}

const ranks: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3, off: 4 };

// Before configureLog() only errors are shown: that is what a command-line program wants.
let threshold = ranks.error;
let format: LogOptions["format"] = "text";
let output: { writeSync(bytes: Uint8Array): number } = Deno.stderr;
let file: Deno.FsFile | undefined;

/**
 * Sets what is logged, how and where, for the whole process.
 * @throws Deno.errors.* when the file cannot be opened
 */
export function configureLog(options: LogOptions): void {
  const name = options.output ?? "stderr";
  const opened = name === "stderr" || name === "stdout"
    ? undefined
    : Deno.openSync(name, { append: true, create: true, mode: 0o600 });
  file?.close();
  file = opened;
  output = opened ?? (name === "stdout" ? Deno.stdout : Deno.stderr);
  threshold = ranks[options.level];
  format = options.format;
}

/** The logger of one part of the program, e.g. "auth". */
export function log(component: string): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (ranks[level] < threshold) return;
    write(
      formatRecord({ time: new Date(), level, component, message, fields: fields ?? {} }, format),
    );
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export interface LogRecord {
  time: Date;
  level: LogLevel;
  component: string;
  message: string;
  fields: LogFields;
}

/** One record as one line, without the line feed. Exported for tests. */
export function formatRecord(record: LogRecord, as: LogOptions["format"]): string {
  const { time, level, component, message } = record;
  const fields = redact(record.fields, 0) as LogFields;
  if (as === "json") {
    return JSON.stringify({ ...fields, time: time.toISOString(), level, component, message });
  }
  const rest = Object.entries(fields).map(([key, value]) => ` ${printable(key)}=${textOf(value)}`);
  const head = `${time.toISOString()} ${
    level.toUpperCase().padEnd(5)
  } [${component.toUpperCase()}]`;
  return `${head} ${printable(message)}${rest.join("")}`;
}

const secretWords =
  /(?:^|_)(?:password|passphrase|passwd|token|otp|totp|secret|private_key|signing_key|bearer|cookie|authorization)s?(?:_|$)/;
const maxDepth = 6;

function redact(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= maxDepth) return "…";
  if (value instanceof Error) return errorFields(value, depth);
  if (value instanceof Date) return isNaN(value.getTime()) ? "no date" : value.toISOString();
  if (value instanceof Uint8Array) return `<${value.length} bytes>`;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  if (value instanceof Map) return redact(Object.fromEntries(value), depth);
  return Object.fromEntries(
    Object.entries(value).filter(([, item]) => item !== undefined).map((
      [key, item],
    ) => [key, isSecretName(key) ? "<redacted>" : redact(item, depth + 1)]),
  );
}

function isSecretName(key: string): boolean {
  return secretWords.test(
    key.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll("-", "_").toLowerCase(),
  );
}

function errorFields(error: Error, depth: number): LogFields {
  return {
    error: messageOf(error),
    ...(error instanceof TeleportError ? { code: error.code } : { stack: error.stack }),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}

function textOf(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "undefined";
  return /^[\w.:/@+,-]+$/.test(text) || typeof value !== "string"
    ? printable(text)
    : printable(JSON.stringify(text));
}

const encoder = new TextEncoder();

function write(line: string): void {
  const bytes = encoder.encode(`${line}\n`);
  try {
    for (let done = 0; done < bytes.length;) done += output.writeSync(bytes.subarray(done));
  } catch {
    // A full disk or a closed terminal must not take the daemon down with it.
  }
}
