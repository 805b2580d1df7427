/**
 * Output as lines of asciicast. Valid UTF-8 is JSON but for a few characters: so it is checked,
 * escaped and copied in one pass, which takes a third of the time of decoding it to a string.
 */
import { concat, toBase64 } from "../base/bytes.ts";
import { timeText } from "./cast.ts";
import type { LineBuffer } from "./line_buffer.ts";

/** Of bytes and text that alternate, text shorter than this stays with the bytes around it. */
const SHORT_TEXT = 32;
/** An escaped control character: \u001b. */
const LONGEST_ESCAPE = 6;

/**
 * Writes lines of output. A character whose bytes come in two chunks is joined; what is not UTF-8
 * becomes x-bytes.
 */
export class OutputEncoder {
  /** Head of a character, at most 3 bytes. */
  #pending: Uint8Array = new Uint8Array(0);

  /** Nothing is written when all of the chunk waits for the rest of a character. */
  encode(time: number, chunk: Uint8Array, to: LineBuffer): void {
    const bytes = this.#pending.length === 0 ? chunk : concat(this.#pending, chunk);
    const end = bytes.length - incompleteTail(bytes);
    this.#pending = end === bytes.length ? NOTHING : bytes.slice(end);
    if (end === 0) return;
    const before = to.length;
    if (writeText(time, bytes, 0, end, to)) return;
    to.length = before;
    for (const { start, end: until, isText } of runs(bytes.subarray(0, end))) {
      if (isText) writeText(time, bytes, start, until, to);
      else writeBytes(time, bytes.subarray(start, until), to);
    }
  }

  /** What is left when no more comes. */
  flush(time: number, to: LineBuffer): void {
    if (this.#pending.length > 0) writeBytes(time, this.#pending, to);
    this.#pending = NOTHING;
  }
}

const NOTHING = new Uint8Array(0);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEX = [..."0123456789abcdef"].map((digit) => digit.charCodeAt(0));

/**
 * Letter of a character's short escape, 1 for one that is written as a number, 0 for what stands
 * for itself.
 */
const ESCAPES = new Uint8Array(128);
ESCAPES.fill(1, 0, 0x20);
for (
  const [c, letter] of Object.entries({ "\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r" })
) {
  ESCAPES[c.charCodeAt(0)] = letter.charCodeAt(0);
}
ESCAPES[QUOTE] = QUOTE;
ESCAPES[BACKSLASH] = BACKSLASH;

/** @returns false when it is not all UTF-8: what was written is of no use then */
function writeText(
  time: number,
  from: Uint8Array,
  start: number,
  end: number,
  to: LineBuffer,
): boolean {
  to.text(`[${timeText(time)},"o","`);
  to.reserve((end - start) * LONGEST_ESCAPE + 3);
  const { bytes } = to;
  let out = to.length;
  let at = start;
  while (at < end) {
    const byte = from[at]!;
    if (byte < 0x80) {
      const escape = ESCAPES[byte]!;
      if (escape === 0) {
        bytes[out++] = byte;
      } else {
        bytes[out++] = BACKSLASH;
        if (escape === 1) out = writeNumber(byte, bytes, out);
        else bytes[out++] = escape;
      }
      at++;
      continue;
    }
    const length = validLength(from, at, end);
    if (length === 0) return false;
    for (let i = 0; i < length; i++) bytes[out++] = from[at++]!;
  }
  bytes[out++] = QUOTE;
  bytes[out++] = 0x5d; // ]
  bytes[out++] = 0x0a;
  to.length = out;
  return true;
}

function writeNumber(byte: number, bytes: Uint8Array, out: number): number {
  bytes[out] = 0x75; // u
  bytes[out + 1] = 0x30;
  bytes[out + 2] = 0x30;
  bytes[out + 3] = HEX[byte >> 4]!;
  bytes[out + 4] = HEX[byte & 15]!;
  return out + 5;
}

function writeBytes(time: number, bytes: Uint8Array, to: LineBuffer): void {
  to.text(`[${timeText(time)},"x-bytes","${toBase64(bytes)}"]\n`);
}

/** How many bytes at the end are the head of a character whose rest may follow: 0 to 3. */
function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < characterLength(byte) ? back : 0;
  }
  return 0;
}

/** Of a character that begins with this byte; 1 for what begins none. */
function characterLength(first: number): number {
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 1;
}

interface Run {
  start: number;
  end: number;
  isText: boolean;
}

/** Bytes that are not all UTF-8, as runs of text and of other bytes in turn. */
function runs(bytes: Uint8Array): Run[] {
  const found: Run[] = [];
  const add = (run: Run) => {
    const last = found.at(-1);
    const isText = run.isText && run.end - run.start >= SHORT_TEXT;
    if (last && !last.isText && !isText) last.end = run.end;
    else found.push({ ...run, isText });
  };
  let at = 0;
  while (at < bytes.length) {
    const start = at;
    while (at < bytes.length) {
      const length = validLength(bytes, at, bytes.length);
      if (length === 0) break;
      at += length;
    }
    if (at > start) add({ start, end: at, isText: true });
    if (at < bytes.length) add({ start: at, end: ++at, isText: false });
  }
  return found;
}

/** Of the well-formed character at this place (Unicode, table 3-7); 0 when there is none. */
function validLength(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = characterLength(first);
  if (length === 1 || at + length > end) return 0;
  const second = bytes[at + 1]!;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < length; i++) {
    if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  }
  return length;
}
