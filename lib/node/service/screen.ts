/** What is written to a party's terminal besides the program's own output. */
import { Buffer } from "node:buffer";
import { utf8Encode } from "../../base/bytes.ts";
import { printable } from "../../base/text.ts";
import { overLastLine } from "../../base/vt.ts";

const ESC = 0x1b;
const BEL = 0x07;
/** An escape sequence that is longer, such as a picture, is not waited for. */
const LONGEST = 4096;

/**
 * Whether what follows belongs to a character or an escape sequence that these bytes begin: then
 * nothing else may be written in between.
 */
export function endsInside(chunk: Uint8Array): boolean {
  return endsInsideCharacter(chunk) || endsInsideSequence(chunk);
}

function endsInsideCharacter(chunk: Uint8Array): boolean {
  for (let back = 1; back <= Math.min(3, chunk.length); back++) {
    const byte = chunk[chunk.length - back]!;
    if (byte < 0x80) return false;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2);
  }
  return false;
}

/** ECMA-48: CSI up to its final byte, the string controls up to BEL or ST, others by their length. */
function endsInsideSequence(chunk: Uint8Array): boolean {
  const tail = chunk.subarray(Math.max(0, chunk.length - LONGEST));
  const start = tail.lastIndexOf(ESC);
  if (start === -1) return false;
  const kind = tail[start + 1];
  if (kind === undefined) return true;
  const rest = tail.subarray(start + 2);
  switch (String.fromCharCode(kind)) {
    case "[":
      return !rest.some((byte) => byte >= 0x40 && byte <= 0x7e);
    case "]":
    case "P":
    case "X":
    case "^":
    case "_":
      return !rest.includes(BEL);
    default:
      return kind >= 0x20 && kind <= 0x2f && !rest.some((byte) => byte >= 0x30 && byte <= 0x7e);
  }
}

/** Whether the picture of a session is one of a full-screen program. */
export function isFullScreen(picture: Uint8Array): boolean {
  const bytes = Buffer.from(picture.buffer, picture.byteOffset, picture.byteLength);
  return bytes.includes("\x1b[?1049h") || bytes.includes("\x1b[?1047h") ||
    bytes.includes("\x1b[?47h");
}

export interface NoticeStyle {
  /** TERM of who reads it. */
  readonly term: string;
  readonly cols: number;
  readonly fullScreen: boolean;
}

/**
 * One line about the session, that leaves the program's cursor where it was: over the last line of
 * a full-screen program, which draws it again in time; else above the line that is being typed.
 */
export function notice(text: string, { term, cols, fullScreen }: NoticeStyle): Uint8Array {
  const line = printable(text).slice(0, Math.max(20, cols - 1));
  if (term === "" || term === "dumb") return utf8Encode(`\r\n${line}\r\n`);
  return utf8Encode(
    fullScreen
      ? overLastLine(line)
      // A free line below, then the typed line is moved down to it: its column stays.
      : `\n\x1b[A\x1b7\x1b[L\r\x1b[0;1m${line}\x1b[0m\x1b8\n`,
  );
}
