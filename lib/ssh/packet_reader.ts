/**
 * Reads SSH's binary packets (RFC 4253 §6), in the clear and with AES-GCM (RFC 5647). In place of
 * ssh2's classes, which need `setAutoPadding` for GCM (not in Deno 2.4.2), these decrypt them where they lie.
 * ssh2's key exchange uses the names `inSeqno`, `decrypt`, `free`, `_onPayload`.
 */
import { Buffer } from "node:buffer";
import { type GcmContext, type GcmKeys, gcmTagLength, incrementIv, openGcm } from "./gcm.ts";

/** The largest packet that is read before a peer is authenticated (RFC 4253 §6.1). */
export const maxPacketBeforeAuth = 35_000;
/** The largest packet afterwards; OpenSSH's own limit. */
export const maxPacketAfterAuth = 256 * 1024;

/** How many parts of the bytes that are being read somebody goes on looking at. */
export interface Lending {
  count: number;
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
  /** A frame of which the first #have bytes are there, and memory for the next such frame. */
  #frame: Uint8Array | undefined;
  #have = 0;
  #spare: Uint8Array = new Uint8Array();
  readonly #lent: Lending;

  constructor(seqno: number, onPayload: (payload: Buffer) => PayloadResult, lent: Lending) {
    this.inSeqno = seqno;
    this._onPayload = onPayload;
    this.#lent = lent;
  }

  /**
   * Reads the packets of `data` from `at` on; encrypted ones are decrypted where they lie. Returns
   * where to go on when the key exchange has put another reader in this one's place.
   * @throws Error when a packet is out of bounds or not authentic
   */
  decrypt(data: Uint8Array, at: number, end: number): number | undefined {
    while (at < end) {
      let frame: Uint8Array;
      const isWhole = this.#have === 0 && end - at >= 4 && end - at >= this.#frameSize(data, at);
      if (isWhole) {
        frame = data.subarray(at, at + this.#frameSize(data, at));
        at += frame.length;
      } else {
        at = this.#collect(data, at, end);
        if (!this.#frame || this.#have < this.#frame.length) return undefined;
        frame = this.#frame;
        this.#frame = undefined;
        this.#have = 0;
      }
      const lentBefore = this.#lent.count;
      const result = this._onPayload(this.#payloadOf(frame));
      if (!isWhole && this.#lent.count > lentBefore) this.#spare = new Uint8Array();
      if (result !== undefined) return result === false ? at : result;
    }
    return undefined;
  }

  free(): void {
    this.#frame = undefined;
    this.#spare = new Uint8Array();
  }

  /** Adds to a frame that comes in parts; returns where it ends in `data`. */
  #collect(data: Uint8Array, at: number, end: number): number {
    if (!this.#frame) {
      while (this.#have < 4 && at < end) this.#length[this.#have++] = data[at++]!;
      if (this.#have < 4) return at;
      const size = this.#frameSize(this.#length, 0);
      if (this.#spare.length < size) this.#spare = new Uint8Array(size);
      this.#frame = this.#spare.subarray(0, size);
      this.#frame.set(this.#length);
    }
    const taken = Math.min(this.#frame.length - this.#have, end - at);
    this.#frame.set(data.subarray(at, at + taken), this.#have);
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

  constructor(
    seqno: number,
    onPayload: (payload: Buffer) => PayloadResult,
    lent: Lending,
    keys: GcmKeys,
  ) {
    super(seqno, onPayload, lent);
    this.#iv = Uint8Array.from(keys.iv);
    this.#context = openGcm(keys, "open");
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
    incrementIv(this.#iv);
    return frame.subarray(4, frame.length - gcmTagLength);
  }
}

export function readUint32(data: Uint8Array, at: number): number {
  return data[at]! * 0x1000000 + ((data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!);
}
