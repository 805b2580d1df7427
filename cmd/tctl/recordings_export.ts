import { createHash } from "node:crypto";
import type { RecordingInfo } from "../../lib/api/types.ts";
import { utf8Encode } from "../../lib/base/bytes.ts";
import { AlreadyExists, InternalError, NotFound } from "../../lib/base/errors.ts";
import { randomHex } from "../../lib/base/ids.ts";
import { printable } from "../../lib/base/text.ts";
import { outBytes, say, warn } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { writeAs } from "../../lib/client/player/formats.ts";
import { sizeText } from "../../lib/client/player/list.ts";
import { resolveSession } from "../../lib/client/player/resolve.ts";
import { RemoteSource } from "../../lib/client/player/sources.ts";
import { Recording } from "../../lib/recording/play/recording.ts";
import { recordingFileName } from "../../lib/recording/meta.ts";
import { withAuth } from "./connect.ts";

const FORMATS = ["gz", "cast", "text", "json"] as const;
type ExportFormat = typeof FORMATS[number];
/** How often the progress is drawn, milliseconds. */
const PROGRESS_MS = 100;

export const command: CommandSpec = {
  name: "recordings export",
  summary: "write the recording of a session to a file",
  arguments: [{ name: "<session>", about: "the session's id, or how it begins" }],
  options: [
    {
      flags: "-o, --out <file>",
      description: "where to; - is stdout (default: <session>.cast.gz)",
    },
    {
      flags: "--format <format>",
      description: "gz: as it is stored; cast: asciicast v2; text: lines; json: events",
      choices: FORMATS,
      default: "gz",
    },
  ],
  notes: "What is stored is checked against the hash that its host gave.",
  examples: [
    ["tctl recordings export 4c146ec8", "writes 4c146ec8-….cast.gz"],
    ["tctl recordings export 4c146ec8 --format=cast -o - | asciinema play -", "to another player"],
  ],
  run: ([session = ""], flags) => {
    const format = FORMATS.find((each) => each === flags.text("format")) ?? "gz";
    return withAuth(flags, async ({ api }) => {
      const sid = await resolveSession(api, session.toLowerCase());
      const { recordings: [info] } = await api.call("recordings.list", { sid_prefix: sid });
      if (info === undefined) throw new NotFound(`There is no recording of a session ${sid}`);
      const source = new RemoteSource(api, sid);
      const path = flags.text("out") ?? fileNameOf(sid, format);
      if (path === "-") return await exportTo(outBytes, source, info, format);
      const written = await exportToFile(path, source, info, format);
      say(`${sizeText(written)} have been written to ${printable(path)}`);
    });
  },
};

function fileNameOf(sid: string, format: ExportFormat): string {
  const stored = recordingFileName(sid);
  if (format === "gz") return stored;
  return stored.replace(/cast\.gz$/, format === "text" ? "txt" : format);
}

/** The file is there whole or not at all. Returns its size. */
async function exportToFile(
  path: string,
  source: RemoteSource,
  info: RecordingInfo,
  format: ExportFormat,
): Promise<number> {
  if (await Deno.lstat(path).then(() => true, () => false)) {
    throw new AlreadyExists(`${printable(path)} exists already: name another file by --out`);
  }
  const temporary = `${path}.${randomHex(6)}.tmp`;
  let written = 0;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
    const progress = new Progress();
    await exportTo(
      async (bytes) => {
        for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
        written += bytes.length;
        progress.show(written, format === "gz" ? info.size : undefined);
      },
      source,
      info,
      format,
    ).finally(() => progress.clear());
    await Deno.rename(temporary, path);
  } catch (e) {
    await Deno.remove(temporary).catch(() => {});
    throw e;
  }
  return written;
}

async function exportTo(
  write: (bytes: Uint8Array) => void | Promise<void>,
  source: RemoteSource,
  info: RecordingInfo,
  format: ExportFormat,
): Promise<void> {
  if (format === "gz") return await copy(write, source, info);
  const recording = await Recording.open(source);
  await writeAs(format, recording, write);
  if (!source.finished) warn("The recording is not finished: this is what there is of it so far");
  else if (recording.damage !== undefined) warn(`It ends early: ${recording.damage}`);
}

async function copy(
  write: (bytes: Uint8Array) => void | Promise<void>,
  source: RemoteSource,
  info: RecordingInfo,
): Promise<void> {
  const hash = createHash("sha256");
  for (let offset = 0;;) {
    const bytes = await source.read(offset);
    if (bytes.length === 0) break;
    hash.update(bytes);
    await write(bytes);
    offset += bytes.length;
  }
  if (!source.finished) {
    warn("The recording is not finished: this is what there is of it so far");
  } else if (info.sha256 !== undefined && hash.digest("hex") !== info.sha256) {
    throw new InternalError(
      `The recording of ${info.sid} is not what its host sent: its hash is wrong`,
    );
  }
}

/** How much has come, on a terminal. */
class Progress {
  readonly #isTerminal = Deno.stderr.isTerminal();
  #drawn = 0;

  show(done: number, size: number | undefined): void {
    if (!this.#isTerminal || Date.now() - this.#drawn < PROGRESS_MS) return;
    this.#drawn = Date.now();
    const of = size === undefined ? "" : ` of ${sizeText(size)}`;
    Deno.stderr.writeSync(utf8Encode(`\r${sizeText(done)}${of}\x1b[K`));
  }

  clear(): void {
    if (this.#drawn > 0) Deno.stderr.writeSync(utf8Encode("\r\x1b[K"));
  }
}
