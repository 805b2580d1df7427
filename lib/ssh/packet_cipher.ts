/**
 * SSH's binary packets (RFC 4253 §6) in the clear and with AES-GCM (RFC 5647), in place of ssh2's:
 * Deno 2.4.2 lacks `setAutoPadding` for GCM, and these make one write of a packet and one check of
 * a packet's bounds. The names `outSeqno`, `inSeqno`, `allocPacket`, `encrypt`, `decrypt`, `free`
 * and `_onPayload` are the ones that ssh2's key exchange uses.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";

/** The largest packet that is read before a peer is authenticated (RFC 4253 §6.1). */
export const maxPacketBeforeAuth = 35_000;
/** The largest packet afterwards; OpenSSH's own limit. */
export const maxPacketAfterAuth = 256 * 1024;

/** Where packets go to; takes the bytes before it returns. */
export type PacketSink = (a: Uint8Array, b?: Uint8Array, c?: Uint8Array) => void;

/** The writing side of a connection between two key exchanges. */
export abstract class PacketWriter {
  outSeqno: number;
  /** Bytes of payload written with these keys. */
  bytes = 0;
  packets = 0;
  #free = false;

  constructor(seqno: number, protected readonly sink: PacketSink) {
    this.outSeqno = seqno;
  }

  /** Writes `head` and `tail` as the payload of one packet. */
  send(head: Uint8Array, tail?: Uint8Array): void {
    if (this.#free) return;
    const payloadLength = head.length + (tail?.length ?? 0);
    const padding = this.paddingFor(payloadLength);
    const body = scratch(1 + payloadLength + padding);
    body[0] = padding;
    body.set(head, 1);
    if (tail) body.set(tail, 1 + head.length);
    fillRandom(body, 1 + payloadLength);
    this.seal(body);
    this.#count(payloadLength);
  }

  /** ssh2's way of making a packet: room for the payload behind five bytes. */
  allocPacket(payloadLength: number): Buffer {
    const padding = this.paddingFor(payloadLength);
    const packet = Buffer.alloc(5 + payloadLength + padding);
    packet[4] = padding;
    fillRandom(packet, 5 + payloadLength);
    return packet;
  }

  /** ssh2's way of sending what allocPacket() made. */
  encrypt(packet: Uint8Array): void {
    if (this.#free) return;
    this.seal(packet.subarray(4));
    this.#count(packet.length - 5 - packet[4]!);
  }

  free(): void {
    this.#free = true;
  }

  #count(payloadLength: number): void {
    this.outSeqno = (this.outSeqno + 1) >>> 0;
    this.bytes += payloadLength;
    this.packets++;
  }

  protected abstract paddingFor(payloadLength: number): number;
  /** `body`: padding length, payload, padding. */
  protected abstract seal(body: Uint8Array): void;
}

/** Before the first key exchange. */
export class PlainWriter extends PacketWriter {
  protected paddingFor(payloadLength: number): number {
    return padTo(8, 5 + payloadLength);
  }

  protected seal(body: Uint8Array): void {
    this.sink(uint32(body.length), body);
  }
}

export interface GcmKeys {
  /** OpenSSL's name. */
  name: "aes-128-gcm" | "aes-256-gcm";
  key: Uint8Array;
  /** 12 bytes, of which the last 8 count packets. */
  iv: Uint8Array;
}

export class GcmWriter extends PacketWriter {
  readonly #keys: GcmKeys;

  constructor(seqno: number, sink: PacketSink, keys: GcmKeys) {
    super(seqno, sink);
    this.#keys = { ...keys, iv: Uint8Array.from(keys.iv) };
  }

  protected paddingFor(payloadLength: number): number {
    return padTo(16, 1 + payloadLength);
  }

  protected seal(body: Uint8Array): void {
    const { name, key, iv } = this.#keys;
    const length = uint32(body.length);
    const cipher = createCipheriv(name, key, iv);
    cipher.setAAD(length);
    const sealed = cipher.update(body);
    cipher.final();
    this.sink(length, sealed, cipher.getAuthTag());
    increment(iv);
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
  #frame: Uint8Array | undefined;
  #have = 0;

  constructor(seqno: number, onPayload: (payload: Buffer) => PayloadResult) {
    this.inSeqno = seqno;
    this._onPayload = onPayload;
  }

  /**
   * Reads the packets of `data` from `at` on. Returns where to go on when the key exchange has put
   * another reader in this one's place.
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
        while (this.#have < 4 && at < end) this.#length[this.#have++] = data[at++]!;
        if (this.#have < 4) return undefined;
        if (!this.#frame) {
          this.#frame = new Uint8Array(this.#frameSize(this.#length, 0));
          this.#frame.set(this.#length);
        }
        const taken = Math.min(this.#frame.length - this.#have, end - at);
        this.#frame.set(data.subarray(at, at + taken), this.#have);
        this.#have += taken;
        at += taken;
        if (this.#have < this.#frame.length) return undefined;
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

  #keep(data: Uint8Array, at: number, end: number, size: number): void {
    this.#frame = new Uint8Array(size);
    this.#frame.set(data.subarray(at, end));
    this.#have = end - at;
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
  protected readonly tagLength = 16;
  readonly #keys: GcmKeys;

  constructor(seqno: number, onPayload: (payload: Buffer) => PayloadResult, keys: GcmKeys) {
    super(seqno, onPayload);
    this.#keys = { ...keys, iv: Uint8Array.from(keys.iv) };
  }

  protected isPossible(length: number): boolean {
    return length >= 16 && length % 16 === 0;
  }

  protected open(frame: Uint8Array): Uint8Array {
    const { name, key, iv } = this.#keys;
    const decipher = createDecipheriv(name, key, iv);
    decipher.setAAD(frame.subarray(0, 4));
    decipher.setAuthTag(frame.subarray(frame.length - 16));
    const body = decipher.update(frame.subarray(4, frame.length - 16));
    decipher.final();
    increment(iv);
    return body;
  }
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

export function readUint32(data: Uint8Array, at: number): number {
  return data[at]! * 0x1000000 + ((data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!);
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

// Everything here is synchronous, so one buffer serves every connection.
let scratchBuffer = Buffer.alloc(64 * 1024);

function scratch(length: number): Uint8Array {
  if (length > scratchBuffer.length) scratchBuffer = Buffer.alloc(2 * length);
  return scratchBuffer.subarray(0, length);
}

const randomPool = new Uint8Array(8 * 1024);
let randomUsed = randomPool.length;

/** Fills the rest of `body` (padding: at most 31 bytes) from a pool, because a call costs 1 µs. */
function fillRandom(body: Uint8Array, from: number): void {
  const count = body.length - from;
  if (randomUsed + count > randomPool.length) {
    randomFillSync(randomPool);
    randomUsed = 0;
  }
  body.set(randomPool.subarray(randomUsed, randomUsed += count), from);
}
