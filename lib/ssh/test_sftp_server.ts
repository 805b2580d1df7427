/** An SFTP server on a handler in memory, for the tests of clients; the product serves by lib/node/sftp. */
import { Buffer } from "node:buffer";
import { BadParameter, messageOf, TeleportError } from "../base/errors.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import {
  FXP,
  maxSftpData,
  maxSftpPacket,
  readAttrs,
  readSize,
  SFTP_STATUS,
  type SftpAttrs,
  type SftpEntry,
  SftpError,
  SftpFramer,
  sftpPacket,
  type SftpStatvfs,
  statvfsFields,
  writeAttrs,
} from "./sftp_wire.ts";

type Maybe<T> = T | Promise<T>;

/**
 * What a server does. Each method may return a promise; requests are carried out one after the
 * other, in their order. Handles are numbers of the handler's choice (32 bits). Errors: SftpError
 * with its status; otherwise the status is taken from the kind of error, e.g. Deno.errors.NotFound.
 * The extensions of the optional methods are announced when they exist.
 */
export interface SftpHandler {
  /** @param flags bits of SFTP_OPEN */
  open(path: string, flags: number, attrs: SftpAttrs): Maybe<number>;
  opendir(path: string): Maybe<number>;
  close(handle: number): Maybe<void>;
  /** Fills `into` as far as it can; 0 is the end of the file. */
  read(handle: number, offset: number, into: Uint8Array): Maybe<number>;
  /** Writes all of `data`, which is valid until the method is done. */
  write(handle: number, offset: number, data: Uint8Array): Maybe<void>;
  /** The next entries; undefined at the end. */
  readdir(handle: number): Maybe<SftpEntry[] | undefined>;
  stat(path: string): Maybe<SftpAttrs>;
  lstat(path: string): Maybe<SftpAttrs>;
  fstat(handle: number): Maybe<SftpAttrs>;
  setstat(path: string, attrs: SftpAttrs): Maybe<void>;
  fsetstat(handle: number, attrs: SftpAttrs): Maybe<void>;
  remove(path: string): Maybe<void>;
  mkdir(path: string, attrs: SftpAttrs): Maybe<void>;
  rmdir(path: string): Maybe<void>;
  realpath(path: string): Maybe<string>;
  /** Must refuse when `to` exists. */
  rename(from: string, to: string): Maybe<void>;
  readlink(path: string): Maybe<string>;
  symlink(target: string, path: string): Maybe<void>;
  /** posix-rename@openssh.com: replaces `to`. */
  posixRename?(from: string, to: string): Maybe<void>;
  /** hardlink@openssh.com */
  hardlink?(from: string, to: string): Maybe<void>;
  /** fsync@openssh.com */
  fsync?(handle: number): Maybe<void>;
  /** lsetstat@openssh.com */
  lsetstat?(path: string, attrs: SftpAttrs): Maybe<void>;
  /** statvfs@openssh.com */
  statvfs?(path: string): Maybe<SftpStatvfs>;
  /** fstatvfs@openssh.com */
  fstatvfs?(handle: number): Maybe<SftpStatvfs>;
  /** expand-path@openssh.com: as realpath(), with a leading "~". */
  expandPath?(path: string): Maybe<string>;
  /** home-directory */
  homeDirectory?(username: string): Maybe<string>;
}

/** Replies are handed over together up to about this size. */
const batchSize = 256 * 1024;

export class SftpServer {
  readonly #handler: SftpHandler;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #framer = new SftpFramer((packet) => this.#packets.push(packet));
  #packets: Buffer[] = [];
  #replies: Uint8Array[] = [];
  #replyBytes = 0;
  #hasStarted = false;

  /** @param write takes replies, several at once; may keep the bytes */
  constructor(handler: SftpHandler, write: (bytes: Uint8Array) => void) {
    this.#handler = handler;
    this.#write = write;
  }

  /**
   * Carries out the requests that `chunk` completes. To be called again when it is done; the chunk
   * may be used again then. Returns a promise only if a handler did.
   * @throws BadParameter when the client does not speak SFTP: the session is over
   */
  feed(chunk: Uint8Array): Maybe<void> {
    this.#framer.push(chunk);
    const packets = this.#packets;
    this.#packets = [];
    const carryOut = (from: number): Maybe<void> => {
      for (let i = from; i < packets.length; i++) {
        const pending = this.#onPacket(packets[i]!);
        if (pending) return pending.then(() => carryOut(i + 1));
      }
      this.#flush();
    };
    return carryOut(0);
  }

  #onPacket(packet: Buffer): Maybe<void> {
    const request = new WireReader(packet, "SFTP request");
    const type = request.u8();
    if (!this.#hasStarted) {
      if (type !== FXP.INIT) throw new BadParameter("The client does not speak SFTP");
      this.#hasStarted = true;
      return this.#reply(this.#version());
    }
    const id = request.u32();
    let reply: Maybe<WireWriter | Uint8Array>;
    try {
      reply = this.#carryOut(type, id, request);
    } catch (error) {
      reply = failure(id, error);
    }
    if (!(reply instanceof Promise)) return this.#reply(reply);
    return reply.then((done) => this.#reply(done), (error) => this.#reply(failure(id, error)));
  }

  #carryOut(type: number, id: number, request: WireReader): Maybe<WireWriter | Uint8Array> {
    const handler = this.#handler;
    const ok = (done: Maybe<void>) => then(done, () => status(id, SFTP_STATUS.OK, "Success"));
    const attrs = (found: Maybe<SftpAttrs>) =>
      then(found, (a) => writeAttrs(reply(FXP.ATTRS, id), a));
    const handle = (made: Maybe<number>) =>
      then(made, (number) => reply(FXP.HANDLE, id).string(new WireWriter().u32(number).bytes()));
    switch (type) {
      case FXP.OPEN:
        return handle(handler.open(path(request), request.u32(), readAttrs(request)));
      case FXP.CLOSE:
        return ok(handler.close(handleOf(request)));
      case FXP.READ:
        return this.#read(id, handleOf(request), readSize(request), request.u32());
      case FXP.WRITE:
        return ok(handler.write(handleOf(request), readSize(request), request.string()));
      case FXP.LSTAT:
        return attrs(handler.lstat(path(request)));
      case FXP.FSTAT:
        return attrs(handler.fstat(handleOf(request)));
      case FXP.STAT:
        return attrs(handler.stat(path(request)));
      case FXP.SETSTAT:
        return ok(handler.setstat(path(request), readAttrs(request)));
      case FXP.FSETSTAT:
        return ok(handler.fsetstat(handleOf(request), readAttrs(request)));
      case FXP.OPENDIR:
        return handle(handler.opendir(path(request)));
      case FXP.READDIR:
        return then(handler.readdir(handleOf(request)), (entries) => names(id, entries));
      case FXP.REMOVE:
        return ok(handler.remove(path(request)));
      case FXP.MKDIR:
        return ok(handler.mkdir(path(request), readAttrs(request)));
      case FXP.RMDIR:
        return ok(handler.rmdir(path(request)));
      case FXP.REALPATH:
        return then(handler.realpath(path(request)), (found) => name(id, found));
      case FXP.RENAME:
        return ok(handler.rename(path(request), path(request)));
      case FXP.READLINK:
        return then(handler.readlink(path(request)), (found) => name(id, found));
      case FXP.SYMLINK:
        // OpenSSH sends the target first, against the draft; so does everybody.
        return ok(handler.symlink(path(request), path(request)));
      case FXP.EXTENDED:
        return this.#extended(id, request);
      default:
        return status(id, SFTP_STATUS.OP_UNSUPPORTED, "Operation unsupported");
    }
  }

  #extended(id: number, request: WireReader): Maybe<WireWriter> {
    const handler = this.#handler;
    const extension = request.utf8();
    const ok = (done: Maybe<void>) => then(done, () => status(id, SFTP_STATUS.OK, "Success"));
    const one = (found: Maybe<string>) => then(found, (text) => name(id, text));
    const vfs = (found: Maybe<SftpStatvfs>) => then(found, (values) => statvfs(id, values));
    switch (extension) {
      case "posix-rename@openssh.com":
        if (handler.posixRename) return ok(handler.posixRename(path(request), path(request)));
        break;
      case "hardlink@openssh.com":
        if (handler.hardlink) return ok(handler.hardlink(path(request), path(request)));
        break;
      case "fsync@openssh.com":
        if (handler.fsync) return ok(handler.fsync(handleOf(request)));
        break;
      case "lsetstat@openssh.com":
        if (handler.lsetstat) return ok(handler.lsetstat(path(request), readAttrs(request)));
        break;
      case "statvfs@openssh.com":
        if (handler.statvfs) return vfs(handler.statvfs(path(request)));
        break;
      case "fstatvfs@openssh.com":
        if (handler.fstatvfs) return vfs(handler.fstatvfs(handleOf(request)));
        break;
      case "expand-path@openssh.com":
        if (handler.expandPath) return one(handler.expandPath(path(request)));
        break;
      case "home-directory":
        if (handler.homeDirectory) return one(handler.homeDirectory(path(request)));
        break;
      case "limits@openssh.com":
        return reply(FXP.EXTENDED_REPLY, id).u64(BigInt(maxSftpPacket)).u64(BigInt(maxSftpData))
          .u64(BigInt(maxSftpData)).u64(0n);
    }
    return status(id, SFTP_STATUS.OP_UNSUPPORTED, "Operation unsupported");
  }

  /** The file is read into the reply itself. */
  #read(
    id: number,
    handle: number,
    offset: number,
    length: number,
  ): Maybe<WireWriter | Uint8Array> {
    const packet = Buffer.allocUnsafe(13 + Math.min(length, maxSftpData));
    return then(this.#handler.read(handle, offset, packet.subarray(13)), (count) => {
      if (count === 0) return status(id, SFTP_STATUS.EOF, "End of file");
      packet.writeUInt32BE(9 + count, 0);
      packet[4] = FXP.DATA;
      packet.writeUInt32BE(id, 5);
      packet.writeUInt32BE(count, 9);
      return packet.subarray(0, 13 + count);
    });
  }

  #version(): WireWriter {
    const handler = this.#handler;
    const writer = new WireWriter().u8(FXP.VERSION).u32(3);
    const announce = (name: string, version: string, isThere: unknown) => {
      if (isThere) writer.string(name).string(version);
    };
    announce("posix-rename@openssh.com", "1", handler.posixRename);
    announce("statvfs@openssh.com", "2", handler.statvfs);
    announce("fstatvfs@openssh.com", "2", handler.fstatvfs);
    announce("hardlink@openssh.com", "1", handler.hardlink);
    announce("fsync@openssh.com", "1", handler.fsync);
    announce("lsetstat@openssh.com", "1", handler.lsetstat);
    announce("limits@openssh.com", "1", true);
    announce("expand-path@openssh.com", "1", handler.expandPath);
    announce("home-directory", "1", handler.homeDirectory);
    return writer;
  }

  #reply(done: WireWriter | Uint8Array): void {
    const packet = done instanceof WireWriter ? sftpPacket(done) : done;
    this.#replies.push(packet);
    this.#replyBytes += packet.length;
    if (this.#replyBytes >= batchSize) this.#flush();
  }

  #flush(): void {
    const replies = this.#replies;
    if (replies.length === 0) return;
    this.#replies = [];
    this.#replyBytes = 0;
    this.#write(replies.length === 1 ? replies[0]! : Buffer.concat(replies));
  }
}

/** The status that an error means to the client. */
export function sftpStatusOf(error: unknown): number {
  if (error instanceof SftpError) return error.status;
  if (error instanceof BadParameter) return SFTP_STATUS.BAD_MESSAGE;
  const code = error instanceof TeleportError ? error.code : undefined;
  if (error instanceof Deno.errors.NotFound || code === "not_found") {
    return SFTP_STATUS.NO_SUCH_FILE;
  }
  if (error instanceof Deno.errors.PermissionDenied || code === "access_denied") {
    return SFTP_STATUS.PERMISSION_DENIED;
  }
  if (error instanceof Deno.errors.NotSupported) return SFTP_STATUS.OP_UNSUPPORTED;
  return SFTP_STATUS.FAILURE;
}

function failure(id: number, error: unknown): WireWriter {
  return status(id, sftpStatusOf(error), messageOf(error).slice(0, 1024));
}

function then<T, U>(value: Maybe<T>, next: (value: T) => U): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

function reply(type: number, id: number): WireWriter {
  return new WireWriter().u8(type).u32(id);
}

function status(id: number, code: number, message: string): WireWriter {
  return reply(FXP.STATUS, id).u32(code).string(message).string("");
}

function name(id: number, path: string): WireWriter {
  return writeAttrs(reply(FXP.NAME, id).u32(1).string(path).string(path), {});
}

function names(id: number, entries: SftpEntry[] | undefined): WireWriter {
  if (!entries) return status(id, SFTP_STATUS.EOF, "End of directory");
  const writer = reply(FXP.NAME, id).u32(entries.length);
  for (const { name, longName, attrs } of entries) {
    writeAttrs(writer.string(name).string(longName), attrs);
  }
  return writer;
}

function statvfs(id: number, values: SftpStatvfs): WireWriter {
  const writer = reply(FXP.EXTENDED_REPLY, id);
  for (const field of statvfsFields) writer.u64(values[field]);
  return writer;
}

function handleOf(request: WireReader): number {
  const bytes = request.string();
  if (bytes.length !== 4) throw new SftpError(SFTP_STATUS.FAILURE, "No such handle");
  return new WireReader(bytes).u32();
}

/** Deno's file functions take text: names that are not UTF-8 cannot be reached by them. */
function path(request: WireReader): string {
  const bytes = request.string();
  let text;
  try {
    text = decoder.decode(bytes);
  } catch (cause) {
    throw new SftpError(SFTP_STATUS.NO_SUCH_FILE, "The file name is not valid UTF-8", { cause });
  }
  if (text.includes("\0")) throw new SftpError(SFTP_STATUS.NO_SUCH_FILE, "The file name has a NUL");
  return text;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
