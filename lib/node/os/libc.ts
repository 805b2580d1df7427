/**
 * The part of glibc that the node needs and Deno does not offer, by FFI. Opened at first use, so
 * that only a process which runs sessions needs the permission.
 *
 * Numbers and struct layouts are those of 64-bit Linux, where x86-64 and arm64 agree; the two
 * differences (`epoll_event`, some open flags) are told apart in this directory by `isArm`.
 */
import { InternalError } from "../../base/errors.ts";

const symbols = {
  __errno_location: { parameters: [], result: "pointer" },
  strerror: { parameters: ["i32"], result: "pointer" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  access: { parameters: ["buffer", "i32"], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  waitid: { parameters: ["i32", "u32", "buffer", "i32"], result: "i32" },
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  prlimit: { parameters: ["i32", "i32", "buffer", "buffer"], result: "i32" },
  getgroups: { parameters: ["i32", "buffer"], result: "i32" },
  // pidfd_open() has no wrapper before glibc 2.36.
  syscall: { parameters: ["i64", "i64", "i64", "i64"], result: "i64" },

  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32", nonblocking: true },

  posix_openpt: { parameters: ["i32"], result: "i32" },
  grantpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname_r: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  tcgetattr: { parameters: ["i32", "buffer"], result: "i32" },
  tcsetattr: { parameters: ["i32", "i32", "buffer"], result: "i32" },

  posix_spawn: {
    parameters: ["buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  posix_spawnattr_init: { parameters: ["buffer"], result: "i32" },
  posix_spawnattr_setflags: { parameters: ["buffer", "i16"], result: "i32" },
  posix_spawnattr_setsigdefault: { parameters: ["buffer", "buffer"], result: "i32" },
  posix_spawnattr_setsigmask: { parameters: ["buffer", "buffer"], result: "i32" },
  posix_spawnattr_destroy: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_addopen: {
    parameters: ["buffer", "i32", "buffer", "i32", "u32"],
    result: "i32",
  },
  posix_spawn_file_actions_adddup2: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  posix_spawn_file_actions_addclose: { parameters: ["buffer", "i32"], result: "i32" },
  // Since glibc 2.29 and 2.34.
  posix_spawn_file_actions_addchdir_np: {
    parameters: ["buffer", "buffer"],
    result: "i32",
    optional: true,
  },
  posix_spawn_file_actions_addclosefrom_np: {
    parameters: ["buffer", "i32"],
    result: "i32",
    optional: true,
  },
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },

  // Name services may ask a directory server: never on the main thread.
  getpwnam_r: {
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  getspnam_r: {
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  getgrnam_r: {
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  getgrouplist: {
    parameters: ["buffer", "u32", "buffer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

export type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

let loaded: Libc | undefined;
let errnoView: Deno.UnsafePointerView | undefined;

/**
 * glibc, loaded once for the life of the process.
 *
 * @throws InternalError where there is no glibc (another libc, another system)
 */
export function libc(): Libc {
  if (!loaded) {
    try {
      loaded = Deno.dlopen("libc.so.6", symbols).symbols;
    } catch (cause) {
      throw new InternalError("the SSH service needs Linux with glibc (libc.so.6)", { cause });
    }
  }
  return loaded;
}

/** Whether this is arm64 rather than x86-64. */
export const isArm: boolean = Deno.build.arch === "aarch64";

export const EINTR = 4;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const EPIPE = 32;
export const ERANGE = 34;
export const ECONNRESET = 104;

export const O_RDWR = 0o2;
export const O_NOCTTY = 0o400;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const F_DUPFD_CLOEXEC = 1030;

/**
 * Why the call just made on this thread has failed. Valid only directly after a synchronous call
 * that returned its error value.
 */
export function errno(): number {
  if (!errnoView) {
    const location = libc().__errno_location();
    if (location === null) throw new InternalError("libc gives no errno");
    errnoView = new Deno.UnsafePointerView(location);
  }
  return errnoView.getInt32();
}

/** A system call that failed. */
export class OsError extends Error {
  constructor(readonly syscall: string, readonly errno: number, about?: string) {
    super(`${syscall}${about ? ` ${about}` : ""}: ${strerror(errno)}`);
    this.name = "OsError";
  }
}

/** Passes a result on, or throws for -1. */
export function check<T extends number | bigint>(result: T, syscall: string, about?: string): T {
  if (Number(result) === -1) throw new OsError(syscall, errno(), about);
  return result;
}

/** For the calls that return their errno. */
export function checkCode(code: number, syscall: string, about?: string): void {
  if (code !== 0) throw new OsError(syscall, code, about);
}

export function strerror(code: number): string {
  const text = libc().strerror(code);
  return text === null ? `error ${code}` : Deno.UnsafePointerView.getCString(text);
}

const encoder = new TextEncoder();

/** @throws InternalError when the text holds a NUL, which would cut it short unseen */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new InternalError("a string for the system holds a NUL");
  // In an ArrayBuffer of its own: a small typed array could be moved by the garbage collector
  // while another thread reads it.
  const bytes = encoder.encode(text + "\0");
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** A NULL-terminated array of C strings. Keep the value until the call is over. */
export class CStringArray {
  readonly pointers: BigUint64Array<ArrayBuffer>;
  readonly #strings: Uint8Array<ArrayBuffer>[];

  constructor(strings: readonly string[]) {
    this.#strings = strings.map(cString);
    this.pointers = new BigUint64Array(strings.length + 1);
    this.#strings.forEach((s, i) => {
      this.pointers[i] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(s)));
    });
  }

  /** Keeps the strings reachable; to be called after the system has read them. */
  release(): void {
    this.#strings.length = 0;
  }
}

/** Closes descriptors of our own; closing is the end, so a failure is not reported. */
export function closeFd(...fds: number[]): void {
  for (const fd of fds) if (fd >= 0) libc().close(fd);
}
