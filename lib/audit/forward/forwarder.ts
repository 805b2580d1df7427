/**
 * Brings the audit log to another place, in order, each event at least once. How far it went is on
 * disk: what is written while the destination, or this server, is away is delivered later.
 */
import { Backoff, sleep } from "../../base/backoff.ts";
import { messageOf } from "../../base/errors.ts";
import { readTextIfExists, writeFileAtomic } from "../../base/files.ts";
import { log } from "../../base/log.ts";
import { edgeOf, type LogChunk, type LogPosition, readOn } from "./log_reader.ts";

export interface Destination {
  /** For people; without secrets. */
  readonly name: string;
  /** Where a destination begins that has had nothing yet. */
  readonly begin: "start" | "end";
  /** What a chunk holds at most, bytes; it may change. */
  readonly chunkBytes: number;
  /** Resolves when the destination has the chunk for good. */
  deliver(chunk: LogChunk, signal: AbortSignal): Promise<void>;
  close?(): void;
}

export interface ForwarderOptions {
  /** Of the log: `<data_dir>/log/<auth server's UUID>`. */
  readonly logs: string;
  /** The file that says how far it went. */
  readonly positionPath: string;
  readonly destination: Destination;
  readonly backoff?: Backoff;
}

/** What was written is looked at after so long, milliseconds: many events at once. */
const GATHER_MS = 200;
/** How long a delivery may still take when the daemon ends, milliseconds. */
const GIVE_UP_MS = 500;

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #isAway = false;
  #onStop = () => {};
  #giveUpTimer: number | undefined;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** There is more in the log. */
  wrote(): void {
    this.#wake.resolve();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the audit log is closed"));
    this.#onStop();
    this.#wake.resolve();
    await this.#loop;
    clearTimeout(this.#giveUpTimer);
    this.#options.destination.close?.();
  }

  /** Rejects a while after the end has begun. */
  #givenUp(): Promise<never> {
    return new Promise((_, reject) => {
      const giveUp = () => {
        this.#giveUpTimer = setTimeout(() => reject(this.#stop.signal.reason), GIVE_UP_MS);
      };
      this.#onStop = giveUp;
      if (this.#stop.signal.aborted) giveUp();
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = this.#options.backoff ?? new Backoff({ minMs: 500, maxMs: 60_000 });
    let position: LogPosition | undefined;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      try {
        position ??= await this.#begin();
        const moved: LogPosition | undefined = position && await this.#step(position);
        if (moved === undefined) {
          await this.#wake.promise;
          await sleep(GATHER_MS, signal).catch(() => {});
        } else {
          position = moved;
        }
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        this.#away(error);
        await sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #begin(): Promise<LogPosition | undefined> {
    const { logs, positionPath, destination } = this.#options;
    const saved = parsePosition(await readTextIfExists(positionPath) ?? "");
    if (saved !== undefined) return saved;
    const begin = await edgeOf(logs, destination.begin);
    // Saved at once: the end of the log must not move while the first delivery fails.
    if (begin !== undefined) await this.#save(begin);
    return begin;
  }

  /** The position after one chunk; undefined when there is none. */
  async #step(position: LogPosition): Promise<LogPosition | undefined> {
    const { logs, destination } = this.#options;
    const chunk = await readOn(logs, position, destination.chunkBytes);
    if (chunk === undefined) return undefined;
    // A pipe that nobody reads must not keep the daemon from its end.
    await Promise.race([destination.deliver(chunk, this.#stop.signal), this.#givenUp()]);
    const moved = { file: chunk.file, offset: chunk.offset + chunk.bytes.length };
    await this.#save(moved);
    if (this.#isAway) {
      this.#isAway = false;
      log("audit").info("Audit events are delivered again", { to: destination.name });
    }
    return moved;
  }

  async #save({ file, offset }: LogPosition): Promise<void> {
    await writeFileAtomic(this.#options.positionPath, `${file} ${offset}\n`);
  }

  #away(error: unknown): void {
    const { destination } = this.#options;
    log("audit")[this.#isAway ? "debug" : "warn"](
      "Audit events cannot be delivered, and wait in the log",
      { to: destination.name, error: messageOf(error) },
    );
    this.#isAway = true;
  }
}

function parsePosition(text: string): LogPosition | undefined {
  const [, file, offset] = /^(\d{4}-\d\d-\d\d\.00:00:00\.log) (\d{1,15})\n$/.exec(text) ?? [];
  return file === undefined ? undefined : { file, offset: Number(offset) };
}
