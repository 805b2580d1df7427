/**
 * Writes SSH's binary packets (RFC 4253 §6), in the clear and with AES-GCM (RFC 5647). In place of
 * ssh2's classes, which need `setAutoPadding` for GCM (not in Deno 2.4.2), these build them where they are sent from.
 * ssh2's key exchange uses the names `outSeqno`, `allocPacket`, `encrypt`, `free`.
 */
import { Buffer } from "node:buffer";
import { randomFillSync } from "node:crypto";
import { type GcmContext, type GcmKeys, gcmTagLength, incrementIv, openGcm } from "./gcm.ts";

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

export class GcmWriter extends PacketWriter {
  protected readonly tagLength = gcmTagLength;
  readonly #iv: Uint8Array;
  readonly #context: GcmContext;

  constructor(seqno: number, reserve: Reserve, keys: GcmKeys) {
    super(seqno, reserve);
    this.#iv = Uint8Array.from(keys.iv);
    this.#context = openGcm(keys, "seal");
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
    incrementIv(this.#iv);
  }
}

/** Padding of 4 bytes or more that makes `length` a multiple of `block`. */
function padTo(block: number, length: number): number {
  const padding = block - (length % block);
  return padding < 4 ? padding + block : padding;
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
