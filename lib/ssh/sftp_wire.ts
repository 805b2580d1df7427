/** SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: what both ends share. */
import { Buffer } from "node:buffer";
import { BadParameter } from "../base/errors.ts";
import { type WireReader, WireWriter } from "../sshwire/codec.ts";

export const FXP = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  READLINK: 19,
  SYMLINK: 20,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 200,
  EXTENDED_REPLY: 201,
} as const;

export const SFTP_STATUS = {
  OK: 0,
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  OP_UNSUPPORTED: 8,
} as const;

/** Bits of `open`. */
export const SFTP_OPEN = {
  READ: 1,
  WRITE: 2,
  APPEND: 4,
  CREATE: 8,
  TRUNCATE: 16,
  EXCLUSIVE: 32,
} as const;

/** OpenSSH's limit of one packet, and what fits into one. */
export const maxSftpPacket = 256 * 1024;
export const maxSftpData = maxSftpPacket - 1024;

/** What is known, or is to be set, of a file. */
export interface SftpAttrs {
  size?: number;
  uid?: number;
  gid?: number;
  /** Type and permission bits, as in st_mode. */
  mode?: number;
  /** Seconds since the epoch; both or neither. */
  atime?: number;
  mtime?: number;
}

export interface SftpEntry {
  /** U+FFFD stands for what is not UTF-8: such a name cannot be asked for. */
  name: string;
  attrs: SftpAttrs;
  /** A line like those of `ls -l`. */
  longName: string;
}

/** f_… of statvfs(3). */
export interface SftpStatvfs {
  bsize: bigint;
  frsize: bigint;
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
  files: bigint;
  ffree: bigint;
  favail: bigint;
  fsid: bigint;
  /** 1: read-only, 2: no set-uid. */
  flag: bigint;
  namemax: bigint;
}

export const statvfsFields = [
  "bsize",
  "frsize",
  "blocks",
  "bfree",
  "bavail",
  "files",
  "ffree",
  "favail",
  "fsid",
  "flag",
  "namemax",
] as const satisfies (keyof SftpStatvfs)[];

/** A status other than OK. EOF is one, too. */
export class SftpError extends Error {
  constructor(readonly status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "SftpError";
  }
}

const HAS_SIZE = 1;
const HAS_OWNER = 2;
const HAS_MODE = 4;
const HAS_TIMES = 8;
const HAS_EXTENDED = 0x80000000;

export function writeAttrs(writer: WireWriter, attrs: SftpAttrs): WireWriter {
  const { size, uid, gid, mode, atime, mtime } = attrs;
  const hasOwner = uid !== undefined && gid !== undefined;
  const hasTimes = atime !== undefined && mtime !== undefined;
  writer.u32(
    (size === undefined ? 0 : HAS_SIZE) | (hasOwner ? HAS_OWNER : 0) |
      (mode === undefined ? 0 : HAS_MODE) | (hasTimes ? HAS_TIMES : 0),
  );
  if (size !== undefined) writer.u64(BigInt(size));
  if (hasOwner) writer.u32(uid).u32(gid);
  if (mode !== undefined) writer.u32(mode);
  if (hasTimes) writer.u32(seconds(atime)).u32(seconds(mtime));
  return writer;
}

/** @throws BadParameter */
export function readAttrs(reader: WireReader): SftpAttrs {
  const flags = reader.u32();
  const attrs: SftpAttrs = {};
  if (flags & HAS_SIZE) attrs.size = readSize(reader);
  if (flags & HAS_OWNER) {
    attrs.uid = reader.u32();
    attrs.gid = reader.u32();
  }
  if (flags & HAS_MODE) attrs.mode = reader.u32();
  if (flags & HAS_TIMES) {
    attrs.atime = reader.u32();
    attrs.mtime = reader.u32();
  }
  if (flags & HAS_EXTENDED) {
    for (let left = reader.u32(); left > 0; left--) {
      reader.string();
      reader.string();
    }
  }
  return attrs;
}

/** A 64-bit size or offset as a number. @throws BadParameter above 2^53 */
export function readSize(reader: WireReader): number {
  const size = reader.u64();
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new BadParameter("A file cannot be so large");
  return Number(size);
}

/** The packet with its length in front. */
export function sftpPacket(writer: WireWriter): Uint8Array {
  const body = writer.bytes();
  return new WireWriter().u32(body.length).raw(body).bytes();
}

/** Collects chunks into packets; each is given without its length, valid during the call. */
export class SftpFramer {
  readonly #onPacket: (packet: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onPacket: (packet: Buffer) => void) {
    this.#onPacket = onPacket;
  }

  /** @throws BadParameter for a packet over the limit, or an empty one; and what onPacket() throws */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (data.length >= 4) {
      const length = data.readUInt32BE(0);
      if (length < 1 || length > maxSftpPacket) throw new BadParameter("Malformed SFTP packet");
      if (data.length < 4 + length) break;
      this.#onPacket(data.subarray(4, 4 + length));
      data = data.subarray(4 + length);
    }
    // The caller may use its chunk again.
    this.#rest = data.length === 0 ? data : Buffer.from(data);
  }
}

function seconds(time: number): number {
  return Math.min(Math.max(0, Math.floor(time)), 0xffffffff);
}
