/** The data types of the SSH protocol (RFC 4251 section 5), read with limits and written. */
import { Buffer } from "node:buffer";
import { concat, utf8Decode, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";

/** Reads values from the front of a buffer. Every method throws BadParameter when it cannot. */
export class WireReader {
  readonly #buf: Buffer;
  readonly #what: string;
  #offset = 0;

  /** @param what names the message in errors, e.g. "certificate" */
  constructor(buf: Uint8Array, what = "SSH message") {
    this.#buf = Buffer.from(buf.buffer, buf.byteOffset, buf.byteLength);
    this.#what = what;
  }

  get remaining(): number {
    return this.#buf.length - this.#offset;
  }

  u8(): number {
    return this.#buf.readUInt8(this.#take(1));
  }

  u32(): number {
    return this.#buf.readUInt32BE(this.#take(4));
  }

  u64(): bigint {
    return this.#buf.readBigUInt64BE(this.#take(8));
  }

  /** 0 and 1 only: RFC 4251 lets a reader take any other value for true, nobody writes one. */
  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new BadParameter(`Malformed ${this.#what}: boolean is neither 0 nor 1`);
    return value === 1;
  }

  /** A view into the buffer, not a copy. */
  string(): Uint8Array {
    const length = this.u32();
    const start = this.#take(length);
    return this.#buf.subarray(start, start + length);
  }

  utf8(): string {
    return utf8Decode(this.string());
  }

  /** The magnitude without leading zeros (zero is empty). Negative and padded values are refused. */
  mpint(): Uint8Array {
    const bytes = this.string();
    const [first, second = 0] = bytes;
    if (first === undefined) return bytes;
    if (first & 0x80) throw new BadParameter(`Malformed ${this.#what}: negative integer`);
    if (first !== 0) return bytes;
    if (!(second & 0x80)) throw new BadParameter(`Malformed ${this.#what}: padded integer`);
    return bytes.subarray(1);
  }

  /** All that is left: a view, not a copy. */
  rest(): Uint8Array {
    return this.#buf.subarray(this.#take(this.remaining));
  }

  /** @throws BadParameter when bytes are left over */
  end(): void {
    if (this.remaining > 0) {
      throw new BadParameter(`Malformed ${this.#what}: ${this.remaining} bytes too many`);
    }
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw new BadParameter(`Malformed ${this.#what}: it ends too early`);
    }
    const start = this.#offset;
    this.#offset += length;
    return start;
  }
}

/** Collects values; every method returns the writer. */
export class WireWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32BE(value);
    return this.raw(part);
  }

  u64(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64BE(value);
    return this.raw(part);
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  string(value: Uint8Array | string): this {
    const bytes = typeof value === "string" ? utf8Encode(value) : value;
    return this.u32(bytes.length).raw(bytes);
  }

  /** @param magnitude an unsigned big-endian integer; leading zeros do not matter */
  mpint(magnitude: Uint8Array): this {
    let start = 0;
    while (magnitude[start] === 0) start++;
    const bytes = magnitude.subarray(start);
    const sign = (bytes[0] ?? 0) & 0x80 ? 1 : 0;
    this.u32(bytes.length + sign);
    if (sign) this.u8(0);
    return this.raw(bytes);
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  /** A copy of all that was written, in memory of its own. */
  bytes(): Uint8Array<ArrayBuffer> {
    return concat(...this.#parts);
  }
}
