/** A cache's state on disk: one JSON file, mode 0600, replaced in one step. */
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { parseResource } from "../resources/codec.ts";
import type { AnyResource } from "../resources/types.ts";
import { readTextIfExists, writeFileAtomic } from "../base/files.ts";

const VERSION = 1;

/**
 * @returns undefined when there is no file, or one of another version of the format
 * @throws BadParameter when a resource in it is not valid
 */
export async function loadSnapshot(path: string): Promise<AnyResource[] | undefined> {
  const text = await readTextIfExists(path);
  if (text === undefined) return undefined;
  const value = JSON.parse(text) as { version?: unknown; resources?: unknown } | null;
  if (value?.version !== VERSION || !Array.isArray(value.resources)) return undefined;
  return value.resources.map((resource) => parseResource(resource));
}

/** Pause between a change and its write, in milliseconds: many changes come together. */
const QUIET_MS = 500;
/** Of the machine's time at most one part in so many goes into writing. */
const SHARE = 50;

/** Writes the state a little after it changed, and less often the longer a write takes. */
export class SnapshotWriter {
  readonly #path: string;
  readonly #resources: () => AnyResource[];
  #timer: number | undefined;
  #writing: Promise<void> | undefined;
  #dirty = false;
  #closed = false;
  #lastTookMs = 0;

  constructor(path: string, resources: () => AnyResource[]) {
    this.#path = path;
    this.#resources = resources;
  }

  changed(): void {
    this.#dirty = true;
    if (this.#closed || this.#timer !== undefined || this.#writing) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, QUIET_MS + this.#lastTookMs * SHARE);
    // A process that has nothing else to do need not wait for its cache; close() writes it.
    Deno.unrefTimer(this.#timer);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#writing;
    if (this.#dirty) await this.#write();
  }

  #write(): Promise<void> {
    const write = async () => {
      this.#dirty = false;
      const started = performance.now();
      try {
        const state = { version: VERSION, resources: this.#resources() };
        await writeFileAtomic(this.#path, JSON.stringify(state));
      } catch (error) {
        this.#dirty = true;
        log("cache").warn("The cache cannot be written", {
          path: this.#path,
          error: messageOf(error),
        });
      }
      this.#lastTookMs = performance.now() - started;
    };
    this.#writing = write().finally(() => {
      this.#writing = undefined;
      if (this.#dirty && !this.#closed) this.changed();
    });
    return this.#writing;
  }
}
