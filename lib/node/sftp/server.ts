/**
 * An SFTP server: version 3 with OpenSSH's extensions. What may be done is what the operating
 * system lets its user do; there is no rule of its own.
 */
import { BadParameter } from "../../base/errors.ts";
import { OsError } from "../os/libc.ts";
import { FXP, maxSftpData, maxSftpPacket, SFTP_STATUS } from "../../ssh/sftp_wire.ts";
import { applyAttributes, longFields, readAttributes, writeAttributes } from "./attributes.ts";
import type { SftpReport } from "./audit.ts";
import { copyData } from "./copy.ts";
import { type Handle, Handles, MAX_HANDLES, nextName } from "./handles.ts";
import { openFlags } from "./open_flags.ts";
import { expandPath, homeDirectory, resolvePath } from "./paths.ts";
import { statusOf, textOf } from "./status.ts";
import * as sys from "../os/fs.ts";
import { type ReplyWriter, RequestReader } from "./wire.ts";

const EXTENSIONS: readonly [name: string, version: string][] = [
  ["posix-rename@openssh.com", "1"],
  ["statvfs@openssh.com", "2"],
  ["fstatvfs@openssh.com", "2"],
  ["hardlink@openssh.com", "1"],
  ["fsync@openssh.com", "1"],
  ["lsetstat@openssh.com", "1"],
  ["limits@openssh.com", "1"],
  ["expand-path@openssh.com", "1"],
  ["copy-data", "1"],
  ["home-directory", "1"],
  ["users-groups-by-id@openssh.com", "1"],
];

/** Names in one reply: as many as fit into what every client can take. */
const NAMES_SIZE = 32 * 1024;
const MAX_NAME = 256;

export class SftpServer {
  readonly #out: ReplyWriter;
  readonly #report: (report: SftpReport) => void;
  readonly #handles = new Handles();
  #greeted = false;

  constructor(out: ReplyWriter, report: (report: SftpReport) => void) {
    this.#out = out;
    this.#report = report;
  }

  /**
   * Carries one request out and writes its reply.
   *
   * @throws BadParameter when the client does not speak the protocol: then it is over
   */
  handle(message: Uint8Array<ArrayBuffer>): void {
    const request = new RequestReader(message);
    const type = request.u8();
    if (!this.#greeted) return this.#greet(type);
    const id = request.u32();
    try {
      this.#dispatch(type, id, request);
    } catch (error) {
      this.#out.abandon();
      if (!(error instanceof OsError) && !(error instanceof BadParameter)) throw error;
      this.#status(id, statusOf(error), textOf(error));
    }
  }

  /** Closes what the client has left open. */
  end(): void {
    for (const handle of this.#handles.closeAll()) this.#reportClosed(handle);
  }

  #greet(type: number): void {
    if (type !== FXP.INIT) throw new BadParameter("the client does not begin with INIT");
    this.#greeted = true;
    const out = this.#out.begin(FXP.VERSION).u32(3);
    for (const [name, version] of EXTENSIONS) out.string(name).string(version);
    out.end();
  }

  #dispatch(type: number, id: number, r: RequestReader): void {
    switch (type) {
      case FXP.READ:
        return this.#read(id, r);
      case FXP.WRITE:
        return this.#write(id, r);
      case FXP.OPEN:
        return this.#open(id, r);
      case FXP.CLOSE:
        return this.#close(id, r);
      case FXP.STAT:
        return this.#attributes(id, sys.stat(pathOf(r)));
      case FXP.LSTAT:
        return this.#attributes(id, sys.lstat(pathOf(r)));
      case FXP.FSTAT:
        return this.#attributes(id, sys.fstat(this.#handles.any(r.string()).fd));
      case FXP.SETSTAT: {
        const path = pathOf(r);
        return this.#change(
          id,
          "setstat",
          path,
          () => applyAttributes({ path }, readAttributes(r)),
        );
      }
      case FXP.FSETSTAT: {
        const { fd, path } = this.#handles.any(r.string());
        return this.#change(id, "fsetstat", path, () => applyAttributes({ fd }, readAttributes(r)));
      }
      case FXP.OPENDIR:
        return this.#openDirectory(id, r);
      case FXP.READDIR:
        return this.#readDirectory(id, r);
      case FXP.REMOVE: {
        const path = pathOf(r);
        return this.#change(id, "remove", path, () => sys.unlink(path));
      }
      case FXP.MKDIR: {
        const path = pathOf(r);
        const mode = (readAttributes(r).permissions ?? 0o777) & 0o7777;
        return this.#change(id, "mkdir", path, () => sys.mkdir(path, mode));
      }
      case FXP.RMDIR: {
        const path = pathOf(r);
        return this.#change(id, "rmdir", path, () => sys.rmdir(path));
      }
      case FXP.REALPATH:
        return this.#name(id, resolvePath(pathOf(r)));
      case FXP.RENAME:
        return this.#two(id, "rename", r, sys.renameNoReplace);
      case FXP.READLINK:
        return this.#name(id, sys.readlink(pathOf(r)));
      case FXP.SYMLINK: {
        // The target comes first: OpenSSH began with it, against the draft, and all followed.
        const target = pathOf(r);
        const path = pathOf(r);
        return this.#change(id, "symlink", path, () => sys.symlink(target, path), target);
      }
      case FXP.EXTENDED:
        return this.#extended(id, r.text(), r);
      default:
        return this.#status(id, SFTP_STATUS.OP_UNSUPPORTED, "Operation unsupported");
    }
  }

  #extended(id: number, name: string, r: RequestReader): void {
    switch (name) {
      case "posix-rename@openssh.com":
        return this.#two(id, "rename", r, sys.rename);
      case "hardlink@openssh.com":
        return this.#two(id, "link", r, sys.link);
      case "fsync@openssh.com":
        sys.fsync(this.#handles.file(r.string()).fd);
        return this.#ok(id);
      case "lsetstat@openssh.com": {
        const link = pathOf(r);
        return this.#change(
          id,
          "setstat",
          link,
          () => applyAttributes({ link }, readAttributes(r)),
        );
      }
      case "statvfs@openssh.com":
        return this.#fileSystem(id, sys.statvfs({ path: pathOf(r) }));
      case "fstatvfs@openssh.com":
        return this.#fileSystem(id, sys.statvfs({ fd: this.#handles.any(r.string()).fd }));
      case "limits@openssh.com":
        this.#out.begin(FXP.EXTENDED_REPLY).u32(id).u64(BigInt(maxSftpPacket))
          .u64(BigInt(maxSftpData)).u64(BigInt(maxSftpData)).u64(BigInt(MAX_HANDLES)).end();
        return;
      case "expand-path@openssh.com":
        return this.#name(id, expandPath(pathOf(r)));
      case "home-directory":
        return this.#name(id, homeDirectory(r.text()));
      case "copy-data":
        return this.#copy(id, r);
      case "users-groups-by-id@openssh.com":
        return this.#names(id, r);
      default:
        return this.#status(id, SFTP_STATUS.OP_UNSUPPORTED, "Operation unsupported");
    }
  }

  #open(id: number, r: RequestReader): void {
    const path = pathOf(r).slice();
    const flags = openFlags(r.u32());
    const mode = (readAttributes(r).permissions ?? 0o666) & 0o7777;
    this.#attempt("open", path, () => {
      const fd = sys.open(path, flags, mode);
      const name = this.#handles.add({ kind: "file", fd, path, bytesRead: 0, bytesWritten: 0 });
      this.#out.begin(FXP.HANDLE).u32(id).string(name).end();
    });
  }

  #close(id: number, r: RequestReader): void {
    this.#reportClosed(this.#handles.close(r.string()));
    this.#ok(id);
  }

  #read(id: number, r: RequestReader): void {
    const file = this.#handles.file(r.string());
    const offset = offsetOf(r);
    const length = Math.min(r.u32(), maxSftpData);
    const out = this.#out.begin(FXP.DATA).u32(id);
    const n = out.stringInPlace(length, (room) => sys.pread(file.fd, room, offset));
    if (n === 0 && length > 0) {
      out.abandon();
      return this.#status(id, SFTP_STATUS.EOF, "End of file");
    }
    file.bytesRead += n;
    out.end();
  }

  #write(id: number, r: RequestReader): void {
    const file = this.#handles.file(r.string());
    const offset = offsetOf(r);
    const data = r.string();
    sys.pwriteAll(file.fd, data, offset);
    file.bytesWritten += data.length;
    this.#ok(id);
  }

  #openDirectory(id: number, r: RequestReader): void {
    const path = pathOf(r).slice();
    const fd = sys.open(path, sys.O_RDONLY | sys.O_DIRECTORY);
    const name = this.#handles.add({ kind: "directory", fd, path, names: [] });
    this.#out.begin(FXP.HANDLE).u32(id).string(name).end();
  }

  #readDirectory(id: number, r: RequestReader): void {
    const directory = this.#handles.directory(r.string());
    const now = Date.now();
    const out = this.#out.begin(FXP.NAME).u32(id);
    let count = 0;
    const setCount = out.later32();
    while (out.size < NAMES_SIZE - 4 * MAX_NAME) {
      const name = nextName(directory);
      if (!name) break;
      let stat: sys.Stat;
      try {
        stat = sys.lstatAt(directory.fd, name);
      } catch {
        continue; // Removed since.
      }
      out.string(name).string(concat(longFields(stat, now) + " ", name));
      writeAttributes(out, stat);
      count++;
    }
    if (count === 0) {
      out.abandon();
      return this.#status(id, SFTP_STATUS.EOF, "End of file");
    }
    setCount(count);
    out.end();
  }

  /** copy-data: from one open file into another, without the bytes going to the client. */
  #copy(id: number, r: RequestReader): void {
    const from = { file: this.#handles.file(r.string()), offset: offsetOf(r) };
    const length = r.u64();
    const to = { file: this.#handles.file(r.string()), offset: offsetOf(r) };
    copyData(from, to, length);
    this.#ok(id);
  }

  /** users-groups-by-id: names for lists of numbers, empty where there is none. */
  #names(id: number, r: RequestReader): void {
    const numbers = (list: Uint8Array<ArrayBuffer>) => {
      const reader = new RequestReader(list);
      const ids: number[] = [];
      while (reader.remaining > 0) ids.push(reader.u32());
      if (ids.length > MAX_IDS) throw new OsError("users-groups-by-id", sys.EINVAL);
      return ids;
    };
    const users = numbers(r.string()).map((uid) => sys.userName(uid) ?? "");
    const groups = numbers(r.string()).map((gid) => sys.groupName(gid) ?? "");
    const out = this.#out.begin(FXP.EXTENDED_REPLY).u32(id);
    for (const names of [users, groups]) {
      const setLength = out.later32();
      const before = out.size;
      for (const name of names) out.string(name.slice(0, MAX_USER_NAME));
      setLength(out.size - before);
    }
    out.end();
  }

  /** A change of the file system: done, reported, answered. */
  #change(
    id: number,
    action: SftpReport["action"],
    path: Uint8Array,
    change: () => void,
    target?: Uint8Array,
  ): void {
    this.#attempt(action, path, change, target);
    this.#ok(id);
  }

  #two(
    id: number,
    action: "rename" | "link",
    r: RequestReader,
    change: (from: Uint8Array, to: Uint8Array) => void,
  ): void {
    const from = pathOf(r);
    const to = pathOf(r);
    this.#change(id, action, from, () => change(from, to), to);
  }

  #attempt(
    action: SftpReport["action"],
    path: Uint8Array,
    what: () => void,
    target?: Uint8Array,
  ): void {
    const report = {
      action,
      path: absolute(path),
      // A symbolic link's target is text, to be shown as it is.
      ...(target ? { target_path: action === "symlink" ? decode(target) : absolute(target) } : {}),
    };
    try {
      what();
    } catch (error) {
      this.#report({ ...report, error: textOf(error) });
      throw error;
    }
    this.#report(report);
  }

  #reportClosed(handle: Handle): void {
    if (handle.kind !== "file") return;
    this.#report({
      action: "close",
      path: absolute(handle.path),
      bytes_read: handle.bytesRead,
      bytes_written: handle.bytesWritten,
    });
  }

  #attributes(id: number, stat: sys.Stat): void {
    const out = this.#out.begin(FXP.ATTRS).u32(id);
    writeAttributes(out, stat);
    out.end();
  }

  #name(id: number, path: Uint8Array): void {
    this.#out.begin(FXP.NAME).u32(id).u32(1).string(path).string(path).u32(0).end();
  }

  #fileSystem(id: number, values: bigint[]): void {
    const out = this.#out.begin(FXP.EXTENDED_REPLY).u32(id);
    for (const [i, value] of values.entries()) {
      // Of the flags, only ST_RDONLY and ST_NOSUID are defined by the extension.
      out.u64(i === STATVFS_FLAGS ? value & 3n : value);
    }
    out.end();
  }

  #ok(id: number): void {
    this.#status(id, SFTP_STATUS.OK, "Success");
  }

  #status(id: number, status: number, message: string): void {
    this.#out.begin(FXP.STATUS).u32(id).u32(status).string(message).string("").end();
  }
}

const STATVFS_FLAGS = 9;
const MAX_IDS = 1024;
const MAX_USER_NAME = 64;

/** @throws OsError EINVAL beyond what the system can address */
function offsetOf(r: RequestReader): bigint {
  const offset = r.u64();
  if (offset > 0x7fff_ffff_ffff_ffffn) throw new OsError("offset", sys.EINVAL);
  return offset;
}

/** An empty path is the directory one is in. */
function pathOf(r: RequestReader): Uint8Array {
  const path = r.string();
  return path.length === 0 ? DOT : path;
}

const DOT = new TextEncoder().encode(".");

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function decode(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

function absolute(path: Uint8Array): string {
  const text = decode(path);
  return text.startsWith("/") ? text : `${Deno.cwd()}/${text}`;
}

function concat(text: string, bytes: Uint8Array): Uint8Array {
  const head = encoder.encode(text);
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  return all;
}
