/** `scp -t`: takes files from the other side. */
import { OsError } from "../os/libc.ts";
import * as fs from "../os/fs.ts";
import { describe, join, messageOf } from "./names.ts";
import { type Peer, PeerGone } from "./peer.ts";

export interface SinkOptions {
  readonly recursive: boolean;
  /** Modes and times as the other side has them. */
  readonly preserve: boolean;
  /** The target must be a directory. */
  readonly targetIsDirectory: boolean;
  /** Mask for the modes of what is not preserved. */
  readonly umask: number;
}

interface Times {
  readonly atime: bigint;
  readonly mtime: bigint;
}

interface Entry {
  readonly mode: number;
  readonly size: bigint;
  readonly name: Uint8Array;
}

const ENOTDIR = 20;

/** Receives into `target`: a directory, or the new name of one file. */
export function receive(peer: Peer, target: fs.Path, options: SinkOptions): void {
  if (options.targetIsDirectory && !isDirectory(target)) {
    peer.error(`${describe(target)}: Not a directory`);
    return;
  }
  peer.ok();
  new Sink(peer, options).directory(target, 0);
}

/** Deeper than any path can be. */
const MAX_DEPTH = 2048;

class Sink {
  readonly #peer: Peer;
  readonly #options: SinkOptions;

  constructor(peer: Peer, options: SinkOptions) {
    this.#peer = peer;
    this.#options = options;
  }

  /** Everything up to the end of this directory. */
  directory(target: fs.Path, depth: number): void {
    if (depth > MAX_DEPTH) throw new PeerGone();
    let times: Times | undefined;
    for (let line = this.#peer.line(); line; line = this.#peer.line()) {
      const kind = String.fromCharCode(line[0]!);
      if (kind === "E") {
        this.#peer.ok();
        return;
      }
      if (kind === "T") {
        times = parseTimes(line);
        if (!times) return this.#protocolError("malformed times");
        this.#peer.ok();
        continue;
      }
      const entry = kind === "C" || kind === "D" ? parseEntry(line) : undefined;
      if (!entry) return this.#protocolError("malformed line");
      if (!isPlainName(entry.name)) {
        return this.#protocolError(`unexpected filename: ${describe(entry.name)}`);
      }
      const path = isDirectory(target) ? join(target, entry.name) : target;
      if (kind === "D") this.#subdirectory(path, entry, times, depth);
      else this.#file(path, entry, times);
      times = undefined;
    }
  }

  #subdirectory(path: fs.Path, entry: Entry, times: Times | undefined, depth: number): void {
    if (!this.#options.recursive) {
      return this.#protocolError("received directory without -r");
    }
    let made = false;
    try {
      if (fs.exists(path)) {
        if (!isDirectory(path)) throw new OsError("mkdir", ENOTDIR);
        if (this.#options.preserve) fs.chmod({ path }, entry.mode);
      } else {
        // Writable until its files are in it.
        fs.mkdir(path, entry.mode | 0o700);
        made = true;
      }
    } catch (error) {
      this.#peer.error(`${describe(path)}: ${messageOf(error)}`);
      return;
    }
    this.#peer.ok();
    this.directory(path, depth + 1);
    this.#finish({ path }, path, times, () => {
      if (made) fs.chmod({ path }, this.#mode(entry.mode));
    });
  }

  #file(path: fs.Path, entry: Entry, times: Times | undefined): void {
    let fd: number;
    let existed = false;
    try {
      existed = fs.exists(path);
      fd = fs.open(path, fs.O_WRONLY | fs.O_CREAT, entry.mode | 0o200);
    } catch (error) {
      this.#peer.error(`${describe(path)}: ${messageOf(error)}`);
      return;
    }
    try {
      this.#peer.ok();
      let failure = this.#contents(fd, entry.size);
      failure ??= attempt(() => {
        if (isRegular(fs.fstat(fd))) fs.truncate({ fd }, entry.size);
        if (this.#options.preserve || !existed) fs.chmod({ fd }, this.#mode(entry.mode));
      });
      // Whatever comes of it, the other side's own word on the file is read first.
      const sent = this.#peer.answer();
      if (sent && times) failure ??= attempt(() => fs.setTimes({ fd }, times.atime, times.mtime));
      if (failure !== undefined) this.#peer.error(`${describe(path)}: ${failure}`);
      else this.#peer.ok();
    } finally {
      fs.close(fd);
    }
  }

  /** Takes all of the bytes, also when they cannot be written: the protocol has no way to stop. */
  #contents(fd: number, size: bigint): string | undefined {
    let failure: string | undefined;
    let offset = 0n;
    while (offset < size) {
      const left = size - offset;
      const data = this.#peer.data(left > 0x7fff_ffffn ? 0x7fff_ffff : Number(left));
      failure ??= attempt(() => fs.writeAll(fd, data));
      offset += BigInt(data.length);
    }
    return failure;
  }

  #finish(target: fs.Target, path: fs.Path, times: Times | undefined, last: () => void): void {
    const failure = attempt(() => {
      if (times && this.#options.preserve) fs.setTimes(target, times.atime, times.mtime);
      last();
    });
    if (failure !== undefined) {
      this.#peer.errors++;
      this.#peer.send(`\x01scp: ${describe(path)}: ${failure}\n`);
    }
  }

  #mode(mode: number): number {
    return this.#options.preserve ? mode : mode & ~this.#options.umask;
  }

  #protocolError(message: string): never {
    this.#peer.errors++;
    this.#peer.send(`\x02scp: protocol error: ${message}\n`);
    throw new PeerGone();
  }
}

function attempt(what: () => void): string | undefined {
  try {
    what();
    return undefined;
  } catch (error) {
    if (error instanceof OsError) return messageOf(error);
    throw error;
  }
}

function isDirectory(path: fs.Path): boolean {
  try {
    return (fs.stat(path).mode & fs.S_IFMT) === fs.S_IFDIR;
  } catch {
    return false;
  }
}

function isRegular(stat: fs.Stat): boolean {
  return (stat.mode & fs.S_IFMT) === fs.S_IFREG;
}

/** Attack 41: a name that leads out of the directory it is meant for. */
function isPlainName(name: Uint8Array): boolean {
  if (name.length === 0 || name.includes(0x2f) || name.includes(0)) return false;
  return !name.every((byte) => byte === 0x2e) || name.length > 2;
}

const decoder = new TextDecoder("latin1");

/** `T<mtime> <µs> <atime> <µs>` */
function parseTimes(line: Uint8Array): Times | undefined {
  const match = /^T(\d{1,18}) \d{1,6} (\d{1,18}) \d{1,6}$/.exec(decoder.decode(line));
  return match ? { mtime: BigInt(match[1]!), atime: BigInt(match[2]!) } : undefined;
}

/** `C<mode> <size> <name>`, `D<mode> 0 <name>` */
function parseEntry(line: Uint8Array): Entry | undefined {
  const match = /^[CD]([0-7]{4}) (\d{1,18}) /.exec(decoder.decode(line));
  if (!match) return undefined;
  return {
    mode: parseInt(match[1]!, 8) & 0o7777,
    size: BigInt(match[2]!),
    name: line.subarray(match[0].length),
  };
}
