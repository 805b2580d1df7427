/**
 * Byte streams. Everything that carries bytes in this program is a Node `Duplex` that may be
 * half-open: sockets, SSH channels, relays. Sockets come from Deno's own API, because `node:net`
 * of Deno 2.4.2 corrupts what it reads after `pause()` and `resume()`.
 */
import { Buffer } from "node:buffer";
import { Duplex, type Readable, type Writable } from "node:stream";
import { ConnectionProblem, messageOf, toTeleportError } from "../base/errors.ts";
import { hasConsumed, keepsNothing, nothing, reuse, type Reusing } from "./memory.ts";
import { Outbox } from "./outbox.ts";
import { watchForStall } from "./stall.ts";

/** Memory is read into in blocks, bigger ones the more there is to read. */
const firstBlock = 8 * 1024;
const lastBlock = 512 * 1024;
/** A block is read into until less than this part of it is left. */
const blockRest = 1 / 8;
/** After so many small reads in a row a big block is given up. */
const patience = 32;
const highWaterMark = 128 * 1024;
/** A big chunk is handed on in pieces. */
const writePiece = 64 * 1024;

/**
 * A connection as a stream, TCP_NODELAY set. Ending the stream shuts the writing side down only;
 * destroying it closes the connection.
 */
export function connStream(conn: Deno.Conn): ConnStream {
  return new ConnStream(conn);
}

export class ConnStream extends Duplex implements Reusing {
  readonly [keepsNothing] = true;
  /** What was written and has not left yet. Who adds to it must not write to the stream. */
  readonly outbox: Outbox;
  readonly #conn: Deno.Conn;
  #block: Buffer = nothing;
  #used = 0;
  /** The chunk that is being handed out. */
  #current: Buffer | undefined;
  #wasFilled = false;
  #smallReads = 0;

  /** @param conn belongs to the stream from now on */
  constructor(conn: Deno.Conn) {
    super({ allowHalfOpen: true, highWaterMark });
    this.#conn = conn;
    this.outbox = new Outbox((bytes, done) => {
      this.#writeAll(bytes).then(() => done(true), (error) => this.#fail(error));
    });
    if ("setNoDelay" in conn) {
      const tcp = conn as Deno.TcpConn;
      tcp.setNoDelay(true);
      tcp.setKeepAlive(true);
    }
  }

  get remoteAddr(): Deno.Addr {
    return this.#conn.remoteAddr;
  }

  get localAddr(): Deno.Addr {
    return this.#conn.localAddr;
  }

  reuse(chunk: Uint8Array): void {
    if (chunk !== this.#current) return;
    this.#current = undefined;
    this.#used -= chunk.length;
  }

  override _read(): void {
    const left = this.#block.length - this.#used;
    if (left <= this.#block.length * blockRest || this.#shouldResize()) this.#nextBlock();
    const room = this.#block.subarray(this.#used);
    this.#conn.read(room).then((count) => {
      if (this.destroyed) return;
      if (count === null) return void this.push(null);
      this.#used += count;
      this.#wasFilled ||= count === room.length;
      this.#smallReads = count * 16 < room.length ? this.#smallReads + 1 : 0;
      const chunk = this.#current = room.subarray(0, count);
      this.push(chunk);
      this.#current = undefined;
    }, (error) => this.#fail(error));
  }

  #shouldResize(): boolean {
    const { length } = this.#block;
    return (this.#wasFilled && length < lastBlock) ||
      (this.#smallReads > patience && length > firstBlock);
  }

  /** Who was given a part of the block before may keep it. */
  #nextBlock(): void {
    const { length } = this.#block;
    const size = length === 0
      ? firstBlock
      : this.#wasFilled
      ? Math.min(lastBlock, length * 4)
      : Math.max(firstBlock, length / 4);
    this.#block = Buffer.allocUnsafeSlow(size);
    this.#used = 0;
    this.#wasFilled = false;
    this.#smallReads = 0;
  }

  /** Copies: what fits into the outbox is done at once, and is written together with what follows. */
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    let at = 0;
    const goOn = () => {
      while (at < chunk.length && !this.outbox.isFull) {
        const piece = chunk.subarray(at, at + writePiece);
        this.outbox.reserve(piece.length).set(piece);
        at += piece.length;
      }
      this.outbox.onDrain = at < chunk.length ? goOn : ignore;
      if (at === chunk.length) done();
    };
    goOn();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.outbox.whenEmpty(() => {
      if (!("closeWrite" in this.#conn)) return done();
      // The peer may be gone already: then there is nothing left to shut down.
      this.#conn.closeWrite().then(() => done(), () => done());
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.outbox.close();
    try {
      this.#conn.close();
    } catch {
      // Closed already.
    }
    done(error);
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) at += await this.#conn.write(chunk.subarray(at));
  }

  #fail(error: unknown): void {
    if (!this.destroyed) this.destroy(toTeleportError(error));
  }
}

function ignore(): void {}

export interface DialOptions {
  host: string;
  port: number;
  /** Milliseconds; 15 s unless told. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** @throws ConnectionProblem naming the address */
export async function dialTcp(options: DialOptions): Promise<ConnStream> {
  const { host, port, timeoutMs = 15_000, signal } = options;
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  try {
    const either = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
    return new ConnStream(await Deno.connect({ hostname: host, port, signal: either }));
  } catch (cause) {
    signal?.throwIfAborted();
    const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const why = timeout.signal.aborted ? `no answer in ${timeoutMs / 1000} s` : messageOf(cause);
    throw new ConnectionProblem(`Cannot connect to ${address}: ${why}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Copies each stream's bytes into the other until both have ended, and destroys both. The end of
 * one direction leaves the other open. Resolves (it never rejects) with the bytes copied, also when
 * a stream broke.
 * @param onActivity called whenever bytes come or go
 */
export async function relay(
  a: Duplex,
  b: Duplex,
  onActivity: () => void = ignore,
): Promise<{ aToB: number; bToA: number }> {
  const stopWatching = [limitRest(a, b), limitRest(b, a)];
  const [aToB, bToA] = await Promise.all([
    copy(a, b, ignore, onActivity),
    copy(b, a, ignore, onActivity),
  ]);
  for (const stop of stopWatching) stop();
  a.destroy();
  b.destroy();
  return { aToB, bToA };
}

/** When `closed` is gone, `other` may take what is left, but not for ever. */
function limitRest(closed: Duplex, other: Duplex): () => void {
  let stop = ignore;
  const onClose = () => {
    stop = watchForStall(() => other.writableLength, () => other.destroy());
  };
  closed.once("close", onClose);
  return () => {
    closed.off("close", onClose);
    stop();
  };
}

/**
 * Copies a stream to its end, then ends the destination. Resolves with the bytes copied when the
 * destination has them all, or when one of the two is gone; never rejects.
 * @param broken called before, when one was gone too early
 * @param onActivity called for each piece
 */
export function copy(
  from: Readable,
  to: Writable,
  broken: () => void = ignore,
  onActivity: () => void = ignore,
): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  let count = 0;
  let ended = false;

  const onData = (chunk: Buffer) => {
    count += chunk.length;
    onActivity();
    if (!to.write(chunk)) from.pause();
    if (hasConsumed(to)) reuse(from, chunk);
  };
  const onDrain = () => from.resume();
  const onEnd = () => {
    ended = true;
    to.end();
  };
  const finish = () => {
    from.off("data", onData).off("end", onEnd).off("close", onFromClose).pause();
    to.off("drain", onDrain).off("finish", finish).off("close", onToClose);
    resolve(count);
  };
  const fail = () => {
    finish();
    broken();
  };
  // A stream closes by itself when both of its own sides are done: the rest is then on its way.
  const onFromClose = () => ended || fail();
  const onToClose = () => to.writableFinished ? finish() : fail();
  // Errors are told by "close"; without a listener one would end the process.
  from.on("error", ignore);
  to.on("error", ignore);
  from.on("end", onEnd).on("close", onFromClose);
  to.on("drain", onDrain).on("finish", finish).on("close", onToClose);
  from.on("data", onData);
  if (from.readableEnded) onEnd();
  else if (from.destroyed) fail();
  if (to.destroyed) onToClose();
  return promise;
}

/**
 * Reads a stream to its end and leaves its writing side open, which `for await` does not.
 * @throws ConnectionProblem when it breaks or is longer than `limit`, and then it is destroyed
 */
export function readAll(stream: Readable, limit = 16 * 1024 * 1024): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const finish = () => {
    stream.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onError);
  };
  const fail = (message: string, cause?: unknown) => {
    finish();
    stream.destroy();
    reject(new ConnectionProblem(message, { cause }));
  };
  const onData = (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) fail(`The other side sent more than ${limit} bytes`);
    else chunks.push(chunk);
  };
  const onEnd = () => {
    finish();
    resolve(Buffer.concat(chunks));
  };
  const onError = (error: Error) => fail(`The connection broke: ${error.message}`, error);
  const onClose = () => fail("The connection broke");
  if (stream.readableEnded) return Promise.resolve(Buffer.alloc(0));
  stream.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onError);
  if (stream.destroyed) onClose();
  return promise;
}
