/** A recording as data: lines of text, events as JSON, an asciicast that any player takes. */
import { toBase64, utf8Decode, utf8Encode } from "../../base/bytes.ts";
import type { CastEvent, CastHeader } from "../../recording/cast.ts";
import type { Recording } from "../../recording/play/recording.ts";
import { PlainLines } from "./plain_lines.ts";

export const FORMATS = ["pty", "text", "json", "cast"] as const;
export type PlayFormat = typeof FORMATS[number];

/** Lines without escape sequences: what was to be read on the screen. */
export async function* asText(recording: Recording): AsyncGenerator<string> {
  const lines = new PlainLines();
  for await (const { events } of recording.batches()) {
    let text = "";
    for (const event of events) {
      if (event.type !== "output") continue;
      for (const line of lines.push(event.data)) text += `${line}\n`;
    }
    if (text !== "") yield text;
  }
  for (const line of lines.end()) yield `${line}\n`;
}

/** One JSON object a line, with the names of the audit log. */
export async function* asJson(recording: Recording): AsyncGenerator<string> {
  const { header } = recording;
  const { teleport } = header;
  const started = teleport === undefined
    ? (header.timestamp ?? 0) * 1000
    : Date.parse(teleport.started);
  let ei = 0;
  let ci = 0;
  let offset = 0;
  const stamp = (event: string, ms: number) => ({
    event,
    time: new Date(Math.min(started + ms, 8.64e15)).toISOString(),
    ei: ei++,
    ms,
  });
  const start = {
    ...stamp("session.start", 0),
    ...(teleport && {
      sid: teleport.sid,
      user: teleport.user,
      login: teleport.login,
      server_id: teleport.server_id,
      server_hostname: teleport.server_hostname,
      server_addr: teleport.server_addr,
      "addr.remote": teleport.addr_remote,
    }),
    size: `${header.width}:${header.height}`,
  };
  yield `${harmless(JSON.stringify(start))}\n`;
  const one = (event: CastEvent): object => {
    const ms = Math.round(event.time * 1000);
    switch (event.type) {
      case "output": {
        const bytes = event.data.length;
        const print = { ...stamp("print", ms), ci: ci++, bytes, offset };
        offset += bytes;
        return { ...print, ...outputOf(event.data) };
      }
      case "resize":
        return { ...stamp("resize", ms), size: `${event.cols}:${event.rows}` };
      case "marker":
        return { ...stamp("marker", ms), label: event.label };
    }
  };
  for await (const { events } of recording.batches()) {
    yield events.map((event) => `${harmless(JSON.stringify(one(event)))}\n`).join("");
  }
}

/** Asciicast v2 as other programs know it: bytes that are no text are shown as U+FFFD. */
export async function* asCast(recording: Recording): AsyncGenerator<string> {
  yield `${harmless(JSON.stringify(castHeader(recording.header)))}\n`;
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const one = (event: CastEvent): string => {
    switch (event.type) {
      case "output":
        return line([event.time, "o", decoder.decode(event.data, { stream: true })]);
      case "resize":
        return line([event.time, "r", `${event.cols}x${event.rows}`]);
      case "marker":
        return line([event.time, "m", event.label]);
    }
  };
  for await (const { events } of recording.batches()) yield events.map(one).join("");
}

function castHeader({ width, height, timestamp, title, teleport }: CastHeader): object {
  return {
    version: 2,
    width,
    height,
    ...(timestamp === undefined ? {} : { timestamp: Math.floor(timestamp) }),
    ...(title === undefined ? {} : { title }),
    ...(teleport === undefined ? {} : { env: { TERM: teleport.term }, teleport }),
  };
}

function line(event: readonly [number, string, string]): string {
  return `${harmless(JSON.stringify(event))}\n`;
}

function outputOf(data: Uint8Array): { data: string } | { data_base64: string } {
  try {
    return { data: utf8Decode(data) };
  } catch {
    return { data_base64: toBase64(data) };
  }
}

/** JSON leaves in place what terminals take for 8-bit controls. */
function harmless(json: string): string {
  return json.replace(
    /[\u007f-\u009f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Writes it all by `write`, which may take a moment. */
export async function writeAs(
  format: Exclude<PlayFormat, "pty">,
  recording: Recording,
  write: (bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  const parts = { text: asText, json: asJson, cast: asCast }[format](recording);
  for await (const part of parts) await write(utf8Encode(part));
}
