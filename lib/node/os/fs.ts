/**
 * File system calls for the file transfer programs: synchronous, by FFI, with paths as bytes.
 * Deno's own files take text only, so that a name which is not UTF-8 could not be transferred,
 * and they have no pread. Each program serves one client in a process of its own, so a call that
 * blocks holds up nobody else.
 */
import { errno, isArm, OsError } from "./libc.ts";
import { InternalError } from "../../base/errors.ts";

const path = "buffer";
const symbols = {
  open: { parameters: [path, "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  statx: { parameters: ["i32", path, "i32", "u32", "buffer"], result: "i32" },
  mkdir: { parameters: [path, "u32"], result: "i32" },
  rmdir: { parameters: [path], result: "i32" },
  unlink: { parameters: [path], result: "i32" },
  rename: { parameters: [path, path], result: "i32" },
  link: { parameters: [path, path], result: "i32" },
  symlink: { parameters: [path, path], result: "i32" },
  readlink: { parameters: [path, "buffer", "usize"], result: "isize" },
  realpath: { parameters: [path, "buffer"], result: "pointer" },
  truncate: { parameters: [path, "i64"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  chmod: { parameters: [path, "u32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fchmodat: { parameters: ["i32", path, "u32", "i32"], result: "i32" },
  chown: { parameters: [path, "u32", "u32"], result: "i32" },
  lchown: { parameters: [path, "u32", "u32"], result: "i32" },
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  utimensat: { parameters: ["i32", path, "buffer", "i32"], result: "i32" },
  futimens: { parameters: ["i32", "buffer"], result: "i32" },
  fsync: { parameters: ["i32"], result: "i32" },
  statvfs: { parameters: [path, "buffer"], result: "i32" },
  fstatvfs: { parameters: ["i32", "buffer"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  getpwuid: { parameters: ["u32"], result: "pointer" },
  getpwnam: { parameters: [path], result: "pointer" },
  getgrgid: { parameters: ["u32"], result: "pointer" },
  syscall: { parameters: ["i64", "i64", "buffer", "i64"], result: "i64" },
  // The same function with the shape that renameat2 has.
  renameat2_: {
    name: "syscall",
    parameters: ["i64", "i64", "buffer", "i64", "buffer", "i64"],
    result: "i64",
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Calls = Deno.DynamicLibrary<typeof symbols>["symbols"];
let loaded: Calls | undefined;

function calls(): Calls {
  try {
    return loaded ??= Deno.dlopen("libc.so.6", symbols).symbols;
  } catch (cause) {
    throw new InternalError("file transfer needs Linux with glibc (libc.so.6)", { cause });
  }
}

/** A path, without the NUL that ends it for the system. */
export type Path = Uint8Array;

export const O_RDONLY = 0o0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
export const O_DIRECTORY: number = isArm ? 0o40000 : 0o200000;
export const O_NOFOLLOW: number = isArm ? 0o100000 : 0o400000;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EINVAL = 22;
export const EEXIST = 17;
export const ENOTSUP = 95;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const UTIME_OMIT = 0x3ffffffen;
const PATH_MAX = 4096;

export interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: bigint;
  /** Seconds since 1970; nanoseconds are kept apart. */
  readonly atime: bigint;
  readonly mtime: bigint;
}

function fail(call: string): never {
  throw new OsError(call, errno());
}

function done(result: number | bigint, call: string): void {
  if (Number(result) < 0) fail(call);
}

function c(bytes: Path): Uint8Array<ArrayBuffer> {
  // A NUL would end the path early: what was checked would not be what is opened.
  if (bytes.includes(0)) throw new OsError("path", EINVAL);
  const copy = new Uint8Array(bytes.length + 1);
  copy.set(bytes);
  return copy;
}

export function open(path: Path, flags: number, mode = 0): number {
  const fd = calls().open(c(path), flags | O_CLOEXEC | O_NOCTTY, mode);
  if (fd < 0) fail("open");
  return fd;
}

export function close(fd: number): void {
  done(calls().close(fd), "close");
}

/** Reads once; 0 at the end. */
export function read(fd: number, into: Uint8Array<ArrayBuffer>): number {
  for (;;) {
    const n = Number(calls().read(fd, into, BigInt(into.length)));
    if (n >= 0) return n;
    if (errno() !== EINTR) fail("read");
  }
}

/** Writes all of it. */
export function writeAll(fd: number, bytes: Uint8Array<ArrayBuffer>): void {
  let rest = bytes;
  while (rest.length > 0) {
    const n = Number(calls().write(fd, rest, BigInt(rest.length)));
    if (n >= 0) rest = rest.subarray(n);
    else if (errno() !== EINTR) fail("write");
  }
}

export function pread(fd: number, into: Uint8Array<ArrayBuffer>, offset: bigint): number {
  for (;;) {
    const n = Number(calls().pread(fd, into, BigInt(into.length), offset));
    if (n >= 0) return n;
    if (errno() !== EINTR) fail("pread");
  }
}

/** Writes all of it. */
export function pwriteAll(fd: number, bytes: Uint8Array<ArrayBuffer>, offset: bigint): void {
  let rest = bytes;
  let at = offset;
  while (rest.length > 0) {
    const n = Number(calls().pwrite(fd, rest, BigInt(rest.length), at));
    if (n >= 0) {
      rest = rest.subarray(n);
      at += BigInt(n);
    } else if (errno() !== EINTR) fail("pwrite");
  }
}

const statBuffer = new DataView(new ArrayBuffer(256));
const statBytes = new Uint8Array(statBuffer.buffer);
const emptyPath = new Uint8Array(1);

export function stat(path: Path): Stat {
  return statAt(AT_FDCWD, c(path), 0);
}

export function lstat(path: Path): Stat {
  return statAt(AT_FDCWD, c(path), AT_SYMLINK_NOFOLLOW);
}

export function fstat(fd: number): Stat {
  return statAt(fd, emptyPath, AT_EMPTY_PATH);
}

/** Of a name in an open directory, without following a link. */
export function lstatAt(directory: number, name: Path): Stat {
  return statAt(directory, c(name), AT_SYMLINK_NOFOLLOW);
}

/** statx(2), whose structure is the same on every architecture. */
function statAt(fd: number, path: Uint8Array<ArrayBuffer>, flags: number): Stat {
  done(calls().statx(fd, path, flags, STATX_BASIC_STATS, statBytes), "stat");
  return {
    nlink: statBuffer.getUint32(16, true),
    uid: statBuffer.getUint32(20, true),
    gid: statBuffer.getUint32(24, true),
    mode: statBuffer.getUint16(28, true),
    size: statBuffer.getBigUint64(40, true),
    atime: statBuffer.getBigInt64(64, true),
    mtime: statBuffer.getBigInt64(112, true),
  };
}

const SYS_GETDENTS64 = isArm ? 61n : 217n;
const SYS_RENAMEAT2 = isArm ? 276n : 316n;
const RENAME_NOREPLACE = 1n;
const direntBuffer = new Uint8Array(64 * 1024);
const direntView = new DataView(direntBuffer.buffer);

/** Some more names of an open directory, "." and ".." among them; none at the end. */
export function readNames(directory: number): Uint8Array[] {
  const size = BigInt(direntBuffer.length);
  const n = Number(calls().syscall(SYS_GETDENTS64, BigInt(directory), direntBuffer, size));
  if (n < 0) fail("getdents64");
  const names: Uint8Array[] = [];
  // struct linux_dirent64: u64 inode, i64 offset, u16 length of the record, u8 type, name, NUL.
  for (let at = 0; at < n; at += direntView.getUint16(at + 16, true)) {
    const start = at + 19;
    names.push(direntBuffer.slice(start, direntBuffer.indexOf(0, start)));
  }
  return names;
}

export function mkdir(path: Path, mode: number): void {
  done(calls().mkdir(c(path), mode), "mkdir");
}

export function rmdir(path: Path): void {
  done(calls().rmdir(c(path)), "rmdir");
}

export function unlink(path: Path): void {
  done(calls().unlink(c(path)), "unlink");
}

export function rename(from: Path, to: Path): void {
  done(calls().rename(c(from), c(to)), "rename");
}

/** Renames, unless there is something already: then it fails with EEXIST. */
export function renameNoReplace(from: Path, to: Path): void {
  const cwd = BigInt(AT_FDCWD);
  const r = calls().renameat2_(SYS_RENAMEAT2, cwd, c(from), cwd, c(to), RENAME_NOREPLACE);
  if (r >= 0n) return;
  // Not every file system has it.
  if (errno() !== EINVAL) fail("rename");
  if (exists(to)) throw new OsError("rename", EEXIST);
  rename(from, to);
}

/** Whether there is something, if only a link that leads nowhere. */
export function exists(path: Path): boolean {
  try {
    lstat(path);
    return true;
  } catch {
    return false;
  }
}

export function link(from: Path, to: Path): void {
  done(calls().link(c(from), c(to)), "link");
}

export function symlink(target: Path, path: Path): void {
  done(calls().symlink(c(target), c(path)), "symlink");
}

export function readlink(path: Path): Uint8Array {
  const buffer = new Uint8Array(PATH_MAX);
  const n = Number(calls().readlink(c(path), buffer, BigInt(buffer.length)));
  if (n < 0) fail("readlink");
  return buffer.subarray(0, n);
}

export function realpath(path: Path): Uint8Array {
  const buffer = new Uint8Array(PATH_MAX + 1);
  if (calls().realpath(c(path), buffer) === null) fail("realpath");
  return buffer.subarray(0, buffer.indexOf(0));
}

/** A file by its path, its link (the path not followed at its end) or its descriptor. */
export type Target = { path: Path } | { link: Path } | { fd: number };

export function truncate(target: Target, size: bigint): void {
  if ("fd" in target) done(calls().ftruncate(target.fd, size), "ftruncate");
  else if ("path" in target) done(calls().truncate(c(target.path), size), "truncate");
  else throw new OsError("truncate", EINVAL);
}

export function chmod(target: Target, mode: number): void {
  if ("fd" in target) done(calls().fchmod(target.fd, mode), "fchmod");
  else if ("path" in target) done(calls().chmod(c(target.path), mode), "chmod");
  else {
    done(calls().fchmodat(AT_FDCWD, c(target.link), mode, AT_SYMLINK_NOFOLLOW), "fchmodat");
  }
}

export function chown(target: Target, uid: number, gid: number): void {
  if ("fd" in target) done(calls().fchown(target.fd, uid, gid), "fchown");
  else if ("path" in target) done(calls().chown(c(target.path), uid, gid), "chown");
  else done(calls().lchown(c(target.link), uid, gid), "lchown");
}

/** Seconds since 1970; undefined leaves that time as it is. */
export function setTimes(
  target: Target,
  atime: bigint | undefined,
  mtime: bigint | undefined,
): void {
  const times = new BigInt64Array([
    atime ?? 0n,
    atime === undefined ? UTIME_OMIT : 0n,
    mtime ?? 0n,
    mtime === undefined ? UTIME_OMIT : 0n,
  ]);
  const bytes = new Uint8Array(times.buffer);
  if ("fd" in target) done(calls().futimens(target.fd, bytes), "futimens");
  else {
    const [path, flags] = "path" in target ? [target.path, 0] : [target.link, AT_SYMLINK_NOFOLLOW];
    done(calls().utimensat(AT_FDCWD, c(path), bytes, flags), "utimensat");
  }
}

export function fsync(fd: number): void {
  done(calls().fsync(fd), "fsync");
}

/** The eleven numbers of statvfs(3), in the order of the structure. */
export function statvfs(target: { path: Path } | { fd: number }): bigint[] {
  const buffer = new BigUint64Array(14);
  const bytes = new Uint8Array(buffer.buffer);
  if ("fd" in target) done(calls().fstatvfs(target.fd, bytes), "fstatvfs");
  else done(calls().statvfs(c(target.path), bytes), "statvfs");
  return [...buffer.subarray(0, 11)];
}

/** Sets the mask of new files' modes and gives the one before. */
export function umask(mask: number): number {
  return calls().umask(mask);
}

export function userName(uid: number): string | undefined {
  return stringAt(calls().getpwuid(uid), 0);
}

export function groupName(gid: number): string | undefined {
  return stringAt(calls().getgrgid(gid), 0);
}

/** Home directory of an account, by its name or its number. */
export function homeOf(user: string | number): string | undefined {
  const entry = typeof user === "number"
    ? calls().getpwuid(user)
    : calls().getpwnam(c(new TextEncoder().encode(user)));
  return stringAt(entry, 32);
}

/** The string whose pointer is at an offset of a structure. */
function stringAt(struct: Deno.PointerValue, offset: number): string | undefined {
  if (struct === null) return undefined;
  const text = new Deno.UnsafePointerView(struct).getPointer(offset);
  return text === null ? undefined : Deno.UnsafePointerView.getCString(text);
}
