/** The two pipes of scp's protocol: lines, blocks of data, and answers of one byte. */
import { printable } from "../../base/text.ts";
import { read, writeAll } from "../os/fs.ts";

const CHUNK = 256 * 1024;
const MAX_LINE = 8 * 1024;
const encoder = new TextEncoder();
const LINE_FEED = 0x0a;

/** The other side has said that it gives up, or has gone: nothing can be done but to end. */
export class PeerGone extends Error {}

export class Peer {
  readonly #buffer = new Uint8Array(CHUNK);
  #start = 0;
  #end = 0;
  /** How many errors were said by either side; any makes the exit status 1. */
  errors = 0;

  constructor(
    readonly stdin: (into: Uint8Array<ArrayBuffer>) => number = (into) => read(0, into),
    readonly stdout: (bytes: Uint8Array<ArrayBuffer>) => void = (bytes) => writeAll(1, bytes),
  ) {}

  /** "Go on." */
  ok(): void {
    this.stdout(new Uint8Array([0]));
  }

  /** Tells of an error after which the work goes on with the next file. */
  error(message: string): void {
    this.errors++;
    this.send(`\x01scp: ${printable(message)}\n`);
  }

  send(text: string): void {
    this.stdout(new Uint8Array(encoder.encode(text)));
  }

  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    this.stdout(bytes);
  }

  /**
   * The other side's answer: whether it is "go on".
   *
   * @throws PeerGone at the end of input, and when the error is fatal
   */
  answer(): boolean {
    const byte = this.#byte();
    if (byte === undefined) throw new PeerGone();
    if (byte === 0) return true;
    this.#otherError(byte);
    return false;
  }

  /**
   * A line without its end; undefined at the end of input. Errors of the other side are counted
   * and skipped.
   */
  line(): Uint8Array | undefined {
    for (;;) {
      const first = this.#byte();
      if (first === undefined) return undefined;
      if (first === 0) continue;
      if (first > 2) return this.#restOfLine(first);
      this.#otherError(first);
    }
  }

  /** Up to `max` bytes of data, in place until the next call; at least one. */
  data(max: number): Uint8Array<ArrayBuffer> {
    if (this.#start === this.#end && !this.#fill()) throw new PeerGone();
    const from = this.#start;
    this.#start = Math.min(this.#end, from + max);
    return this.#buffer.subarray(from, this.#start);
  }

  #otherError(kind: number): void {
    this.errors++;
    // The text came from the other side's own terminal: it has been shown there.
    this.#restOfLine(kind);
    if (kind === 2) throw new PeerGone();
  }

  #restOfLine(first: number): Uint8Array {
    const line = [first];
    for (;;) {
      const byte = this.#byte();
      if (byte === undefined || line.length > MAX_LINE) throw new PeerGone();
      if (byte === LINE_FEED) return new Uint8Array(line);
      line.push(byte);
    }
  }

  #byte(): number | undefined {
    if (this.#start === this.#end && !this.#fill()) return undefined;
    return this.#buffer[this.#start++];
  }

  #fill(): boolean {
    this.#start = 0;
    this.#end = this.stdin(this.#buffer);
    return this.#end > 0;
  }
}
