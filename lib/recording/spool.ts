/**
 * Recordings on this host's disk, until the auth service has them: `<sid>.cast.gz`, which grows
 * while its session runs, and `<sid>.json`, the description of the session.
 */
import { messageOf } from "../base/errors.ts";
import { privateDirectory } from "../base/files.ts";
import { isUuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import { parseMeta } from "./cast.ts";
import { recordingFileName, type RecordingMeta, sidOfFileName } from "./meta.ts";

export interface SpooledRecording {
  readonly sid: string;
  /** On stable storage; what is sent may not be more, or a crash would leave less than was sent. */
  size: number;
  /** Nothing more is added. */
  ended: boolean;
}

const MAX_STATE_BYTES = 64 * 1024;

export class RecordingSpool {
  readonly #directory: string;
  readonly #recordings = new Map<string, SpooledRecording>();
  readonly #listeners = new Set<(recording: SpooledRecording) => void>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * @returns the spool, and the session ids of what an earlier run has left in it
   * @throws Deno.errors.* when the directory cannot be used
   */
  static async open(
    directory: string,
  ): Promise<{ spool: RecordingSpool; left: readonly string[] }> {
    await privateDirectory(directory);
    const left = new Set<string>();
    const described = new Set<string>();
    for await (const { name, isFile } of Deno.readDir(directory)) {
      if (!isFile) continue;
      const sid = sidOfFileName(name);
      if (sid !== undefined) left.add(sid);
      else if (isUuid(name.replace(/\.json$/, ""))) described.add(name.replace(/\.json$/, ""));
    }
    const spool = new RecordingSpool(directory);
    // A kill came between the two removals of a recording that is at auth.
    for (const sid of described.difference(left)) await spool.remove(sid);
    return { spool, left: [...left].sort() };
  }

  /** Those that are to be sent, the oldest first. */
  get recordings(): readonly SpooledRecording[] {
    return [...this.#recordings.values()];
  }

  /** Of all of them, whether they were sent or not. */
  get bytes(): number {
    let sum = 0;
    for (const { size } of this.#recordings.values()) sum += size;
    return sum;
  }

  get count(): number {
    return this.#recordings.size;
  }

  path(sid: string): string {
    return `${this.#directory}/${recordingFileName(sid)}`;
  }

  statePath(sid: string): string {
    return `${this.#directory}/${sid}.json`;
  }

  /** Calls the listener when a recording has grown or ended; the answer takes it off again. */
  onChange(listener: (recording: SpooledRecording) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A recording is so large now, or has ended with this size. */
  update(sid: string, size: number, o: { ended: boolean }): void {
    const recording = this.#recordings.get(sid) ?? { sid, size: 0, ended: false };
    recording.size = Math.max(recording.size, size);
    recording.ended ||= o.ended;
    this.#recordings.set(sid, recording);
    for (const listener of this.#listeners) listener(recording);
  }

  /** The description of a session; undefined when it cannot be read. */
  async describe(sid: string): Promise<RecordingMeta | undefined> {
    try {
      const { isFile, size } = await Deno.lstat(this.statePath(sid));
      if (!isFile || size > MAX_STATE_BYTES) return undefined;
      const meta = parseMeta(JSON.parse(await Deno.readTextFile(this.statePath(sid))));
      return meta.sid === sid ? meta : undefined;
    } catch {
      return undefined;
    }
  }

  /** The auth service has it. */
  async remove(sid: string): Promise<void> {
    this.#recordings.delete(sid);
    // The recording first: without it, the description means nothing.
    for (const path of [this.path(sid), this.statePath(sid)]) {
      await Deno.remove(path).catch((error) => {
        if (error instanceof Deno.errors.NotFound) return;
        log("recording").warn("A recording that is at auth cannot be removed here", {
          sid,
          error: messageOf(error),
        });
      });
    }
  }

  /** Puts aside what nobody can read, so that the others go on. */
  async quarantine(sid: string, why: string): Promise<void> {
    this.#recordings.delete(sid);
    const aside = `${this.#directory}/quarantine`;
    log("recording").error("A recording cannot be read and is put aside", {
      sid,
      why,
      directory: aside,
    });
    try {
      await privateDirectory(aside);
      await Deno.rename(this.path(sid), `${aside}/${recordingFileName(sid)}`);
      await Deno.rename(this.statePath(sid), `${aside}/${sid}.json`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      log("recording").error("It cannot be put aside", { sid, error: messageOf(error) });
    }
  }
}
