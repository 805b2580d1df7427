/** The files `<sid>.json` beside the auth server's recordings. */
import { BadParameter, messageOf } from "../base/errors.ts";
import { readTextIfExists, writeFileAtomic } from "../base/files.ts";
import { isUuid } from "../base/ids.ts";
import { parseMeta } from "./cast.ts";
import { recordingFileName, type RecordingInfo, sidOfFileName } from "./meta.ts";
import { summarize } from "./reader.ts";

/** What is kept of a recording beyond what others are told. */
export interface StoredRecording extends RecordingInfo {
  /** The host that began it, and may go on with it. */
  host_id: string;
  /** It was ended without its host, which had sent so many bytes. */
  given_up_at?: number;
}

const READ_AT_ONCE = 32;

export function publicInfo(recording: StoredRecording): RecordingInfo {
  const { host_id: _, given_up_at: __, ...info } = recording;
  return info;
}

export async function saveIndex(directory: string, recording: StoredRecording): Promise<void> {
  await writeFileAtomic(`${directory}/${recording.sid}.json`, JSON.stringify(recording) + "\n");
}

/** Recordings that are on disk; those of which too little is known are to be put aside. */
export async function loadIndex(directory: string): Promise<{
  recordings: StoredRecording[];
  unreadable: { sid: string; why: string }[];
}> {
  const sids = new Set<string>();
  for await (const { name, isFile } of Deno.readDir(directory)) {
    if (!isFile) continue;
    const sid = sidOfFileName(name) ?? name.replace(/\.json$/, "");
    if (isUuid(sid)) sids.add(sid);
  }
  const recordings: StoredRecording[] = [];
  const unreadable: { sid: string; why: string }[] = [];
  const left = sids.values();
  // Side by side: there may be many thousands.
  await Promise.all(Array.from({ length: READ_AT_ONCE }, async () => {
    for (const sid of left) {
      try {
        recordings.push(await load(directory, sid));
      } catch (error) {
        unreadable.push({ sid, why: messageOf(error) });
      }
    }
  }));
  return { recordings, unreadable };
}

async function load(directory: string, sid: string): Promise<StoredRecording> {
  const path = `${directory}/${recordingFileName(sid)}`;
  const size = await sizeOf(path);
  const text = await readTextIfExists(`${directory}/${sid}.json`);
  if (text === undefined) return await rebuild(directory, path, size);
  const value = parseJson(text);
  const meta = parseMeta(value);
  const { finished, torn, participants, host_id, sha256, ended, duration_ms, given_up_at } =
    value as Partial<StoredRecording>;
  if (meta.sid !== sid || typeof host_id !== "string") {
    throw new BadParameter("its description is of another session");
  }
  if (finished && (value as StoredRecording).size !== size) {
    throw new BadParameter(
      `it has ${size} bytes, and had ${(value as StoredRecording).size} when it was finished`,
    );
  }
  return {
    ...meta,
    size,
    finished: finished === true,
    torn: torn === true,
    participants: Array.isArray(participants) ? participants.map(String) : [meta.user],
    host_id,
    ...(typeof sha256 === "string" ? { sha256 } : {}),
    ...(typeof ended === "string" ? { ended } : {}),
    ...(typeof duration_ms === "number" ? { duration_ms } : {}),
    ...(typeof given_up_at === "number" ? { given_up_at } : {}),
  };
}

/** The description has gone: a node's recording says itself whose it is. */
async function rebuild(
  directory: string,
  path: string,
  size: number,
): Promise<StoredRecording> {
  using file = await Deno.open(path);
  const { header: { teleport: meta }, joined, torn } = await summarize(file);
  if (meta === undefined || meta.recorded_by !== "node") {
    throw new BadParameter("nobody knows which host it is from");
  }
  const recording: StoredRecording = {
    ...meta,
    size,
    finished: false,
    torn,
    participants: [...new Set([meta.user, ...joined])],
    host_id: meta.server_id,
  };
  await saveIndex(directory, recording);
  return recording;
}

async function sizeOf(path: string): Promise<number> {
  try {
    const { isFile, size } = await Deno.lstat(path);
    if (isFile) return size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
  throw new BadParameter("it is no regular file");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BadParameter("its description is not JSON", { cause });
  }
}
