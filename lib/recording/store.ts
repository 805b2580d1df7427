/**
 * The auth server's recordings: `<directory>/<sid>.cast.gz`, and beside each `<sid>.json` with what
 * is known of it. A recording only ever grows, by the host that began it, until that host says what
 * its hash must be. What cannot be read is moved to `<directory>/quarantine` and never deleted.
 */
import { createHash } from "node:crypto";
import { equalBytes, utf8Decode } from "../base/bytes.ts";
import {
  AccessDenied,
  BadParameter,
  CompareFailed,
  LimitExceeded,
  messageOf,
} from "../base/errors.ts";
import { privateDirectory, syncDirectory } from "../base/files.ts";
import { randomHex } from "../base/ids.ts";
import { log } from "../base/log.ts";
import { parseHeader, parseMeta } from "./cast.ts";
import { isDiskFull } from "./disk.ts";
import { MAX_RECORDING_BYTES } from "./limits.ts";
import { inflateMember, readMemberHeader } from "./members.ts";
import { recordingFileName, type RecordingInfo, type RecordingMeta } from "./meta.ts";
import { readAt, summarize } from "./reader.ts";
import { repairRecording } from "./repair.ts";
import { loadIndex, publicInfo, saveIndex, type StoredRecording } from "./store_index.ts";

/** The host that records, as its certificate says. */
export interface RecordingHost {
  readonly kind: "node" | "proxy";
  readonly hostId: string;
}

export interface RecordingStoreOptions {
  /** `<data_dir>/log/records`; made with mode 0700 when missing. */
  readonly directory: string;
  /** Of this cluster: what a host says of it does not count. */
  readonly cluster: string;
  /** A recording has come to its end here. */
  readonly onFinished?: (info: RecordingInfo, url: string) => void;
  /** Milliseconds of a clock that is never set; performance.now unless told. */
  readonly steadyNow?: () => number;
}

/** Recordings of one host that are not finished. */
const MAX_UNFINISHED = 10_000;
/** How often a recording may fail its hash before it is refused for good. */
const MAX_DISCARDED = 3;
/**
 * No more than this counts of what the clock says of the time before a start: it may have been set,
 * and every host gets an hour to come back.
 */
const MAX_SILENCE_MS = 23 * 3_600_000;
const HASH_SLICE = 256 * 1024;

export class RecordingStore {
  /** Resolves when what is on disk is known; every method waits for it. */
  readonly ready: Promise<void>;

  readonly #options: RecordingStoreOptions;
  readonly #steadyNow: () => number;
  readonly #recordings = new Map<string, StoredRecording>();
  /** When each unfinished one last grew, by the steady clock. */
  readonly #touched = new Map<string, number>();
  readonly #discarded = new Map<string, number>();
  /** The end of the last piece of work on each recording that is worked on. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #log = log("recordings");

  constructor(options: RecordingStoreOptions) {
    this.#options = options;
    this.#steadyNow = options.steadyNow ?? (() => performance.now());
    this.ready = this.#load();
    this.ready.catch((error) =>
      this.#log.error("The recordings cannot be read", { error: messageOf(error) })
    );
  }

  /** Path of a recording's file, whether it is there or not. */
  path(sid: string): string {
    return `${this.#options.directory}/${recordingFileName(sid)}`;
  }

  /** What is known of a recording; undefined when there is none of this id. */
  async info(sid: string): Promise<RecordingInfo | undefined> {
    await this.ready;
    const found = this.#recordings.get(sid);
    return found && publicInfo(found);
  }

  /** All recordings, in no order. */
  async all(): Promise<RecordingInfo[]> {
    await this.ready;
    return [...this.#recordings.values()].map(publicInfo);
  }

  /** How far the host has come with this recording. @throws AccessDenied when it is another's */
  async state(host: RecordingHost, sid: string): Promise<{ size: number; finished: boolean }> {
    await this.ready;
    const found = this.#recordings.get(sid);
    if (found === undefined) return { size: 0, finished: false };
    requireOwner(found, host);
    return found.given_up_at === undefined
      ? { size: found.size, finished: found.finished }
      : { size: found.given_up_at, finished: false };
  }

  /**
   * Adds to the end of a recording, or begins one. Bytes that were sent before are compared, so
   * that a host may repeat itself and cannot change what it has said.
   *
   * @returns the size after it
   * @throws AccessDenied for the recording of another host
   * @throws BadParameter when the first bytes are no recording of this session and host
   * @throws CompareFailed when the bytes do not join on to those that are here
   * @throws LimitExceeded when the disk is full, or the recording too large
   */
  append(
    host: RecordingHost,
    { sid, offset, data }: { sid: string; offset: number; data: Uint8Array },
  ): Promise<{ size: number }> {
    return this.#inTurn(sid, async () => {
      let found = this.#recordings.get(sid);
      if (found) requireOwner(found, host);
      const have = found?.given_up_at ?? found?.size ?? 0;
      if (offset > have) {
        throw new CompareFailed(`the recording ${sid} has ${have} bytes, ${offset} were expected`);
      }
      if (offset + data.length > MAX_RECORDING_BYTES) {
        throw new LimitExceeded(`a recording has at most ${MAX_RECORDING_BYTES} bytes`);
      }
      found ??= await this.#begin(host, sid, data);
      if (found.finished && found.given_up_at === undefined) {
        if (offset + data.length > have) {
          throw new CompareFailed(`the recording ${sid} is finished with ${have} bytes`);
        }
        return { size: have };
      }
      await this.#write(found, offset, data);
      this.#touched.set(sid, this.#steadyNow());
      return { size: found.size };
    });
  }

  /**
   * The end of a recording: when the hash is right, all of it is on stable storage when this
   * resolves with `stored`. When it is not, what is here is put aside, and the host may begin
   * again at `size`.
   *
   * @throws AccessDenied for the recording of another host
   * @throws LimitExceeded when the disk is full
   */
  finish(
    host: RecordingHost,
    { sid, size, sha256 }: { sid: string; size: number; sha256: string },
  ): Promise<{ stored: boolean; size: number }> {
    return this.#inTurn(sid, async () => {
      const found = this.#recordings.get(sid);
      if (found === undefined) return { stored: false, size: 0 };
      requireOwner(found, host);
      const have = found.given_up_at ?? found.size;
      if (found.finished && found.sha256 === sha256) return { stored: true, size: found.size };
      if (have < size) return { stored: false, size: have };
      if (found.finished && found.given_up_at === undefined) {
        throw new CompareFailed(`the recording ${sid} is finished with other contents`);
      }
      if (found.given_up_at !== undefined) await this.#reopen(found);
      if (have > size || await this.#hash(sid) !== sha256) {
        await this.#discard(found);
        return { stored: false, size: 0 };
      }
      await this.#complete(found, sha256);
      return { stored: true, size };
    });
  }

  /**
   * Ends the recordings whose hosts have not been heard of for so long: torn ends are cut off and
   * marked. Should the host come back after all, it goes on where it was.
   *
   * @returns what was ended, with the ids of the hosts
   */
  async giveUp(o: { idleMs: number }): Promise<{ info: RecordingInfo; hostId: string }[]> {
    await this.ready;
    const now = this.#steadyNow();
    const ended: { info: RecordingInfo; hostId: string }[] = [];
    for (const [sid, touched] of [...this.#touched]) {
      if (now - touched < o.idleMs) continue;
      await this.#inTurn(sid, async () => {
        const found = this.#recordings.get(sid);
        if (found === undefined || found.finished) return;
        try {
          await this.#endWithoutHost(found);
          ended.push({ info: publicInfo(found), hostId: found.host_id });
        } catch (error) {
          if (!(error instanceof BadParameter)) throw error;
          await this.#quarantine(sid, messageOf(error));
        }
      }).catch((error) =>
        this.#log.error("A recording cannot be ended", { sid, error: messageOf(error) })
      );
    }
    return ended;
  }

  /** Removes a finished recording for good. @returns whether it was finished, and is gone */
  remove(sid: string): Promise<boolean> {
    return this.#inTurn(sid, async () => {
      const found = this.#recordings.get(sid);
      if (!found?.finished) return found === undefined;
      // A crash in between leaves a description without contents, which is put aside later.
      await Deno.remove(this.path(sid));
      await Deno.remove(`${this.#options.directory}/${sid}.json`);
      this.#recordings.delete(sid);
      return true;
    });
  }

  /** One piece of work after the other for each recording. */
  async #inTurn<T>(sid: string, work: () => Promise<T>): Promise<T> {
    await this.ready;
    const turn = (this.#turns.get(sid) ?? Promise.resolve()).catch(() => {}).then(work);
    this.#turns.set(sid, turn);
    try {
      return await turn;
    } catch (error) {
      if (isDiskFull(error)) {
        throw new LimitExceeded("the auth server's disk is full", { cause: error });
      }
      throw error;
    } finally {
      if (this.#turns.get(sid) === turn) this.#turns.delete(sid);
    }
  }

  async #begin(host: RecordingHost, sid: string, data: Uint8Array): Promise<StoredRecording> {
    const meta = await metaOf(data);
    if (meta.sid !== sid) throw new BadParameter("the recording is of another session");
    if (meta.recorded_by !== host.kind) {
      throw new BadParameter(`a ${host.kind} sent a recording that says "${meta.recorded_by}"`);
    }
    if (host.kind === "node" && meta.server_id !== host.hostId) {
      throw new AccessDenied("a node records its own sessions only");
    }
    const unfinished = [...this.#touched.keys()]
      .filter((each) => this.#recordings.get(each)?.host_id === host.hostId).length;
    if (unfinished >= MAX_UNFINISHED || (this.#discarded.get(sid) ?? 0) >= MAX_DISCARDED) {
      throw new LimitExceeded("too many recordings of this host are not finished");
    }
    const begun: StoredRecording = {
      ...meta,
      cluster: this.#options.cluster,
      size: 0,
      finished: false,
      torn: false,
      participants: [meta.user],
      host_id: host.hostId,
    };
    // Before the recording itself: it says whose that is.
    await saveIndex(this.#options.directory, begun);
    this.#recordings.set(sid, begun);
    this.#touched.set(sid, this.#steadyNow());
    return begun;
  }

  async #write(found: StoredRecording, offset: number, data: Uint8Array): Promise<void> {
    if (found.given_up_at !== undefined) await this.#reopen(found);
    using file = await Deno.open(this.path(found.sid), {
      read: true,
      write: true,
      create: true,
      mode: 0o600,
    });
    const known = Math.min(found.size - offset, data.length);
    if (known > 0 && !equalBytes(await readAt(file, offset, known), data.subarray(0, known))) {
      throw new CompareFailed(`the recording ${found.sid} has other bytes at ${offset}`);
    }
    const rest = data.subarray(known);
    if (rest.length === 0) return;
    await file.seek(found.size, Deno.SeekMode.Start);
    try {
      for (let done = 0; done < rest.length;) done += await file.write(rest.subarray(done));
    } catch (error) {
      await file.truncate(found.size).catch(() => {});
      throw error;
    }
    found.size += rest.length;
  }

  async #complete(found: StoredRecording, sha256: string): Promise<void> {
    using file = await Deno.open(this.path(found.sid), { read: true, write: true });
    await file.syncData();
    try {
      const { duration, joined, torn, complete } = await summarize(file);
      Object.assign(found, {
        finished: true,
        sha256,
        torn: torn || !complete,
        ended: new Date(Date.parse(found.started) + duration * 1000).toISOString(),
        duration_ms: Math.round(duration * 1000),
        participants: [...new Set([found.user, ...joined])],
      });
    } catch (error) {
      if (!(error instanceof BadParameter || error instanceof RangeError)) throw error;
      // The host has no better copy: it is kept here, where it harms nobody.
      await this.#quarantine(found.sid, messageOf(error));
      return;
    }
    await saveIndex(this.#options.directory, found);
    await syncDirectory(this.#options.directory);
    this.#touched.delete(found.sid);
    this.#options.onFinished?.(publicInfo(found), `file://${this.path(found.sid)}`);
  }

  async #endWithoutHost(found: StoredRecording): Promise<void> {
    const { whole, size } = await repairRecording(this.path(found.sid), {
      why: "the host that recorded this session did not come back",
      meta: parseMeta(found),
    });
    found.size = size;
    found.given_up_at = whole;
    await this.#complete(found, await this.#hash(found.sid));
  }

  /** Takes the markers away again that were put behind what the host had sent. */
  async #reopen(found: StoredRecording): Promise<void> {
    const size = found.given_up_at!;
    await Deno.truncate(this.path(found.sid), size);
    found.size = size;
    found.finished = false;
    found.torn = false;
    delete found.given_up_at;
    delete found.sha256;
    this.#touched.set(found.sid, this.#steadyNow());
    await saveIndex(this.#options.directory, found);
  }

  async #discard(found: StoredRecording): Promise<void> {
    this.#discarded.set(found.sid, (this.#discarded.get(found.sid) ?? 0) + 1);
    await this.#quarantine(found.sid, "it is not what the host has");
  }

  async #quarantine(sid: string, why: string): Promise<void> {
    const { directory } = this.#options;
    const aside = await privateDirectory(`${directory}/quarantine`);
    const name = `${sid}.${randomHex(4)}`;
    this.#recordings.delete(sid);
    this.#touched.delete(sid);
    await moveIfThere(this.path(sid), `${aside}/${name}.cast.gz`);
    await moveIfThere(`${directory}/${sid}.json`, `${aside}/${name}.json`);
    this.#log.error("A recording was put aside", { sid, why, directory: aside });
  }

  async #hash(sid: string): Promise<string> {
    using file = await Deno.open(this.path(sid));
    const hash = createHash("sha256");
    const slice = new Uint8Array(HASH_SLICE);
    for (let n; (n = await file.read(slice)) !== null;) hash.update(slice.subarray(0, n));
    return hash.digest("hex");
  }

  /** For how long a recording has not grown before this start, in milliseconds, within bounds. */
  async #silence(sid: string): Promise<number> {
    const { mtime } = await Deno.stat(this.path(sid)).catch(() => ({ mtime: null }));
    return mtime ? Math.min(Math.max(0, Date.now() - mtime.getTime()), MAX_SILENCE_MS) : 0;
  }

  async #load(): Promise<void> {
    const directory = await privateDirectory(this.#options.directory);
    const { recordings, unreadable } = await loadIndex(directory);
    for (const recording of recordings) {
      this.#recordings.set(recording.sid, recording);
      if (!recording.finished) {
        this.#touched.set(recording.sid, this.#steadyNow() - await this.#silence(recording.sid));
      }
    }
    for (const { sid, why } of unreadable) await this.#quarantine(sid, why);
  }
}

/** @throws BadParameter unless the bytes begin with a recording's first member, whole */
async function metaOf(data: Uint8Array): Promise<RecordingMeta> {
  const member = readMemberHeader(data);
  if (member === undefined || member.length > data.length) {
    throw new BadParameter("the bytes are not the beginning of a recording");
  }
  const text = utf8Decode(await inflateMember(data.subarray(0, member.length)));
  const { teleport } = parseHeader(text.slice(0, text.indexOf("\n")));
  if (teleport === undefined) throw new BadParameter("the recording lacks its description");
  return teleport;
}

function requireOwner(recording: StoredRecording, host: RecordingHost): void {
  if (recording.host_id === host.hostId && recording.recorded_by === host.kind) return;
  throw new AccessDenied(`the recording ${recording.sid} is another host's`);
}

async function moveIfThere(from: string, to: string): Promise<void> {
  await Deno.rename(from, to).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
