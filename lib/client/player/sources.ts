/** Recordings from a file, from a pipe, and from the auth service. */
import type { ApiClient } from "../../api/client.ts";
import { fromBase64 } from "../../base/bytes.ts";
import { BadParameter, LimitExceeded } from "../../base/errors.ts";
import type { ByteSource } from "../../recording/play/source.ts";

const FILE_READ_BYTES = 256 * 1024;

export class FileSource implements ByteSource, Disposable {
  readonly #file: Deno.FsFile;

  /** @throws Deno.errors.* as the file system reports them */
  constructor(path: string) {
    this.#file = Deno.openSync(path);
  }

  async read(offset: number): Promise<Uint8Array> {
    await this.#file.seek(offset, Deno.SeekMode.Start);
    const buffer = new Uint8Array(FILE_READ_BYTES);
    return buffer.subarray(0, await this.#file.read(buffer) ?? 0);
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** What came through a pipe and is kept to go back in it, in bytes. */
const PIPE_KEEPS = 256 << 20;

/** Reads each byte once, and keeps them. */
export class PipeSource implements ByteSource {
  readonly #from: { read(buffer: Uint8Array): Promise<number | null> };
  readonly #keeps: number;
  #chunks: { offset: number; bytes: Uint8Array }[] = [];
  #end = 0;
  #kept = 0;

  constructor(
    from: { read(buffer: Uint8Array): Promise<number | null> } = Deno.stdin,
    keeps = PIPE_KEEPS,
  ) {
    this.#from = from;
    this.#keeps = keeps;
  }

  /** @throws BadParameter for bytes that are not kept any more */
  async read(offset: number): Promise<Uint8Array> {
    while (offset >= this.#end) {
      const buffer = new Uint8Array(FILE_READ_BYTES);
      const n = await this.#from.read(buffer);
      if (n === null) return new Uint8Array(0);
      if (n > 0) this.#keep(buffer.slice(0, n));
    }
    // Nearly always near the end.
    const found = this.#chunks.findLast((chunk) => chunk.offset <= offset);
    if (found) return found.bytes.subarray(offset - found.offset);
    throw new BadParameter(
      "The recording is too long to go back in it while it comes through a pipe: save it to a " +
        "file, and play that",
    );
  }

  #keep(bytes: Uint8Array): void {
    this.#chunks.push({ offset: this.#end, bytes });
    this.#end += bytes.length;
    this.#kept += bytes.length;
    while (this.#kept > this.#keeps && this.#chunks.length > 1) {
      this.#kept -= this.#chunks.shift()?.bytes.length ?? 0;
    }
  }
}

/** The first piece is small, so that the first picture is there at once. */
const FIRST_PIECE_BYTES = 64 * 1024;
const PIECE_BYTES = 1 << 20;
/** Pieces that are kept to go back: 64 MiB. */
const PIECES_KEPT = 64;
/** The auth service answers a user so many times a second; then it wants a pause. */
const PAUSE_MS = 250;
const MAX_PAUSES = 40;

/** A recording at the auth service, fetched as it is read, one piece ahead. */
export class RemoteSource implements ByteSource {
  readonly #api: Pick<ApiClient, "call">;
  readonly #sid: string;
  readonly #pieces = new Map<number, Promise<Uint8Array>>();
  #size = Infinity;
  #finished = true;

  constructor(api: Pick<ApiClient, "call">, sid: string) {
    this.#api = api;
    this.#sid = sid;
  }

  /** False when the session runs, or its host has not sent all of it; known after the first read. */
  get finished(): boolean {
    return this.#finished;
  }

  /** What the auth service has, in bytes; known after the first read. */
  get size(): number {
    return this.#size;
  }

  /** @throws NotFound, AccessDenied, ConnectionProblem */
  async read(offset: number): Promise<Uint8Array> {
    const start = offset < FIRST_PIECE_BYTES
      ? 0
      : Math.max(FIRST_PIECE_BYTES, offset - offset % PIECE_BYTES);
    const end = start === 0 ? FIRST_PIECE_BYTES : start - start % PIECE_BYTES + PIECE_BYTES;
    const piece = await this.#piece(start, end);
    // Not behind the first one: it would come in the way of the first picture.
    if (start > 0 && end < this.#size) {
      this.#piece(end, end - end % PIECE_BYTES + PIECE_BYTES).catch(() => {});
    }
    // A piece that was the recording's end when it was fetched may have grown.
    if (offset - start < piece.length) return piece.subarray(offset - start);
    return await this.#fetch(offset, end);
  }

  #piece(start: number, end: number): Promise<Uint8Array> {
    const known = this.#pieces.get(start);
    if (known) return known;
    const piece = this.#fetch(start, end);
    piece.catch(() => this.#pieces.delete(start));
    this.#pieces.set(start, piece);
    const [oldest] = this.#pieces.keys();
    if (this.#pieces.size > PIECES_KEPT && oldest !== undefined) this.#pieces.delete(oldest);
    return piece;
  }

  async #fetch(offset: number, end: number): Promise<Uint8Array> {
    if (offset >= end) return new Uint8Array(0);
    for (let pauses = 0;; pauses++) {
      try {
        const answer = await this.#api.call("recordings.read", {
          sid: this.#sid,
          offset,
          length: end - offset,
        });
        this.#size = answer.size;
        this.#finished = answer.finished;
        return fromBase64(answer.data);
      } catch (e) {
        if (!(e instanceof LimitExceeded) || pauses === MAX_PAUSES) throw e;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }
}
