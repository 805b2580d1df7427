/**
 * Gzip members (RFC 1952) that say how long they are.
 *
 * A recording is a chain of whole members, so that `zcat` reads it and a crash costs the last
 * member at most. Each has one subfield "TP" in the header's extra field:
 *
 *     u32 length of the member in bytes
 *     u32 flags (little endian, as all of gzip)
 *     f64 time of the first event, seconds since the start
 *
 * So a reader hops from member to member, finds the torn end, and seeks by time, without inflating
 * what it does not show.
 */
import { constants, gzipSync, type ZlibOptions } from "node:zlib";
import { BadParameter } from "../base/errors.ts";

/** Bytes before the compressed data of a member. */
export const MEMBER_HEADER_BYTES = 10 + 2 + 4 + 16;
/** No member inflates to more. Longer ones are not ours. */
export const MAX_PLAIN_BYTES = 4 * 1024 * 1024;
const MAX_MEMBER_BYTES = MAX_PLAIN_BYTES + 64 * 1024;
const TRAILER_BYTES = 8;
const PLAIN_HEADER_BYTES = 10;
const FEXTRA = 4;

/** The member has events besides output: markers, resizes, the recording's header line. */
export const HAS_NOTES = 1;

export interface MemberHeader {
  /** Of the whole member, bytes. */
  readonly length: number;
  readonly flags: number;
  /** Of the first event, seconds since the start. */
  readonly time: number;
}

/**
 * How hard gzip tries, by measure:
 * - "ordinary": keystrokes and screens, where it costs nothing.
 * - "bulk": half the time for plain text, at the same size; a third more bytes for listings.
 * - "dense": what does not repeat, such as base64: its letters are coded and nothing is searched
 *   for, in a third of the time and at the same size.
 */
export type Compression = "ordinary" | "bulk" | "dense";

const OPTIONS: Record<Compression, ZlibOptions> = {
  ordinary: { level: 6 },
  bulk: { level: 2 },
  dense: { level: 1, strategy: constants.Z_HUFFMAN_ONLY },
};

export function encodeMember(
  plain: Uint8Array,
  o: { time: number; flags: number; compression: Compression },
): Uint8Array<ArrayBuffer> {
  const zipped = gzipSync(plain, OPTIONS[o.compression]);
  const member = new Uint8Array(zipped.length + MEMBER_HEADER_BYTES - PLAIN_HEADER_BYTES);
  member.set(zipped.subarray(0, PLAIN_HEADER_BYTES));
  member.set(zipped.subarray(PLAIN_HEADER_BYTES), MEMBER_HEADER_BYTES);
  member[3] = FEXTRA;
  const view = new DataView(member.buffer);
  view.setUint16(10, 4 + 16, true);
  member[12] = 0x54;
  member[13] = 0x50;
  view.setUint16(14, 16, true);
  view.setUint32(16, member.length, true);
  view.setUint32(20, o.flags, true);
  view.setFloat64(24, o.time, true);
  return member;
}

/** What stands at the head of a member; undefined when it is not one of ours. */
export function readMemberHeader(bytes: Uint8Array): MemberHeader | undefined {
  if (bytes.length < MEMBER_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isOurs = view.getUint32(0) === 0x1f8b0804 && view.getUint16(10, true) === 20 &&
    bytes[12] === 0x54 && bytes[13] === 0x50 && view.getUint16(14, true) === 16;
  if (!isOurs) return undefined;
  const length = view.getUint32(16, true);
  const time = view.getFloat64(24, true);
  if (length < MEMBER_HEADER_BYTES + TRAILER_BYTES || length > MAX_MEMBER_BYTES) return undefined;
  if (!(time >= 0 && time < Number.MAX_SAFE_INTEGER)) return undefined;
  return { length, flags: view.getUint32(20, true), time };
}

/** Compressed bytes that are inflated at a time: at most about 1000 times as many come out. */
const SLICE_BYTES = 2048;

/**
 * The text of one whole member, its checksum checked.
 *
 * @throws BadParameter when it is damaged, or inflates to more than {@link MAX_PLAIN_BYTES}
 */
export async function inflateMember(member: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  // The runtime does not miss a trailer that is cut off.
  if (readMemberHeader(member)?.length !== member.length) {
    throw new BadParameter("A part of the recording is torn");
  }
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const feeding = (async () => {
    for (let at = 0; at < member.length; at += SLICE_BYTES) {
      await writer.write(Uint8Array.from(member.subarray(at, at + SLICE_BYTES)));
    }
    await writer.close();
  })();
  // Told by the reader.
  feeding.catch(() => {});
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of stream.readable) {
      size += part.length;
      if (size > MAX_PLAIN_BYTES) throw new BadParameter("it inflates to too much");
      parts.push(part);
    }
    await feeding;
  } catch (cause) {
    await writer.abort().catch(() => {});
    throw new BadParameter("A part of the recording is damaged", { cause });
  }
  const plain = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    plain.set(part, at);
    at += part.length;
  }
  return plain;
}
