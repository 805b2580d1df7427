/**
 * A pseudo-terminal: the master as two Node streams, the other side as a path for the session's
 * leader to open.
 */
import type { Readable, Writable } from "node:stream";
import { Child } from "../os/child.ts";
import { FdReadable, FdWritable } from "../os/fd_stream.ts";
import {
  check,
  checkCode,
  closeFd,
  F_DUPFD_CLOEXEC,
  libc,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDWR,
} from "../os/libc.ts";
import type { SpawnRequest } from "../os/spawn.ts";
import { applyModes, type TerminalModes } from "./modes.ts";

/** In characters and, where known (else 0), pixels. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
  readonly widthPx?: number;
  readonly heightPx?: number;
}

export interface TerminalOwner {
  readonly uid: number;
  /** Group of the terminal; with `tty` and mode 0620, mesg(1) and write(1) work as usual. */
  readonly gid: number;
}

export interface PtyOptions {
  readonly size: TerminalSize;
  readonly modes?: TerminalModes;
  /** Who is to own the terminal; the daemon itself when left out. */
  readonly owner?: TerminalOwner;
}

/** What a terminal has when its client names no size. */
export const DEFAULT_SIZE: TerminalSize = { cols: 80, rows: 25 };

const TIOCSWINSZ = 0x5414n;
const TIOCGPTPEER = 0x5441;
const MAX_SIDE = 0xffff;
/** A leader that has ended has written all it will; the rest is in the kernel's buffer. */
const DRAIN_MS = 1_000;

export class Pty {
  /** Path of the terminal, e.g. "/dev/pts/3". */
  readonly path: string;
  /** What the programs write. Ends when the terminal is closed by all of them. */
  readonly output: Readable;
  /** What is typed. */
  readonly input: Writable;
  readonly #master: number;
  /** Our own hold on the other side: with nobody there, the terminal would count as hung up. */
  #peer: number | undefined;

  /**
   * Opens a pair, with its size, modes and owner set before anybody can use it.
   *
   * @throws OsError e.g. when the system has no terminals left
   */
  static open(options: PtyOptions): Pty {
    const flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    const master = check(libc().posix_openpt(flags), "posix_openpt");
    try {
      check(libc().grantpt(master), "grantpt");
      check(libc().unlockpt(master), "unlockpt");
      const peer = openPeer(master);
      try {
        if (options.owner) give(peer, options.owner);
        resize(master, options.size);
        if (options.modes) applyModes(master, options.modes);
        return new Pty(master, peer, pathOf(master));
      } catch (error) {
        closeFd(peer);
        throw error;
      }
    } catch (error) {
      closeFd(master);
      throw error;
    }
  }

  private constructor(master: number, peer: number, path: string) {
    this.#master = master;
    this.#peer = peer;
    this.path = path;
    // Its own descriptor, so that each stream can end without the other.
    const second = check(libc().fcntl(master, F_DUPFD_CLOEXEC, 3n), "fcntl");
    this.output = new FdReadable(master, { gather: true });
    this.input = new FdWritable(second);
  }

  /** Tells the programs of a new size (SIGWINCH); does nothing once the terminal is closed. */
  resize(size: TerminalSize): void {
    if (!this.output.destroyed) resize(this.#master, size);
  }

  /** Runs a program as the leader of a new session with this terminal. */
  start(request: Omit<SpawnRequest, "stdio">): Child {
    const child = Child.start({ ...request, stdio: { tty: this.path } });
    this.#releasePeer();
    child.exited.then(() => this.#endOutput(), () => this.close());
    return child;
  }

  /** Hangs up: what still runs on the terminal gets SIGHUP from the kernel. */
  close(): void {
    this.#releasePeer();
    this.input.destroy();
    this.output.destroy();
  }

  #releasePeer(): void {
    if (this.#peer !== undefined) closeFd(this.#peer);
    this.#peer = undefined;
  }

  /**
   * The kernel hangs the terminal up when the leader ends, so reading comes to its end by itself;
   * unless a privileged program has opened the terminal again. Then nobody waits for it for ever.
   */
  #endOutput(): void {
    this.input.destroy();
    if (this.output.readableEnded || this.output.destroyed) return;
    let seen = this.#progress();
    const timer = setInterval(() => {
      // Data that the consumer has not taken yet is not what we wait for.
      if (this.output.readableLength > 0 || seen !== (seen = this.#progress())) return;
      clearInterval(timer);
      this.output.destroy();
    }, DRAIN_MS);
    this.output.once("close", () => clearInterval(timer));
  }

  #progress(): number {
    return (this.output as FdReadable).bytesRead;
  }
}

function pathOf(master: number): string {
  const buffer = new Uint8Array(128);
  checkCode(libc().ptsname_r(master, buffer, BigInt(buffer.length)), "ptsname_r");
  return new TextDecoder().decode(buffer.subarray(0, buffer.indexOf(0)));
}

/** By descriptor, not by path: what the path names could be another thing by then. */
function openPeer(master: number): number {
  const flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  return check(
    Number(libc().syscall(SYS_IOCTL, BigInt(master), BigInt(TIOCGPTPEER), BigInt(flags))),
    "ioctl TIOCGPTPEER",
  );
}

function give(peer: number, owner: TerminalOwner): void {
  check(libc().fchown(peer, owner.uid, owner.gid), "fchown");
  check(libc().fchmod(peer, 0o620), "fchmod");
}

const SYS_IOCTL = Deno.build.arch === "aarch64" ? 29n : 16n;

function resize(master: number, size: TerminalSize): void {
  const side = (n: number | undefined) => Math.min(Math.max(Math.trunc(n ?? 0), 0), MAX_SIDE);
  const winsize = new Uint16Array([
    side(size.rows),
    side(size.cols),
    side(size.widthPx),
    side(size.heightPx),
  ]);
  check(libc().ioctl(master, TIOCSWINSZ, new Uint8Array(winsize.buffer)), "ioctl TIOCSWINSZ");
}
