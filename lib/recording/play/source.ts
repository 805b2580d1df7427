/** Where the bytes of a recording come from: a file, a pipe, the auth service. */
export interface ByteSource {
  /** Bytes from `offset` on, at least one and as many as come at once; none at the end. */
  read(offset: number): Promise<Uint8Array>;
}

/** A recording that is in memory. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return { read: (offset) => Promise.resolve(bytes.subarray(offset)) };
}

/** Reads a source from one place on, as much at a time as is asked for. */
export class SourceReader {
  readonly #source: ByteSource;
  #offset: number;
  #ahead: Uint8Array = new Uint8Array(0);

  constructor(source: ByteSource, offset: number) {
    this.#source = source;
    this.#offset = offset;
  }

  /** Of the next byte. */
  get offset(): number {
    return this.#offset;
  }

  /** The next `count` bytes without going over them; fewer only at the end. */
  async peek(count: number): Promise<Uint8Array> {
    if (this.#ahead.length >= count) return this.#ahead.subarray(0, count);
    const parts = [this.#ahead];
    let length = this.#ahead.length;
    while (length < count) {
      const more = await this.#source.read(this.#offset + length);
      if (more.length === 0) break;
      parts.push(more);
      length += more.length;
    }
    this.#ahead = joined(parts, length);
    return this.#ahead.subarray(0, count);
  }

  /** What is at hand, at most `most` bytes, and goes over them; none at the end. */
  async some(most: number): Promise<Uint8Array> {
    if (this.#ahead.length === 0) await this.peek(1);
    const bytes = this.#ahead.subarray(0, most);
    this.skip(bytes.length);
    return bytes;
  }

  /** Goes over bytes that were peeked at. */
  skip(count: number): void {
    this.#ahead = this.#ahead.subarray(count);
    this.#offset += count;
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
