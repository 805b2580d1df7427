/** Reads recordings from files, member by member, with limits: they may come from anywhere. */
import { BadParameter } from "../base/errors.ts";
import { utf8Decode } from "../base/bytes.ts";
import { type CastEvent, type CastHeader, parseEvent, parseHeader } from "./cast.ts";
import {
  HAS_NOTES,
  inflateMember,
  MEMBER_HEADER_BYTES,
  type MemberHeader,
  readMemberHeader,
} from "./members.ts";

/** Where a member stands in its file. */
export interface MemberPlace extends MemberHeader {
  /** Of its first byte. */
  readonly offset: number;
}

/** The label of a marker that stands where a recording was cut off begins with it. */
export const TORN = "torn: ";
/** The label of the last event of a recording that was not cut off. */
export const END = "end";

/** The last member of a recording, and those with markers, hold all of this. */
export interface RecordingSummary {
  readonly header: CastHeader;
  /** Of the last event, seconds since the start. */
  readonly duration: number;
  /** Who joined, in the order in which they came; without the owner. */
  readonly joined: readonly string[];
  /** It has the marker of a torn end. */
  readonly torn: boolean;
  /** It ends as one that was not cut off. */
  readonly complete: boolean;
}

/**
 * The members of a recording that are whole as far as their lengths say, in order.
 *
 * @param size how much of the file is looked at; all of it when omitted
 * @throws BadParameter when something else stands between or behind them; the places until then
 * are given first
 */
export async function* memberPlaces(
  file: Deno.FsFile,
  o: { from?: number; size?: number } = {},
): AsyncGenerator<MemberPlace> {
  const size = o.size ?? (await file.stat()).size;
  let offset = o.from ?? 0;
  while (offset < size) {
    const head = await readAt(file, offset, Math.min(MEMBER_HEADER_BYTES, size - offset));
    const member = readMemberHeader(head);
    if (member === undefined || offset + member.length > size) {
      throw new BadParameter(`The recording is torn or damaged at byte ${offset}`);
    }
    yield { offset, ...member };
    offset += member.length;
  }
}

/**
 * The lines of one member, without their line feeds.
 *
 * @throws BadParameter when it is damaged
 */
export async function readLines(file: Deno.FsFile, place: MemberPlace): Promise<string[]> {
  const bytes = await readAt(file, place.offset, place.length);
  if (bytes.length < place.length) throw new BadParameter("A part of the recording is missing");
  const text = utf8Decode(await inflateMember(bytes));
  if (!text.endsWith("\n")) throw new BadParameter("A part of the recording ends within a line");
  return text.slice(0, -1).split("\n");
}

/** @throws BadParameter when it is no recording, or damaged where it is looked at */
export async function summarize(file: Deno.FsFile, size?: number): Promise<RecordingSummary> {
  let header: CastHeader | undefined;
  let last: MemberPlace | undefined;
  const found = { duration: 0, joined: new Set<string>(), torn: false, complete: false };
  for await (const place of memberPlaces(file, size === undefined ? {} : { size })) {
    last = place;
    if (place.offset > 0 && (place.flags & HAS_NOTES) === 0) continue;
    const lines = await readLines(file, place);
    if (header === undefined) header = parseHeader(lines.shift() ?? "");
    for (const line of lines) note(parseEvent(line), found);
  }
  if (header === undefined || last === undefined) {
    throw new BadParameter("The recording is empty");
  }
  if (last.offset > 0) {
    found.duration = Math.max(found.duration, last.time);
    for (const line of await readLines(file, last)) {
      const event = parseEvent(line);
      if (event) found.duration = Math.max(found.duration, event.time);
    }
  }
  return { header, ...found, joined: [...found.joined] };
}

function note(
  event: CastEvent | undefined,
  found: { duration: number; joined: Set<string>; torn: boolean; complete: boolean },
): void {
  if (event === undefined) return;
  found.duration = Math.max(found.duration, event.time);
  if (event.type !== "marker") return;
  if (event.label.startsWith(TORN)) found.torn = true;
  if (event.label === END) found.complete = true;
  const name = /^join (.{1,255}) \((?:peer|observer|moderator)\)$/s.exec(event.label)?.[1];
  if (name !== undefined && found.joined.size < MAX_JOINED) found.joined.add(name);
}

const MAX_JOINED = 1000;

/** Up to `length` bytes; fewer at the end of the file. */
export async function readAt(
  file: Deno.FsFile,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await file.seek(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < length) {
    const n = await file.read(bytes.subarray(filled));
    if (n === null) break;
    filled += n;
  }
  return bytes.subarray(0, filled);
}
