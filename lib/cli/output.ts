/**
 * What a program says. Data goes to stdout and nothing else does; everything that is meant for the
 * person in front of it goes to stderr, so that a pipe only ever sees data.
 */
import { utf8Encode } from "../base/bytes.ts";
import { Exit, UsageError } from "./exit.ts";
import { toYaml } from "./yaml_text.ts";

export type Format = "text" | "json" | "yaml";
export const formats: readonly Format[] = ["text", "json", "yaml"];

/** Writes a line of data to stdout. */
export function out(text: string): void {
  writeAll(Deno.stdout, `${text}\n`);
}

/** Writes bytes of data to stdout, as they are. */
export function outBytes(bytes: Uint8Array): void {
  writeAll(Deno.stdout, bytes);
}

/** Writes a line for the person to stderr. */
export function say(text: string): void {
  writeAll(Deno.stderr, `${text}\n`);
}

/** A line for the person that wants attention. */
export function warn(text: string): void {
  say(`${paint("yellow", "WARNING:", Deno.stderr)} ${text}`);
}

/** Prints `data` in the format asked for; `text` renders it for people. */
export function printData(format: Format, data: unknown, text: () => string): void {
  if (format === "json") return out(jsonText(data));
  if (format === "yaml") return writeAll(Deno.stdout, toYaml(data));
  const rendered = text();
  if (rendered !== "") out(rendered);
}

/** JSON in which nothing is left that a terminal would act on. */
function jsonText(data: unknown): string {
  return JSON.stringify(data, null, 2).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** @throws UsageError for a format that is not one of ours */
export function parseFormat(text: string): Format {
  const found = formats.find((format) => format === text);
  if (!found) throw new UsageError(`--format=${text} is not one of ${formats.join(", ")}`);
  return found;
}

const colours = { red: 31, yellow: 33, bold: 1, dim: 2 } as const;

/** Colours text when `stream` is a terminal that wants colours (NO_COLOR, TERM=dumb). */
export function paint(
  colour: keyof typeof colours,
  text: string,
  stream: { isTerminal(): boolean },
): string {
  return wantsColour(stream) ? `\x1b[${colours[colour]}m${text}\x1b[0m` : text;
}

function wantsColour(stream: { isTerminal(): boolean }): boolean {
  return stream.isTerminal() && !Deno.env.get("NO_COLOR") && Deno.env.get("TERM") !== "dumb";
}

interface SyncWriter {
  writeSync(bytes: Uint8Array): number;
}

function writeAll(writer: SyncWriter, data: string | Uint8Array): void {
  const bytes = typeof data === "string" ? utf8Encode(data) : data;
  for (let done = 0; done < bytes.length;) {
    try {
      done += writer.writeSync(bytes.subarray(done));
    } catch (e) {
      // `tsh ls | head -1`: the reader has what it wanted. 128 + SIGPIPE, as any other program.
      if (e instanceof Deno.errors.BrokenPipe) throw new Exit(141);
      // A pipe that another process made non-blocking: wait a moment for its reader.
      if (!(e instanceof Deno.errors.WouldBlock)) throw e;
      Atomics.wait(pause, 0, 0, 5);
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
