/** ATTRS of the protocol, and the lines that look like those of `ls -l`. */
import type { ReplyWriter, RequestReader } from "./wire.ts";
import {
  chmod,
  chown,
  groupName,
  setTimes,
  type Stat,
  type Target,
  truncate,
  userName,
} from "../os/fs.ts";

const SIZE = 0x1;
const UIDGID = 0x2;
const PERMISSIONS = 0x4;
const ACMODTIME = 0x8;
const EXTENDED = 0x8000_0000;

export interface Attributes {
  readonly size?: bigint;
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** With the file's type where the client sends it; only the lower twelve bits are used. */
  readonly permissions?: number;
  readonly times?: { readonly atime: number; readonly mtime: number };
}

export function readAttributes(r: RequestReader): Attributes {
  const flags = r.u32();
  const attributes = {
    ...((flags & SIZE) !== 0 ? { size: r.u64() } : {}),
    ...((flags & UIDGID) !== 0 ? { owner: { uid: r.u32(), gid: r.u32() } } : {}),
    ...((flags & PERMISSIONS) !== 0 ? { permissions: r.u32() } : {}),
    ...((flags & ACMODTIME) !== 0 ? { times: { atime: r.u32(), mtime: r.u32() } } : {}),
  };
  if ((flags & EXTENDED) !== 0) {
    for (let count = r.u32(); count > 0; count--) {
      r.string();
      r.string();
    }
  }
  return attributes;
}

export function writeAttributes(w: ReplyWriter, stat: Stat): void {
  w.u32(SIZE | UIDGID | PERMISSIONS | ACMODTIME)
    .u64(stat.size)
    .u32(stat.uid)
    .u32(stat.gid)
    .u32(stat.mode)
    .u32(time32(stat.atime))
    .u32(time32(stat.mtime));
}

/** The protocol's times are 32 bits wide: they end in 2106. */
function time32(seconds: bigint): number {
  return Number(seconds < 0n ? 0n : seconds > 0xffff_ffffn ? 0xffff_ffffn : seconds);
}

/**
 * Changes a file as asked, as much of it as can be done.
 *
 * @throws OsError the last thing that could not be done
 */
export function applyAttributes(target: Target, a: Attributes): void {
  let error: unknown;
  const attempt = (change: () => void) => {
    try {
      change();
    } catch (e) {
      error = e;
    }
  };
  const { size, permissions, times, owner } = a;
  if (size !== undefined) attempt(() => truncate(target, size));
  if (permissions !== undefined) attempt(() => chmod(target, permissions & 0o7777));
  if (times) attempt(() => setTimes(target, BigInt(times.atime), BigInt(times.mtime)));
  if (owner) attempt(() => chown(target, owner.uid, owner.gid));
  if (error !== undefined) throw error;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const HALF_A_YEAR_S = 365 * 86_400 / 2;

/** What comes before the name in a line of `ls -l`. */
export function longFields(stat: Stat, nowMs: number): string {
  const time = Number(stat.mtime);
  const date = new Date(time * 1000);
  const now = nowMs / 1000;
  const recent = time <= now && now - time < HALF_A_YEAR_S;
  const two = (n: number) => String(n).padStart(2, "0");
  const valid = !Number.isNaN(date.getTime());
  const clock = recent
    ? `${two(date.getHours())}:${two(date.getMinutes())}`
    : ` ${valid ? date.getFullYear() : "????"}`;
  const day = valid
    ? `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock}`
    : "            ";
  return [
    modeString(stat.mode),
    String(stat.nlink).padStart(4),
    nameOf(users, stat.uid, userName).padEnd(8),
    nameOf(groups, stat.gid, groupName).padEnd(8),
    String(stat.size).padStart(8),
    day,
  ].join(" ");
}

const users = new Map<number, string>();
const groups = new Map<number, string>();

function nameOf(
  cache: Map<number, string>,
  id: number,
  look: (id: number) => string | undefined,
): string {
  let name = cache.get(id);
  if (name === undefined) {
    name = look(id) ?? String(id);
    cache.set(id, name);
  }
  return name;
}

const TYPES = new Map([
  [0o010000, "p"],
  [0o020000, "c"],
  [0o040000, "d"],
  [0o060000, "b"],
  [0o100000, "-"],
  [0o120000, "l"],
  [0o140000, "s"],
]);

function modeString(mode: number): string {
  const bits = (shift: number, special: boolean, letter: string) => {
    const m = mode >> shift;
    const x = (m & 1) !== 0 ? (special ? letter : "x") : special ? letter.toUpperCase() : "-";
    return `${(m & 4) !== 0 ? "r" : "-"}${(m & 2) !== 0 ? "w" : "-"}${x}`;
  };
  return (TYPES.get(mode & 0o170000) ?? "?") +
    bits(6, (mode & 0o4000) !== 0, "s") +
    bits(3, (mode & 0o2000) !== 0, "s") +
    bits(0, (mode & 0o1000) !== 0, "t");
}
