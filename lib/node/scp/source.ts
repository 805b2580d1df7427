/** `scp -f`: gives files to the other side. */
import { OsError } from "../os/libc.ts";
import * as fs from "../os/fs.ts";
import { baseName, describe, join, messageOf } from "./names.ts";
import type { Peer } from "./peer.ts";

export interface SourceOptions {
  readonly recursive: boolean;
  readonly preserve: boolean;
}

/** Sends each of the paths. */
export function sendAll(peer: Peer, paths: fs.Path[], options: SourceOptions): void {
  // The other side begins.
  peer.answer();
  const source = new Source(peer, options);
  for (const path of paths) source.send(path);
}

const CHUNK = 256 * 1024;

class Source {
  readonly #peer: Peer;
  readonly #options: SourceOptions;
  readonly #buffer = new Uint8Array(CHUNK);

  constructor(peer: Peer, options: SourceOptions) {
    this.#peer = peer;
    this.#options = options;
  }

  send(path: fs.Path): void {
    let fd = -1;
    try {
      // Not to hang on a pipe that nobody writes to.
      fd = fs.open(path, fs.O_RDONLY | fs.O_NONBLOCK);
      const stat = fs.fstat(fd);
      const type = stat.mode & fs.S_IFMT;
      if (type === fs.S_IFREG) this.#file(fd, path, stat);
      else if (type !== fs.S_IFDIR) this.#peer.error(`${describe(path)}: not a regular file`);
      else if (!this.#options.recursive) this.#peer.error(`${describe(path)}: not a regular file`);
      else this.#directory(fd, path, stat);
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      this.#peer.error(`${describe(path)}: ${messageOf(error)}`);
    } finally {
      if (fd >= 0) fs.close(fd);
    }
  }

  #file(fd: number, path: fs.Path, stat: fs.Stat): void {
    if (!this.#times(stat)) return;
    if (!this.#announce("C", stat.mode, stat.size, path)) return;
    const failure = this.#contents(fd, stat.size);
    if (failure === undefined) this.#peer.ok();
    else this.#peer.error(`${describe(path)}: ${failure}`);
    this.#peer.answer();
  }

  /**
   * As many bytes as were announced, whatever the file does in between. A file that has become
   * shorter, or cannot be read on, is made up with zeros, and the error is said after them.
   */
  #contents(fd: number, size: bigint): string | undefined {
    let failure: string | undefined;
    let offset = 0n;
    while (offset < size) {
      const left = size - offset;
      const want = left > BigInt(CHUNK) ? CHUNK : Number(left);
      let n = 0;
      if (failure === undefined) {
        try {
          n = fs.pread(fd, this.#buffer.subarray(0, want), offset);
          if (n === 0) failure = "the file became shorter while it was read";
        } catch (error) {
          failure = messageOf(error);
        }
      }
      if (n === 0) {
        this.#buffer.fill(0, 0, want);
        n = want;
      }
      this.#peer.sendBytes(this.#buffer.subarray(0, n));
      offset += BigInt(n);
    }
    return failure;
  }

  #directory(fd: number, path: fs.Path, stat: fs.Stat): void {
    const names: Uint8Array[] = [];
    for (let some = fs.readNames(fd); some.length > 0; some = fs.readNames(fd)) {
      names.push(...some.filter((name) => !isDots(name)));
    }
    if (!this.#times(stat)) return;
    if (!this.#announce("D", stat.mode, 0n, path)) return;
    for (const name of names) this.send(join(path, name));
    this.#peer.send("E\n");
    this.#peer.answer();
  }

  #times(stat: fs.Stat): boolean {
    if (!this.#options.preserve) return true;
    const seconds = (time: bigint) => time < 0n ? 0n : time;
    this.#peer.send(`T${seconds(stat.mtime)} 0 ${seconds(stat.atime)} 0\n`);
    return this.#peer.answer();
  }

  #announce(kind: "C" | "D", mode: number, size: bigint, path: fs.Path): boolean {
    const octal = (mode & 0o7777).toString(8).padStart(4, "0");
    const head = new TextEncoder().encode(`${kind}${octal} ${size} `);
    const name = withoutLineEnds(baseName(path));
    const line = new Uint8Array(head.length + name.length + 1);
    line.set(head);
    line.set(name, head.length);
    line[line.length - 1] = 0x0a;
    this.#peer.sendBytes(line);
    return this.#peer.answer();
  }
}

function isDots(name: Uint8Array): boolean {
  return name.length <= 2 && name.every((byte) => byte === 0x2e);
}

/** A line feed would end the line early, and what follows would be taken for a command. */
function withoutLineEnds(name: Uint8Array): Uint8Array {
  if (!name.includes(0x0a)) return name;
  // As OpenSSH writes it.
  return new Uint8Array([...name].flatMap((byte) => byte === 0x0a ? [0x5c, 0x5e, 0x4a] : [byte]));
}
