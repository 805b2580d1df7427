/** Recordings that a killed daemon has left behind: the torn end is cut off, and a marker says so. */
import { BadParameter } from "../base/errors.ts";
import { headerLine, markerLine } from "./cast.ts";
import { isDiskFull } from "./disk.ts";
import { encodeMember, HAS_NOTES } from "./members.ts";
import type { RecordingMeta } from "./meta.ts";
import { memberPlaces, readLines, type RecordingSummary, summarize, TORN } from "./reader.ts";

export interface Repaired {
  readonly summary: RecordingSummary;
  /** Of the repaired file, bytes. */
  readonly size: number;
  /** How much of it was whole before; what follows are the repair's own markers. */
  readonly whole: number;
}

/**
 * Cuts the file back to its last whole member, and adds the marker "torn: <why>" unless the
 * recording has come to its end. What it leaves is on stable storage.
 *
 * @param meta for the header, where nothing of the file can be read
 * @throws BadParameter when there is nothing to read and no `meta`
 * @throws Deno.errors.* as the file system reports them
 */
export async function repairRecording(
  path: string,
  o: { why: string; meta?: RecordingMeta | undefined },
): Promise<Repaired> {
  using file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  const whole = await wholeSize(file);
  await file.truncate(whole);
  const summary = whole > 0 ? await summarize(file) : undefined;
  if (summary?.complete || summary?.torn) {
    await file.syncData();
    return { summary, size: whole, whole };
  }
  if (summary === undefined && o.meta === undefined) {
    throw new BadParameter("The recording has no part that can be read");
  }
  const time = summary?.duration ?? 0;
  const lines = (summary === undefined ? headerLine(o.meta!) : "") +
    markerLine(time, TORN + o.why);
  const member = encodeMember(new TextEncoder().encode(lines), {
    time,
    flags: HAS_NOTES,
    compression: "ordinary",
  });
  try {
    await file.seek(whole, Deno.SeekMode.Start);
    for (let done = 0; done < member.length;) done += await file.write(member.subarray(done));
  } catch (error) {
    await file.truncate(whole);
    if (summary === undefined || !isDiskFull(error)) throw error;
    // It can leave this disk without its marker: that its end is missing says the same.
    await file.syncData();
    return { summary, size: whole, whole };
  }
  await file.syncData();
  return { summary: await summarize(file), size: whole + member.length, whole };
}

/** Bytes of the whole and undamaged members at the head of the file. */
async function wholeSize(file: Deno.FsFile): Promise<number> {
  let whole = 0;
  try {
    for await (const place of memberPlaces(file)) {
      await readLines(file, place);
      whole = place.offset + place.length;
    }
  } catch (error) {
    if (!(error instanceof BadParameter)) throw error;
  }
  return whole;
}

/** Why a recording that was found at the start of a daemon ends where it does. */
export const KILLED = "the daemon that recorded this session was killed";
