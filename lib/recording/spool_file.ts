/** One recording on this host's disk while it is written. */
import { dirname } from "node:path";
import { LimitExceeded } from "../base/errors.ts";
import { syncDirectory } from "../base/files.ts";
import type { RecordingMeta } from "./meta.ts";
import { MAX_RECORDING_BYTES } from "./limits.ts";
import type { MemberSink } from "./tape_writer.ts";

/** Space that must be there when a recording begins. */
const PROBE = new Uint8Array(64 * 1024);

export class SpoolFile implements MemberSink {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #onSynced: (size: number) => void;
  #size = 0;
  #syncedSize = 0;
  #syncing: Promise<void> | undefined;
  /** Why it cannot be synced: then nothing more is promised of it. */
  #broken: unknown;

  /** @throws Deno.errors.* e.g. when the disk is full: then nothing is left behind */
  constructor(
    paths: { path: string; statePath: string },
    meta: RecordingMeta,
    onSynced: (size: number) => void,
  ) {
    this.#path = paths.path;
    this.#onSynced = onSynced;
    this.#file = Deno.openSync(paths.path, { write: true, createNew: true, mode: 0o600 });
    try {
      Deno.writeTextFileSync(paths.statePath, JSON.stringify(meta) + "\n", { mode: 0o600 });
      this.#writeAll(PROBE);
      this.#cutBack();
    } catch (error) {
      this.#file.close();
      for (const path of [paths.path, paths.statePath]) removeQuietly(path);
      throw error;
    }
  }

  get size(): number {
    return this.#size;
  }

  /** A member that does not fit is taken back, so that the file stays one of whole members. */
  write(member: Uint8Array): void {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#size + member.length > MAX_RECORDING_BYTES) {
      throw new LimitExceeded(`a recording has at most ${MAX_RECORDING_BYTES} bytes`);
    }
    try {
      this.#writeAll(member);
    } catch (error) {
      this.#cutBack();
      throw error;
    }
    this.#size += member.length;
    this.#syncing ??= this.#sync();
  }

  /** Resolves when all of it is on stable storage. */
  async close(): Promise<void> {
    try {
      while (this.#syncedSize < this.#size) {
        await (this.#syncing ??= this.#sync());
        if (this.#broken !== undefined) throw this.#broken;
      }
    } finally {
      this.#file.close();
    }
  }

  async #sync(): Promise<void> {
    const size = this.#size;
    try {
      await this.#file.syncData();
      if (this.#syncedSize === 0) await syncDirectory(dirname(this.#path));
    } catch (error) {
      this.#broken = error;
      return;
    } finally {
      this.#syncing = undefined;
    }
    this.#syncedSize = size;
    this.#onSynced(size);
    if (this.#size > size) this.#syncing ??= this.#sync();
  }

  #writeAll(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }

  #cutBack(): void {
    this.#file.truncateSync(this.#size);
    this.#file.seekSync(this.#size, Deno.SeekMode.Start);
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not made.
  }
}
