/** Recordings made by hand. For tests. */
import { concat, utf8Encode } from "../base/bytes.ts";
import { headerLine, markerLine } from "./cast.ts";
import { encodeMember, HAS_NOTES } from "./members.ts";
import type { RecordingMeta } from "./meta.ts";

export const SID = "5b0f2f8e-3c55-4d0b-9a57-1f8b2f0e7c11";
export const HOST_ID = "11111111-1111-4111-8111-111111111111";

export function testMeta(over: Partial<RecordingMeta> = {}): RecordingMeta {
  return {
    sid: SID,
    user: "joe",
    login: "root",
    server_id: HOST_ID,
    server_hostname: "db-1",
    server_addr: "192.0.2.7:3022",
    addr_remote: "198.51.100.4:50000",
    cluster: "main",
    started: "2026-01-02T03:04:05.000Z",
    cols: 80,
    rows: 24,
    term: "xterm-256color",
    recorded_by: "node",
    ...over,
  };
}

/** One member of lines. */
export function member(lines: string, o: { time?: number; notes?: boolean } = {}): Uint8Array {
  return encodeMember(utf8Encode(lines), {
    time: o.time ?? 0,
    flags: o.notes ? HAS_NOTES : 0,
    compression: "ordinary",
  });
}

/** The header's member, then one a second for each text. */
export function testRecording(
  texts: readonly string[],
  o: { meta?: RecordingMeta; end?: boolean } = {},
): Uint8Array<ArrayBuffer> {
  const members = [member(headerLine(o.meta ?? testMeta()), { notes: true })];
  texts.forEach((text, i) => {
    const line = `${JSON.stringify([i + 1, "o", text])}\n`;
    members.push(member(line, { time: i + 1 }));
  });
  if (o.end !== false) {
    const time = texts.length + 1;
    members.push(member(markerLine(time, "end"), { time, notes: true }));
  }
  return concat(...members);
}

/** The bytes shown, as `zcat` and a player would have them. */
export async function outputOf(recording: Uint8Array): Promise<string> {
  const lines = (await zcat(recording)).split("\n").slice(1, -1);
  return lines.map((line) => {
    const [, code, data] = JSON.parse(line);
    return code === "o" ? data : "";
  }).join("");
}

/** By the system's own program. */
export async function zcat(bytes: Uint8Array): Promise<string> {
  const child = new Deno.Command("zcat", { stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(Uint8Array.from(bytes)).then(() => writer.close());
  const { success, stdout } = await child.output();
  await written;
  if (!success) throw new Error("zcat does not read it");
  return new TextDecoder().decode(stdout);
}

export async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "lib-recording-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
