/**
 * SSH's binary packets (RFC 4253 §6) in the clear and with AES-GCM (RFC 5647), in place of ssh2's:
 * Deno 2.4.2 lacks `setAutoPadding` for GCM, and these build and read packets where they lie. The
 * names `outSeqno`, `inSeqno`, `allocPacket`, `encrypt`, `decrypt`, `free` and `_onPayload` are the
 * ones that ssh2's key exchange uses.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";
import {
  gcmAadLength,
  type GcmContext,
  type GcmName,
  gcmTagLength,
  libcryptoGcm,
} from "./libcrypto.ts";

/** The largest packet that is read before a peer is authenticated (RFC 4253 §6.1). */
export const maxPacketBeforeAuth = 35_000;
/** The largest packet afterwards; OpenSSH's own limit. */
export const maxPacketAfterAuth = 256 * 1024;

/** Gives memory for what is to be sent next; it is filled before anything else is asked for. */
export type Reserve = (size: number) => Uint8Array;

/** The writing side of a connection between two key exchanges. */
export abstract class PacketWriter {
  outSeqno: number;
  /** Bytes of payload written with these keys. */
  bytes = 0;
  packets = 0;
  #isFree = false;

  constructor(seqno: number, protected readonly reserve: Reserve) {
    this.outSeqno = seqno;
  }

  /** Writes `head` and `tail` as the payload of one packet. */
  send(head: Uint8Array, tail?: Uint8Array): void {
    if (this.#isFree) return;
    const payloadLength = head.length + (tail?.length ?? 0);
    const padding = this.paddingFor(payloadLength);
    const bodyLength = 1 + payloadLength + padding;
    const frame = this.reserve(4 + bodyLength + this.tagLength);
    writeUint32(frame, bodyLength, 0);
    frame[4] = padding;
    frame.set(head, 5);
    if (tail) frame.set(tail, 5 + head.length);
    fillRandom(frame, 5 + payloadLength, padding);
    try {
      this.seal(frame);
    } catch (error) {
      // What was reserved may still be sent: never in the clear.
      frame.fill(0);
      throw error;
    }
    this.#count(payloadLength);
  }

  /** ssh2's way of making a packet: room for the payload behind five bytes. */
  allocPacket(payloadLength: number): Buffer {
    const padding = this.paddingFor(payloadLength);
    const packet = Buffer.alloc(5 + payloadLength + padding);
    packet[4] = padding;
    return packet;
  }

  /** ssh2's way of sending what allocPacket() made. */
  encrypt(packet: Uint8Array): void {
    this.send(packet.subarray(5, packet.length - packet[4]!));
  }

  free(): void {
    this.#isFree = true;
  }

  #count(payloadLength: number): void {
    this.outSeqno = (this.outSeqno + 1) >>> 0;
    this.bytes += payloadLength;
    this.packets++;
  }

  protected abstract readonly tagLength: number;
  protected abstract paddingFor(payloadLength: number): number;
  /** `frame`: length, padding length, payload, padding, room for the tag. */
  protected abstract seal(frame: Uint8Array): void;
}

/** Before the first key exchange. */
export class PlainWriter extends PacketWriter {
  protected readonly tagLength = 0;

  protected paddingFor(payloadLength: number): number {
    return padTo(8, 5 + payloadLength);
  }

  protected seal(): void {}
}

export interface GcmKeys {
  /** OpenSSL's name. */
  name: GcmName;
  key: Uint8Array;
  /** 12 bytes, of which the last 8 count packets. */
  iv: Uint8Array;
}

export class GcmWriter extends PacketWriter {
  protected readonly tagLength = gcmTagLength;
  readonly #iv: Uint8Array;
  readonly #context: GcmContext;

  constructor(seqno: number, reserve: Reserve, { name, key, iv }: GcmKeys) {
    super(seqno, reserve);
    this.#iv = Uint8Array.from(iv);
    this.#context = libcryptoGcm(name, key, "seal") ?? new NodeGcm(name, key);
  }

  override free(): void {
    super.free();
    this.#context.free();
  }

  protected paddingFor(payloadLength: number): number {
    return padTo(16, 1 + payloadLength);
  }

  protected seal(frame: Uint8Array): void {
    this.#context.seal(this.#iv, frame);
    increment(this.#iv);
  }
}

/** What ssh2's parser does with a payload: nothing, "the decipher is another one now", "stop". */
export type PayloadResult = undefined | false | number;

/** The reading side of a connection between two key exchanges. */
export abstract class PacketReader {
  inSeqno: number;
  bytes = 0;
  packets = 0;
  /** Swapped by ssh2 during a key exchange: to be read anew for each packet. */
  _onPayload: (payload: Buffer) => PayloadResult;
  /** The largest packet accepted. */
  limit = maxPacketBeforeAuth;
  readonly #length = new Uint8Array(4);
  /** A frame of which the first #have bytes are there. */
  #frame: Uint8Array | undefined;
  #have = 0;
  /** Whether #frame lies in the memory that the bytes are read into. */
  #isInPlace = false;

  constructor(seqno: number, onPayload: (payload: Buffer) => PayloadResult) {
    this.inSeqno = seqno;
    this._onPayload = onPayload;
  }

  /**
   * Reads the packets of `data` from `at` on; encrypted ones are decrypted where they lie. Returns
   * where to go on when the key exchange has put another reader in this one's place.
   * @throws Error when a packet is out of bounds or not authentic
   */
  decrypt(data: Uint8Array, at: number, end: number): number | undefined {
    while (at < end) {
      let frame: Uint8Array;
      if (this.#have === 0 && end - at >= 4) {
        const size = this.#frameSize(data, at);
        if (end - at < size) {
          this.#keep(data, at, end, size);
          return undefined;
        }
        frame = data.subarray(at, at + size);
        at += size;
      } else {
        at = this.#complete(data, at, end);
        if (!this.#frame || this.#have < this.#frame.length) return undefined;
        frame = this.#frame;
        this.#frame = undefined;
        this.#have = 0;
      }
      const result = this._onPayload(this.#payloadOf(frame));
      if (result !== undefined) return result === false ? at : result;
    }
    return undefined;
  }

  free(): void {
    this.#frame = undefined;
  }

  /** Remembers the beginning of a frame. */
  #keep(data: Uint8Array, at: number, end: number, size: number): void {
    this.#have = end - at;
    const start = data.byteOffset + at;
    // ConnStream goes on reading behind what it read last, as long as there is room.
    this.#isInPlace = start + size <= data.buffer.byteLength;
    this.#frame = this.#isInPlace
      ? new Uint8Array(data.buffer, start, size)
      : copyOf(data.subarray(at, end), size);
  }

  /** Adds to the frame that was begun; returns where it ends in `data`. */
  #complete(data: Uint8Array, at: number, end: number): number {
    if (!this.#frame) {
      while (this.#have < 4 && at < end) this.#length[this.#have++] = data[at++]!;
      if (this.#have < 4) return at;
      this.#frame = copyOf(this.#length, this.#frameSize(this.#length, 0));
      this.#isInPlace = false;
    }
    const frame = this.#frame;
    const taken = Math.min(frame.length - this.#have, end - at);
    if (this.#isInPlace) {
      const follows = data.buffer === frame.buffer &&
        data.byteOffset + at === frame.byteOffset + this.#have;
      if (!follows) {
        this.#frame = copyOf(frame.subarray(0, this.#have), frame.length);
        this.#isInPlace = false;
      }
    }
    if (!this.#isInPlace) this.#frame.set(data.subarray(at, at + taken), this.#have);
    this.#have += taken;
    return at + taken;
  }

  #frameSize(data: Uint8Array, at: number): number {
    const length = readUint32(data, at);
    if (length > this.limit || !this.isPossible(length)) throw new Error("Bad packet length");
    return 4 + length + this.tagLength;
  }

  #payloadOf(frame: Uint8Array): Buffer {
    const body = this.open(frame);
    const padding = body[0]!;
    const payloadLength = body.length - 1 - padding;
    // RFC 4253 §6: at least four bytes of padding; and a message has at least its number.
    if (padding < 4 || payloadLength < 1) throw new Error("Bad packet padding");
    this.inSeqno = (this.inSeqno + 1) >>> 0;
    this.bytes += payloadLength;
    this.packets++;
    return Buffer.from(body.buffer, body.byteOffset + 1, payloadLength);
  }

  protected abstract readonly tagLength: number;
  protected abstract isPossible(length: number): boolean;
  /** `frame`: length, body, tag. Returns padding length, payload, padding. */
  protected abstract open(frame: Uint8Array): Uint8Array;
}

/** Before the first key exchange. */
export class PlainReader extends PacketReader {
  protected readonly tagLength = 0;

  protected isPossible(length: number): boolean {
    return length >= 12 && (length + 4) % 8 === 0;
  }

  protected open(frame: Uint8Array): Uint8Array {
    return frame.subarray(4);
  }
}

export class GcmReader extends PacketReader {
  protected readonly tagLength = gcmTagLength;
  readonly #iv: Uint8Array;
  readonly #context: GcmContext;

  constructor(seqno: number, onPayload: (payload: Buffer) => PayloadResult, keys: GcmKeys) {
    super(seqno, onPayload);
    this.#iv = Uint8Array.from(keys.iv);
    this.#context = libcryptoGcm(keys.name, keys.key, "open") ?? new NodeGcm(keys.name, keys.key);
  }

  override free(): void {
    super.free();
    this.#context.free();
  }

  protected isPossible(length: number): boolean {
    return length >= 16 && length % 16 === 0;
  }

  protected open(frame: Uint8Array): Uint8Array {
    if (!this.#context.open(this.#iv, frame)) throw new Error("Corrupted packet");
    increment(this.#iv);
    return frame.subarray(4, frame.length - gcmTagLength);
  }
}

/** Where OpenSSL is not at hand. */
export class NodeGcm implements GcmContext {
  constructor(readonly name: GcmName, readonly key: Uint8Array) {}

  seal(iv: Uint8Array, frame: Uint8Array): void {
    const cipher = createCipheriv(this.name, this.key, iv);
    cipher.setAAD(frame.subarray(0, gcmAadLength));
    frame.set(cipher.update(frame.subarray(gcmAadLength, -gcmTagLength)), gcmAadLength);
    cipher.final();
    frame.set(cipher.getAuthTag(), frame.length - gcmTagLength);
  }

  open(iv: Uint8Array, frame: Uint8Array): boolean {
    const decipher = createDecipheriv(this.name, this.key, iv);
    decipher.setAAD(frame.subarray(0, gcmAadLength));
    decipher.setAuthTag(frame.subarray(-gcmTagLength));
    const text = decipher.update(frame.subarray(gcmAadLength, -gcmTagLength));
    try {
      decipher.final();
    } catch {
      return false;
    }
    frame.set(text, gcmAadLength);
    return true;
  }

  free(): void {}
}

/** Padding of 4 bytes or more that makes `length` a multiple of `block`. */
function padTo(block: number, length: number): number {
  const padding = block - (length % block);
  return padding < 4 ? padding + block : padding;
}

/** The packet counter of RFC 5647 §7.1: the last eight bytes. */
function increment(iv: Uint8Array): void {
  for (let i = 11; i >= 4; i--) {
    if (++iv[i]! & 0xff) return;
  }
}

function copyOf(bytes: Uint8Array, size: number): Uint8Array {
  const copy = new Uint8Array(size);
  copy.set(bytes);
  return copy;
}

export function readUint32(data: Uint8Array, at: number): number {
  return data[at]! * 0x1000000 + ((data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!);
}

function writeUint32(data: Uint8Array, value: number, at: number): void {
  data[at] = value >>> 24;
  data[at + 1] = value >>> 16;
  data[at + 2] = value >>> 8;
  data[at + 3] = value;
}

const randomPool = new Uint8Array(8 * 1024);
let randomUsed = randomPool.length;

/** Fills `count` bytes (padding: at most 31) from a pool, because a call costs 1 µs. */
function fillRandom(bytes: Uint8Array, from: number, count: number): void {
  if (randomUsed + count > randomPool.length) {
    randomFillSync(randomPool);
    randomUsed = 0;
  }
  for (const end = from + count; from < end;) bytes[from++] = randomPool[randomUsed++]!;
}
