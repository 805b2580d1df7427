/**
 * Starts a program as leader of a session of its own, by posix_spawn: no copy of the daemon's
 * memory, and nothing of ours runs in the child. Signals are back to their defaults (Deno ignores
 * SIGPIPE), none is blocked, and no descriptor above 2 is handed down.
 */
import {
  check,
  checkCode,
  cString,
  CStringArray,
  errno,
  libc,
  O_CLOEXEC,
  O_RDWR,
  OsError,
} from "./libc.ts";

export type StdioSource =
  /** The terminal at this path becomes fds 0 to 2 and the session's controlling terminal. */
  | { readonly tty: string }
  /** Descriptors of ours that become fds 0 to 2. */
  | { readonly fds: readonly [number, number, number] };

export interface SpawnRequest {
  /** Absolute path. */
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Entered before the program starts, by the daemon's own right; see canSetDirectory(). */
  readonly cwd: string;
  readonly stdio: StdioSource;
}

const FILE_ACTIONS_SIZE = 80;
const ATTR_SIZE = 336;
const SIGSET_SIZE = 128;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const SYS_PIDFD_OPEN = 434n;
const RLIMIT_NOFILE = 7;
/** What Linux gives a login unless told otherwise. */
const SOFT_NOFILE = 1024n;

export interface Spawned {
  readonly pid: number;
  /** Becomes readable when the process has ended. The caller closes it. */
  readonly pidfd: number;
}

/** @throws OsError when the program cannot be started */
export function spawn(request: SpawnRequest): Spawned {
  const c = libc();
  const argv = new CStringArray(request.argv);
  const env = new CStringArray(Object.entries(request.env).map(([k, v]) => `${k}=${v}`));
  // Paths are read when the child starts, not when the action is added.
  const keep: Uint8Array<ArrayBuffer>[] = [];
  const path = (text: string) => {
    const bytes = cString(text);
    keep.push(bytes);
    return bytes;
  };
  const actions = new Uint8Array(FILE_ACTIONS_SIZE);
  const attributes = new Uint8Array(ATTR_SIZE);
  const pid = new Int32Array(1);
  checkCode(c.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
  try {
    addStdio(actions, request.stdio, path);
    addChdir(actions, request.cwd, path);
    addCloseFrom(actions);
    setAttributes(attributes);
    checkCode(
      c.posix_spawn(
        new Uint8Array(pid.buffer),
        path(request.path),
        actions,
        attributes,
        new Uint8Array(argv.pointers.buffer),
        new Uint8Array(env.pointers.buffer),
      ),
      "posix_spawn",
      request.path,
    );
  } finally {
    c.posix_spawn_file_actions_destroy(actions);
    c.posix_spawnattr_destroy(attributes);
    argv.release();
    env.release();
    keep.length = 0;
  }
  return { pid: pid[0]!, pidfd: openPidfd(pid[0]!) };
}

function addStdio(
  actions: Uint8Array<ArrayBuffer>,
  stdio: StdioSource,
  path: (text: string) => Uint8Array<ArrayBuffer>,
): void {
  const c = libc();
  if ("tty" in stdio) {
    // Opened by the leader of a new session without O_NOCTTY: that makes it the controlling one.
    checkCode(
      c.posix_spawn_file_actions_addopen(actions, 0, path(stdio.tty), O_RDWR, 0),
      "posix_spawn_file_actions_addopen",
    );
    dup2(actions, 0, 1);
    dup2(actions, 0, 2);
    return;
  }
  stdio.fds.forEach((fd, i) => dup2(actions, fd, i));
}

function dup2(actions: Uint8Array<ArrayBuffer>, from: number, to: number): void {
  checkCode(
    libc().posix_spawn_file_actions_adddup2(actions, from, to),
    "posix_spawn_file_actions_adddup2",
  );
}

/** Whether `cwd` can be honoured: not before glibc 2.29. */
export function canSetDirectory(): boolean {
  return libc().posix_spawn_file_actions_addchdir_np !== null;
}

function addChdir(
  actions: Uint8Array<ArrayBuffer>,
  cwd: string,
  path: (text: string) => Uint8Array<ArrayBuffer>,
): void {
  const add = libc().posix_spawn_file_actions_addchdir_np;
  if (add) checkCode(add(actions, path(cwd)), "posix_spawn_file_actions_addchdir_np");
}

function addCloseFrom(actions: Uint8Array<ArrayBuffer>): void {
  const c = libc();
  const closeFrom = c.posix_spawn_file_actions_addclosefrom_np;
  if (closeFrom) {
    checkCode(closeFrom(actions, 3), "posix_spawn_file_actions_addclosefrom_np");
    return;
  }
  // Everything of ours is close-on-exec; this catches what the daemon itself inherited.
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(entry.name);
    if (fd < 3 || c.fcntl(fd, F_GETFD, 0n) !== 0) continue;
    checkCode(
      c.posix_spawn_file_actions_addclose(actions, fd),
      "posix_spawn_file_actions_addclose",
    );
  }
}

const F_GETFD = 1;

function setAttributes(attributes: Uint8Array<ArrayBuffer>): void {
  const c = libc();
  checkCode(c.posix_spawnattr_init(attributes), "posix_spawnattr_init");
  const all = new Uint8Array(SIGSET_SIZE).fill(0xff);
  checkCode(c.posix_spawnattr_setsigdefault(attributes, all), "posix_spawnattr_setsigdefault");
  const none = new Uint8Array(SIGSET_SIZE);
  checkCode(c.posix_spawnattr_setsigmask(attributes, none), "posix_spawnattr_setsigmask");
  const flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  checkCode(c.posix_spawnattr_setflags(attributes, flags), "posix_spawnattr_setflags");
}

function openPidfd(pid: number): number {
  const fd = Number(libc().syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n));
  if (fd >= 0) return fd;
  const reason = errno();
  libc().kill(pid, 9);
  libc().waitpid(pid, new Uint8Array(4), 0);
  throw new OsError("pidfd_open", reason, "(Linux 5.3 or newer is needed)");
}

/**
 * Deno raises its own limit of open files to the maximum at its start, and children inherit that;
 * programs which close every possible descriptor then take seconds. Gives a child the usual soft
 * limit; it may raise it again.
 */
export function resetFileLimit(pid: number): void {
  const limit = new BigUint64Array(2);
  const bytes = new Uint8Array(limit.buffer);
  if (libc().prlimit(pid, RLIMIT_NOFILE, null, bytes) !== 0) return;
  if (limit[0]! <= SOFT_NOFILE) return;
  limit[0] = SOFT_NOFILE;
  libc().prlimit(pid, RLIMIT_NOFILE, bytes, null);
}

/** A pipe, both ends close-on-exec and blocking: [read end, write end]. */
export function pipe(): [number, number] {
  const fds = new Int32Array(2);
  check(libc().pipe2(new Uint8Array(fds.buffer), O_CLOEXEC), "pipe2");
  return [fds[0]!, fds[1]!];
}
