/**
 * Node streams over descriptors that can block for long: pipes and terminals. Reading stops when
 * the consumer has enough, so a fast program is held by the kernel's own buffer, and writing
 * stops when the program does not read.
 */
import { Readable, Writable } from "node:stream";
import { Buffer } from "node:buffer";
import { closeFd, EAGAIN, EINTR, EIO, EPIPE, errno, libc, OsError } from "./libc.ts";
import { EPOLLIN, EPOLLOUT, type Poller, poller as defaultPoller, type Watch } from "./poller.ts";

/** As much as a pipe holds by default. */
const CHUNK = 64 * 1024;
/** From so many bytes at once on, more is taken to be under way. */
const BULK = 1024;
/** For how long bulk may come together, in milliseconds. */
const GATHER_MS = 1;

export interface FdReadableOptions {
  /**
   * Lets bulk come together before it is read: a terminal is read in pieces of 4 KiB, and a reader
   * that is as fast as the writer would be woken for each. What is short is never waited for.
   */
  readonly gather?: boolean;
  readonly poller?: Poller;
}

/**
 * Reads a non-blocking descriptor and owns it. The end of the stream is the end of the file, or
 * EIO, which is how a terminal's master says that its other side is gone.
 */
export class FdReadable extends Readable {
  readonly #fd: number;
  readonly #watch: Watch;
  #scratch = Buffer.allocUnsafeSlow(CHUNK);
  readonly #gathers: boolean;
  #armed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The consumer has asked for more during the rest. */
  #wanted = false;
  #bytesRead = 0;

  constructor(fd: number, { gather = false, poller = defaultPoller }: FdReadableOptions = {}) {
    super({ highWaterMark: CHUNK });
    this.#fd = fd;
    this.#gathers = gather;
    this.#watch = poller.watch(fd, () => {
      this.#armed = false;
      this.#readOnce();
    });
  }

  /** Bytes read so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  override _read(): void {
    if (this.#timer !== undefined) this.#wanted = true;
    else if (!this.#armed) this.#readOnce();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#watch.remove();
    closeFd(this.#fd);
    done(error);
  }

  /** One chunk, gathered from as many reads as are ready: a terminal gives at most 4 KiB each. */
  #readOnce(): void {
    if (this.destroyed) return;
    let length = 0;
    let ended = false;
    while (length < CHUNK) {
      const room = length === 0 ? this.#scratch : this.#scratch.subarray(length);
      const n = Number(libc().read(this.#fd, room, BigInt(CHUNK - length)));
      if (n > 0) {
        length += n;
        continue;
      }
      const reason = n === 0 ? 0 : errno();
      if (reason === EINTR) continue;
      if (reason === EAGAIN) break;
      if (reason !== 0 && reason !== EIO) {
        this.destroy(new OsError("read", reason));
        return;
      }
      ended = true;
      break;
    }
    if (length === 0 && !ended) {
      this.#armed = true;
      this.#watch.arm(EPOLLIN);
      return;
    }
    this.#bytesRead += length;
    if (this.#gathers && !ended && length >= BULK && length < CHUNK) this.#rest();
    // push() leads to the next _read() when the consumer wants more.
    if (length > 0) this.push(this.#take(length));
    if (ended) this.push(null);
  }

  #rest(): void {
    this.#wanted = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#wanted) this.#readOnce();
    }, GATHER_MS);
  }

  #take(length: number): Buffer {
    if (length < CHUNK / 2) return Buffer.from(this.#scratch.subarray(0, length));
    const full = this.#scratch.subarray(0, length);
    this.#scratch = Buffer.allocUnsafeSlow(CHUNK);
    return full;
  }
}

/**
 * Writes a non-blocking descriptor and owns it. When the reader is gone (EPIPE, EIO), what is
 * written is dropped without an error: a command need not read all its input.
 */
export class FdWritable extends Writable {
  readonly #fd: number;
  readonly #watch: Watch;
  #pending: { chunk: Uint8Array; done: (error?: Error | null) => void } | undefined;
  #gone = false;

  constructor(fd: number, poller: Poller = defaultPoller) {
    super({ highWaterMark: CHUNK, decodeStrings: true });
    this.#fd = fd;
    this.#watch = poller.watch(fd, () => this.#goOn());
  }

  /** Whether the reader has gone away. */
  get readerGone(): boolean {
    return this.#gone;
  }

  override _write(chunk: Uint8Array, _: string, done: (error?: Error | null) => void): void {
    this.#pending = { chunk, done };
    this.#goOn();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#watch.remove();
    closeFd(this.#fd);
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.done();
    done(error);
  }

  #goOn(): void {
    const pending = this.#pending;
    if (!pending || this.destroyed) return;
    let { chunk } = pending;
    while (chunk.length > 0 && !this.#gone) {
      const n = Number(
        libc().write(this.#fd, chunk as Uint8Array<ArrayBuffer>, BigInt(chunk.length)),
      );
      if (n >= 0) {
        chunk = chunk.subarray(n);
        continue;
      }
      const reason = errno();
      if (reason === EINTR) continue;
      if (reason === EAGAIN) {
        pending.chunk = chunk;
        this.#watch.arm(EPOLLOUT);
        return;
      }
      if (reason !== EPIPE && reason !== EIO) {
        this.#pending = undefined;
        pending.done(new OsError("write", reason));
        return;
      }
      this.#gone = true;
    }
    this.#pending = undefined;
    pending.done();
  }
}
