/** The client's side of SFTP: requests side by side, whole files in order with a bounded look-ahead. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { BadParameter, ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { SftpFile, type SftpSession } from "./sftp_file.ts";
import {
  FXP,
  maxSftpData,
  readAttrs,
  SFTP_STATUS,
  type SftpAttrs,
  type SftpEntry,
  SftpError,
  SftpFramer,
  sftpPacket,
  writeAttrs,
} from "./sftp_wire.ts";

/** What servers take without having said anything (draft-ietf-secsh-filexfer-02 §3). */
const commonData = 32 * 1024;

interface Waiting {
  resolve(reply: WireReader): void;
  reject(error: Error): void;
}

export class SftpClient implements SftpSession {
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  readonly #extensions = new Set<string>();
  readonly #started = Promise.withResolvers<void>();
  #nextId = 0;
  #failure: Error | undefined;
  #maxRead = commonData;
  #maxWrite = commonData;

  /**
   * Begins SFTP on the stream of a subsystem's channel.
   * @throws ConnectionProblem when the other side does not speak it
   */
  static async open(stream: Duplex): Promise<SftpClient> {
    const client = new SftpClient(stream);
    stream.write(sftpPacket(new WireWriter().u8(FXP.INIT).u32(3)));
    await client.#started.promise;
    if (client.supports("limits@openssh.com")) await client.#askLimits();
    return client;
  }

  private constructor(stream: Duplex) {
    this.#stream = stream;
    const framer = new SftpFramer((packet) => this.#onPacket(packet));
    stream.on("data", (chunk: Buffer) => {
      try {
        framer.push(chunk);
      } catch (cause) {
        this.#fail(new ConnectionProblem("The other side does not speak SFTP", { cause }));
        stream.destroy();
      }
    });
    stream.on("error", () => {});
    stream.on("end", () => this.#fail(new ConnectionProblem("The SFTP session ended")));
    stream.on("close", () => this.#fail(new ConnectionProblem("The SFTP session broke off")));
  }

  supports(extension: string): boolean {
    return this.#extensions.has(extension);
  }

  /** The most that one read and one write can carry. */
  get maxData(): { read: number; write: number } {
    return { read: this.#maxRead, write: this.#maxWrite };
  }

  /** @param flags bits of SFTP_OPEN. @throws SftpError, ConnectionProblem; so do all others */
  async open(path: string, flags: number, attrs: SftpAttrs = {}): Promise<SftpFile> {
    const fields = writeAttrs(new WireWriter().string(path).u32(flags), attrs);
    const reply = await this.request(FXP.OPEN, fields, FXP.HANDLE);
    return new SftpFile(this, handleOf(reply));
  }

  stat(path: string): Promise<SftpAttrs> {
    return this.#attrs(FXP.STAT, path);
  }

  lstat(path: string): Promise<SftpAttrs> {
    return this.#attrs(FXP.LSTAT, path);
  }

  async setstat(path: string, attrs: SftpAttrs): Promise<void> {
    await this.do(FXP.SETSTAT, writeAttrs(new WireWriter().string(path), attrs));
  }

  /**
   * The entries of a directory without "." and "..".
   * @throws BadParameter when the server names an entry that would be elsewhere
   */
  async list(path: string, limit = 1_000_000): Promise<SftpEntry[]> {
    const fields = new WireWriter().string(path);
    const handle = handleOf(await this.request(FXP.OPENDIR, fields, FXP.HANDLE));
    const entries: SftpEntry[] = [];
    try {
      for (;;) {
        const reply = await this.request(FXP.READDIR, new WireWriter().string(handle), FXP.NAME);
        for (const entry of readNames(reply)) {
          if (entry.name === "." || entry.name === "..") continue;
          if (!isEntryName(entry.name)) {
            throw new BadParameter(`The server sent a bad file name: ${printable(entry.name)}`);
          }
          if (entries.push(entry) > limit) {
            throw new LimitExceeded(`The directory has more than ${limit} entries`);
          }
        }
      }
    } catch (error) {
      if (error instanceof SftpError && error.status === SFTP_STATUS.EOF) return entries;
      throw error;
    } finally {
      await this.do(FXP.CLOSE, new WireWriter().string(handle)).catch(() => {});
    }
  }

  async mkdir(path: string, attrs: SftpAttrs = {}): Promise<void> {
    await this.do(FXP.MKDIR, writeAttrs(new WireWriter().string(path), attrs));
  }

  async rmdir(path: string): Promise<void> {
    await this.do(FXP.RMDIR, new WireWriter().string(path));
  }

  async remove(path: string): Promise<void> {
    await this.do(FXP.REMOVE, new WireWriter().string(path));
  }

  /** Replaces `to` where the server can. */
  async rename(from: string, to: string): Promise<void> {
    const paths = new WireWriter().string(from).string(to).bytes();
    const extension = "posix-rename@openssh.com";
    if (this.supports(extension)) {
      await this.do(FXP.EXTENDED, new WireWriter().string(extension).raw(paths));
    } else {
      await this.do(FXP.RENAME, new WireWriter().raw(paths));
    }
  }

  async readlink(path: string): Promise<string> {
    return await this.#path(FXP.READLINK, path);
  }

  async symlink(target: string, path: string): Promise<void> {
    await this.do(FXP.SYMLINK, new WireWriter().string(target).string(path));
  }

  /** The absolute path; "." is where a session starts. */
  async realpath(path: string): Promise<string> {
    return await this.#path(FXP.REALPATH, path);
  }

  /** Ends the session; what is under way fails. */
  close(): void {
    this.#fail(new ConnectionProblem("The SFTP session was closed"));
    this.#stream.end();
  }

  /** Sends a request; its reply behind type and id. @throws SftpError for any other status than OK */
  request(type: number, fields: WireWriter, expected: number): Promise<WireReader> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId;
    this.#nextId = (id + 1) % 2 ** 32;
    const { promise, resolve, reject } = Promise.withResolvers<WireReader>();
    this.#waiting.set(id, {
      resolve: (reply) => {
        const got = reply.u8();
        reply.u32();
        if (got === FXP.STATUS && expected !== FXP.STATUS) reject(statusError(reply));
        else if (got !== expected) reject(new ConnectionProblem("The SFTP reply makes no sense"));
        else resolve(reply);
      },
      reject,
    });
    this.#stream.write(sftpPacket(new WireWriter().u8(type).u32(id).raw(fields.bytes())));
    return promise;
  }

  /** Resolves when the channel takes more; a caller that writes much waits for it. */
  async drained(): Promise<void> {
    while (this.#stream.writableNeedDrain && !this.#failure) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#stream.off("drain", done).off("close", done);
          resolve();
        };
        this.#stream.on("drain", done).on("close", done);
      });
    }
  }

  /** A request that is answered with a status. @throws SftpError */
  async do(type: number, fields: WireWriter): Promise<void> {
    const error = statusError(await this.request(type, fields, FXP.STATUS));
    if (error.status !== SFTP_STATUS.OK) throw error;
  }

  async #attrs(type: number, path: string): Promise<SftpAttrs> {
    return readAttrs(await this.request(type, new WireWriter().string(path), FXP.ATTRS));
  }

  async #path(type: number, path: string): Promise<string> {
    const reply = await this.request(type, new WireWriter().string(path), FXP.NAME);
    if (reply.u32() !== 1) throw new ConnectionProblem("The SFTP reply makes no sense");
    return reply.utf8();
  }

  async #askLimits(): Promise<void> {
    const fields = new WireWriter().string("limits@openssh.com");
    const reply = await this.request(FXP.EXTENDED, fields, FXP.EXTENDED_REPLY);
    reply.u64();
    const usable = (bytes: bigint) =>
      bytes === 0n ? commonData : Number(bytes < BigInt(maxSftpData) ? bytes : maxSftpData);
    this.#maxRead = Math.max(1, usable(reply.u64()));
    this.#maxWrite = Math.max(1, usable(reply.u64()));
  }

  #onPacket(packet: Buffer): void {
    const reader = new WireReader(packet, "SFTP reply");
    if (packet[0] === FXP.VERSION) return this.#onVersion(reader);
    const id = new WireReader(packet.subarray(1), "SFTP reply").u32();
    const waiting = this.#waiting.get(id);
    if (!waiting) throw new BadParameter("SFTP reply to no request");
    this.#waiting.delete(id);
    try {
      // The framer's buffer is valid during this call; promises are resolved after it.
      waiting.resolve(new WireReader(Uint8Array.from(packet), "SFTP reply"));
    } catch (error) {
      waiting.reject(error as Error);
    }
  }

  #onVersion(reader: WireReader): void {
    reader.u8();
    if (reader.u32() < 3) throw new BadParameter("SFTP before version 3");
    while (reader.remaining > 0) {
      this.#extensions.add(reader.utf8());
      reader.string();
    }
    this.#started.resolve();
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#started.reject(error);
    this.#started.promise.catch(() => {});
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}

/** Whether a name can only be an entry of its directory. */
function isEntryName(name: string): boolean {
  return name !== "" && !name.includes("/") && !name.includes("\0");
}

function readNames(reply: WireReader): SftpEntry[] {
  const entries: SftpEntry[] = [];
  for (let left = reply.u32(); left > 0; left--) {
    // One name that is not UTF-8 must not hide all others; what it reads as here does not exist.
    const name = decoder.decode(reply.string());
    const longName = decoder.decode(reply.string());
    entries.push({ name, longName, attrs: readAttrs(reply) });
  }
  return entries;
}

const decoder = new TextDecoder();

function handleOf(reply: WireReader): Uint8Array {
  const handle = reply.string();
  if (handle.length > 256) throw new ConnectionProblem("The SFTP handle is too long");
  return Uint8Array.from(handle);
}

function statusError(reply: WireReader): SftpError {
  const status = reply.u32();
  const text = reply.remaining > 0 ? printable(decoder.decode(reply.string()).slice(0, 1024)) : "";
  return new SftpError(status, text || statusTexts[status] || `SFTP status ${status}`);
}

const statusTexts: Record<number, string> = {
  [SFTP_STATUS.EOF]: "End of file",
  [SFTP_STATUS.NO_SUCH_FILE]: "No such file or directory",
  [SFTP_STATUS.PERMISSION_DENIED]: "Permission denied",
  [SFTP_STATUS.FAILURE]: "Failure",
  [SFTP_STATUS.OP_UNSUPPORTED]: "Operation unsupported",
};
