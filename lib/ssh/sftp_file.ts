/** An open file at an SFTP server: whole files in order, with a bounded look-ahead. */
import { ConnectionProblem } from "../base/errors.ts";
import { type WireReader, WireWriter } from "../sshwire/codec.ts";
import { FXP, readAttrs, SFTP_STATUS, type SftpAttrs, SftpError, writeAttrs } from "./sftp_wire.ts";

/** Bytes asked for, or written, and not answered yet. */
const inFlightBytes = 4 * 1024 * 1024;
const maxInFlight = 64;

/** What an open file needs of its session. */
export interface SftpSession {
  request(type: number, fields: WireWriter, expected: number): Promise<WireReader>;
  /** A request that is answered with a status. */
  do(type: number, fields: WireWriter): Promise<void>;
  supports(extension: string): boolean;
  readonly maxData: { read: number; write: number };
  drained(): Promise<void>;
}

/** An open file. */
export class SftpFile {
  readonly #client: SftpSession;
  readonly #handle: Uint8Array;

  /** Use SftpClient.open(). */
  constructor(client: SftpSession, handle: Uint8Array) {
    this.#client = client;
    this.#handle = handle;
  }

  async stat(): Promise<SftpAttrs> {
    return readAttrs(await this.#client.request(FXP.FSTAT, this.#fields(), FXP.ATTRS));
  }

  async setstat(attrs: SftpAttrs): Promise<void> {
    await this.#client.do(FXP.FSETSTAT, writeAttrs(this.#fields(), attrs));
  }

  /** To the disk, where the server can. */
  async sync(): Promise<void> {
    const extension = "fsync@openssh.com";
    if (!this.#client.supports(extension)) return;
    const fields = new WireWriter().string(extension).string(this.#handle);
    await this.#client.do(FXP.EXTENDED, fields);
  }

  async close(): Promise<void> {
    await this.#client.do(FXP.CLOSE, this.#fields());
  }

  /** Up to `length` bytes; empty at the end of the file. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const fields = this.#fields().u64(BigInt(offset)).u32(length);
    try {
      const data = (await this.#client.request(FXP.READ, fields, FXP.DATA)).string();
      if (data.length > length) throw new ConnectionProblem("The server sent more than was asked");
      return data;
    } catch (error) {
      if (error instanceof SftpError && error.status === SFTP_STATUS.EOF) return new Uint8Array();
      throw error;
    }
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#client.do(FXP.WRITE, this.#fields().u64(BigInt(offset)).string(data));
  }

  /**
   * The bytes from `offset` to the end, in order. Several reads are under way at once.
   * @param size what the file is thought to have: reads beyond it are made one at a time
   */
  async *chunks(options: { offset?: number; size?: number } = {}): AsyncGenerator<Uint8Array> {
    const { size = (await this.stat()).size ?? 0 } = options;
    const length = this.#client.maxData.read;
    const ahead = Math.min(maxInFlight, Math.max(1, Math.floor(inFlightBytes / length)));
    let next = options.offset ?? 0;
    const reads: { length: number; data: Promise<Uint8Array> }[] = [];
    const ask = () => {
      const data = this.#readFull(next, length);
      data.catch(() => {});
      reads.push({ length, data });
      next += length;
    };
    for (;;) {
      while (reads.length < ahead && next < size) ask();
      if (reads.length === 0) ask();
      const { data, length: asked } = reads.shift()!;
      const chunk = await data;
      if (chunk.length > 0) yield chunk;
      if (chunk.length < asked) return;
    }
  }

  /** Writes the source from `offset` on. Several writes are under way at once. */
  async writeAll(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: { offset?: number; onProgress?: (bytes: number) => void } = {},
  ): Promise<number> {
    const piece = this.#client.maxData.write;
    const ahead = Math.min(maxInFlight, Math.max(1, Math.floor(inFlightBytes / piece)));
    const writes: Promise<void>[] = [];
    let offset = options.offset ?? 0;
    const start = offset;
    let failed: { error: unknown } | undefined;
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; at += piece) {
        const data = chunk.subarray(at, at + piece);
        const write = this.write(offset, data);
        write.catch((error) => failed ??= { error });
        writes.push(write);
        offset += data.length;
        if (writes.length >= ahead) await writes.shift();
        await this.#client.drained();
        if (failed) throw failed.error;
      }
      options.onProgress?.(offset - start);
    }
    await Promise.all(writes);
    return offset - start;
  }

  /** A server may answer with less than was asked, without being at the end. */
  async #readFull(offset: number, length: number): Promise<Uint8Array> {
    const first = await this.read(offset, length);
    if (first.length === length || first.length === 0) return first;
    const whole = new Uint8Array(length);
    whole.set(first);
    let have = first.length;
    while (have < length) {
      const more = await this.read(offset + have, length - have);
      if (more.length === 0) break;
      whole.set(more, have);
      have += more.length;
    }
    return whole.subarray(0, have);
  }

  #fields(): WireWriter {
    return new WireWriter().string(this.#handle);
  }
}
