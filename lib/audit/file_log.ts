/**
 * The audit log on disk: JSON lines in one file a day,
 * `<directory>/<server id>/YYYY-MM-DD.00:00:00.log` (UTC), and `<directory>/events.log`, a symbolic
 * link to today's.
 *
 * A line is handed to the kernel in one write before `write()` returns, so it outlives the process;
 * `sync()` makes it outlive the machine.
 */
import type { Clock } from "../base/clock.ts";
import { systemClock } from "../base/clock.ts";
import { utf8Encode } from "../base/bytes.ts";
import type { StoredEvent } from "./events.ts";

/** Where the audit log puts what it has stamped. */
export interface EventSink {
  /** Appends in order. @throws when the disk does not take it; what came before is kept */
  write(events: readonly StoredEvent[]): void;
  /** Resolves when everything written so far is on stable storage. */
  sync(): Promise<void>;
  /** The newest events, oldest first, at most about `maxBytes` of them. */
  recent(maxBytes: number): StoredEvent[];
  close(): void;
}

export interface FileLogOptions {
  /** Made with mode 0700 when missing. */
  directory: string;
  /** UUID of the auth server that writes. */
  serverId: string;
  clock?: Clock;
}

export class FileLog implements EventSink {
  readonly #directory: string;
  readonly #serverId: string;
  readonly #clock: Clock;
  #file: Deno.FsFile | undefined;
  #name = "";
  /** The file ends in the middle of a line. */
  #torn = false;
  #syncing: Promise<void> | undefined;
  #syncAgain: Promise<void> | undefined;

  /** @throws Deno.errors.* when the directory or today's file cannot be made */
  constructor(options: FileLogOptions) {
    this.#directory = options.directory;
    this.#serverId = options.serverId;
    this.#clock = options.clock ?? systemClock;
    Deno.mkdirSync(this.#own(), { recursive: true, mode: 0o700 });
    this.#today();
  }

  write(events: readonly StoredEvent[]): void {
    if (events.length === 0) return;
    const file = this.#today();
    for (const event of events) {
      const line = utf8Encode(`${this.#torn ? "\n" : ""}${JSON.stringify(event)}\n`);
      // Until all of it is written, the file ends in the middle of this line.
      this.#torn = true;
      for (let done = 0; done < line.length;) done += file.writeSync(line.subarray(done));
      this.#torn = false;
    }
  }

  /** Calls that come while one is under way share the next one. */
  sync(): Promise<void> {
    if (this.#syncing === undefined) return this.#syncing = this.#syncNow();
    return this.#syncAgain ??= this.#syncing.catch(() => {}).then(() => {
      this.#syncAgain = undefined;
      return this.#syncing = this.#syncNow();
    });
  }

  recent(maxBytes: number): StoredEvent[] {
    const names = [...Deno.readDirSync(this.#own())].map((entry) => entry.name)
      .filter((name) => /^\d{4}-\d\d-\d\d\.00:00:00\.log$/.test(name)).sort().reverse();
    const texts: string[] = [];
    let left = maxBytes;
    for (const name of names) {
      if (left <= 0) break;
      const text = readTail(`${this.#own()}/${name}`, left);
      left -= text.length;
      texts.unshift(text);
    }
    return texts.join("").split("\n").flatMap(parseLine);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #own(): string {
    return `${this.#directory}/${this.#serverId}`;
  }

  #today(): Deno.FsFile {
    const name = `${new Date(this.#clock.now()).toISOString().slice(0, 10)}.00:00:00.log`;
    // A clock that steps back must not reopen yesterday.
    if (this.#file !== undefined && name <= this.#name) return this.#file;
    const path = `${this.#own()}/${name}`;
    const file = Deno.openSync(path, { read: true, append: true, create: true, mode: 0o600 });
    if (this.#file !== undefined) {
      this.#file.syncDataSync();
      this.#file.close();
    }
    this.#file = file;
    this.#name = name;
    this.#torn = endsInLine(file);
    this.#link(name);
    return file;
  }

  #link(name: string): void {
    const link = `${this.#directory}/events.log`;
    const temporary = `${link}.${this.#serverId}`;
    try {
      Deno.removeSync(temporary);
    } catch (e) {
      if (!(e instanceof Deno.errors.NotFound)) throw e;
    }
    Deno.symlinkSync(`${this.#serverId}/${name}`, temporary);
    Deno.renameSync(temporary, link);
  }

  async #syncNow(): Promise<void> {
    try {
      await this.#file?.syncData();
    } finally {
      this.#syncing = undefined;
    }
  }
}

function endsInLine(file: Deno.FsFile): boolean {
  if (file.statSync().size === 0) return false;
  file.seekSync(-1, Deno.SeekMode.End);
  const last = new Uint8Array(1);
  file.readSync(last);
  return last[0] !== 0x0a;
}

/** Whole lines from the end of the file, at most `maxBytes`. */
function readTail(path: string, maxBytes: number): string {
  using file = Deno.openSync(path);
  const { size } = file.statSync();
  const start = Math.max(0, size - maxBytes);
  file.seekSync(start, Deno.SeekMode.Start);
  const bytes = new Uint8Array(size - start);
  let done = 0;
  while (done < bytes.length) {
    const n = file.readSync(bytes.subarray(done));
    if (n === null) break;
    done += n;
  }
  const text = new TextDecoder().decode(bytes.subarray(0, done));
  return start === 0 ? text : text.slice(text.indexOf("\n") + 1);
}

function parseLine(line: string): StoredEvent[] {
  if (line === "") return [];
  try {
    return [JSON.parse(line) as StoredEvent];
  } catch {
    // A line that a crash tore.
    return [];
  }
}
