/**
 * Messages of SFTP version 3 on the server's side: requests are read in place, and replies are
 * written into one buffer that goes out in large pieces.
 *
 * Not ssh2's codec, which cannot announce extensions (so that no client would use posix-rename,
 * fsync or limits), and not the SftpServer of lib/ssh either: that one takes names as text, so a
 * file whose name is not UTF-8 would be out of reach, and copies each block of a file more than
 * once. The numbers of the protocol are shared with it.
 */
import { BadParameter } from "../../base/errors.ts";
import { maxSftpPacket as MAX_PACKET } from "../../ssh/sftp_wire.ts";

/** Reads fields out of a request, without copying. */
export class RequestReader {
  #at = 0;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array<ArrayBuffer>) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8));
  }

  /** Valid until the next request is read. */
  string(): Uint8Array<ArrayBuffer> {
    const length = this.u32();
    const start = this.#advance(length);
    return this.bytes.subarray(start, start + length);
  }

  text(): string {
    return new TextDecoder().decode(this.string());
  }

  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  #advance(count: number): number {
    if (count > this.remaining) throw new BadParameter("a message of the client is too short");
    const start = this.#at;
    this.#at += count;
    return start;
  }
}

const FLUSH_AT = 4 * MAX_PACKET;
const encoder = new TextEncoder();

/** Gathers replies, and sends them when told to or when there are many. */
export class ReplyWriter {
  readonly #buffer = new Uint8Array(FLUSH_AT + 2 * MAX_PACKET);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #send: (bytes: Uint8Array<ArrayBuffer>) => void;
  #length = 0;
  #start = 0;

  constructor(send: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#send = send;
  }

  flush(): void {
    if (this.#length === 0) return;
    const bytes = this.#buffer.subarray(0, this.#length);
    this.#length = this.#start = 0;
    this.#send(bytes);
  }

  begin(type: number): this {
    if (this.#length > FLUSH_AT) this.flush();
    this.#start = this.#length;
    this.#length += 4;
    return this.u8(type);
  }

  end(): void {
    this.#view.setUint32(this.#start, this.#length - this.#start - 4);
    this.#start = this.#length;
  }

  /** Takes back what was written since begin(), unless it was ended. */
  abandon(): void {
    this.#length = this.#start;
  }

  /** Bytes of the message so far. */
  get size(): number {
    return this.#length - this.#start;
  }

  u8(value: number): this {
    this.#buffer[this.#length++] = value;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#length, value);
    this.#length += 4;
    return this;
  }

  u64(value: bigint): this {
    this.#view.setBigUint64(this.#length, value);
    this.#length += 8;
    return this;
  }

  /** Room for a number that is known later; the answer sets it. */
  later32(): (value: number) => void {
    const at = this.#length;
    this.#length += 4;
    return (value) => this.#view.setUint32(at, value);
  }

  string(value: Uint8Array | string): this {
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    this.u32(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A string of at most `max` bytes that `fill` writes in place, giving back how many. */
  stringInPlace(max: number, fill: (room: Uint8Array<ArrayBuffer>) => number): number {
    const at = this.#length + 4;
    const length = fill(this.#buffer.subarray(at, at + max));
    this.u32(length);
    this.#length += length;
    return length;
  }
}

/**
 * Cuts a stream of bytes into messages. Holds at most a few of them.
 */
export class RequestStream {
  readonly #read: (into: Uint8Array<ArrayBuffer>) => number;
  #buffer = new Uint8Array(2 * MAX_PACKET);
  #start = 0;
  #end = 0;

  /** @param read gives some bytes, 0 at the end */
  constructor(read: (into: Uint8Array<ArrayBuffer>) => number) {
    this.#read = read;
  }

  /** Whether the next message is here already. */
  get ready(): boolean {
    const size = this.#size();
    return size !== undefined && this.#end - this.#start >= 4 + size;
  }

  /**
   * The next message, valid until the next call; undefined at the end.
   *
   * @throws BadParameter for a message that is empty or too long
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    while (!this.ready) {
      if (!this.#fill()) return undefined;
    }
    const from = this.#start + 4;
    this.#start = from + this.#size()!;
    return this.#buffer.subarray(from, this.#start);
  }

  #size(): number | undefined {
    if (this.#end - this.#start < 4) return undefined;
    const size = new DataView(this.#buffer.buffer).getUint32(this.#start);
    if (size === 0 || size > MAX_PACKET) {
      throw new BadParameter(`a message of the client has ${size} bytes`);
    }
    return size;
  }

  #fill(): boolean {
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    const n = this.#read(this.#buffer.subarray(this.#end));
    this.#end += n;
    return n > 0;
  }
}
