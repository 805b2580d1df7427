/** Accounts of the operating system, from the name services (files, LDAP, …) as sshd asks them. */
import { AccessDenied, InternalError, NotFound } from "../../base/errors.ts";
import { printable } from "../../base/text.ts";
import { cString, ERANGE, type Libc, libc, OsError } from "../os/libc.ts";

export interface OsUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** All groups, the primary one among them. */
  readonly groups: readonly number[];
  /** Absolute path. */
  readonly home: string;
  /** Absolute path; what passwd(5) leaves empty is /bin/sh. */
  readonly shell: string;
}

/**
 * Names that no account has, or that mean something else to a program which is given them: paths,
 * options, numbers that would be taken for a uid, line breaks of passwd(5).
 */
// deno-lint-ignore no-control-regex
const UNSAFE_NAME = /[\x00-\x20\x7f-\x9f/:,;'"`$&|<>()*?[\]{}!\\#~=]|^[-+.@]|^[0-9]+$|^0x/iu;
const MAX_NAME_BYTES = 255;

/** @throws AccessDenied for a name that cannot be an account's */
export function assertLoginName(name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes > MAX_NAME_BYTES || UNSAFE_NAME.test(withoutDollar(name))) {
    throw new AccessDenied(
      `"${printable(name.slice(0, 64))}" is not a valid login name on this node`,
    );
  }
}

/** Machine accounts of Samba end in "$". */
function withoutDollar(name: string): string {
  return name.endsWith("$") ? name.slice(0, -1) : name;
}

/**
 * @throws AccessDenied for a name that cannot be an account's
 * @throws NotFound when there is no such account
 */
export async function lookUpUser(name: string): Promise<OsUser> {
  assertLoginName(name);
  const entry = await lookUp(libc().getpwnam_r, name, 48, "getpwnam_r");
  if (!entry) throw new NotFound(`this node has no operating-system user "${name}"`);
  const user = {
    name: entry.text(0),
    uid: entry.view.getUint32(16, true),
    gid: entry.view.getUint32(20, true),
    home: entry.text(32) || "/",
    shell: entry.text(40) || "/bin/sh",
  };
  // A name service that folds case or strips a domain has answered for another name than the one
  // that was authorized.
  if (user.name !== name) {
    throw new AccessDenied(`the operating-system user is called "${printable(user.name)}"`);
  }
  return { ...user, groups: await groupsOf(name, user.gid) };
}

/**
 * Days since 1970 on which the account expires, from shadow(5); undefined when it does not, when
 * there is no shadow entry, or when the daemon may not read it.
 */
export async function accountExpiryDay(name: string): Promise<number | undefined> {
  const entry = await lookUp(libc().getspnam_r, name, 72, "getspnam_r").catch(() => undefined);
  const day = entry ? Number(entry.view.getBigInt64(56, true)) : -1;
  return day >= 0 ? day : undefined;
}

let ttyGid: Promise<number | undefined> | undefined;

/** The group `tty`, which owns terminals; undefined where there is none. Looked up once. */
export function ttyGroup(): Promise<number | undefined> {
  return ttyGid ??= lookUp(libc().getgrnam_r, "tty", 32, "getgrnam_r")
    .then((entry) => entry?.view.getUint32(16, true), () => undefined);
}

type Getter = Libc["getpwnam_r"];

interface Entry {
  readonly view: DataView;
  /** The string behind the pointer at an offset. */
  text(offset: number): string;
}

async function lookUp(
  get: Getter,
  name: string,
  structSize: number,
  call: string,
): Promise<Entry | undefined> {
  const key = cString(name);
  for (let size = 4096; size <= 1 << 20; size *= 4) {
    const struct = offHeap(structSize);
    const strings = offHeap(size);
    const result = offHeap(8);
    // Another thread writes them: held until it has.
    const keep = [key, struct, strings, result];
    const code = await get(key, struct, strings, BigInt(size), result);
    keep.length = 0;
    if (code === ERANGE) continue;
    // Several "not found" codes are in use, see getpwnam(3).
    if (new DataView(result.buffer).getBigUint64(0, true) === 0n) {
      if ([0, 1, 2, 3, 9].includes(code)) return undefined;
      throw new OsError(call, code, name);
    }
    const view = new DataView(struct.buffer);
    const base = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(strings)));
    return {
      view,
      text(offset) {
        // Pointers into `strings`; read from there, so that none is followed anywhere else.
        const start = Number(view.getBigUint64(offset, true) - base);
        if (start < 0 || start >= size) return "";
        return new TextDecoder().decode(strings.subarray(start, strings.indexOf(0, start)));
      },
    };
  }
  throw new InternalError(`${call}: the entry of "${name}" is too long`);
}

async function groupsOf(name: string, gid: number): Promise<number[]> {
  const key = cString(name);
  for (let room = 64; room <= 65_536; room *= 4) {
    const groups = offHeap(4 * room);
    const count = offHeap(4);
    new DataView(count.buffer).setInt32(0, room, true);
    const keep = [key, groups, count];
    const found = await libc().getgrouplist(key, gid, groups, count);
    keep.length = 0;
    if (found >= 0) {
      const length = new DataView(count.buffer).getInt32(0, true);
      return [...new Uint32Array(groups.buffer, 0, length)];
    }
  }
  throw new InternalError(`"${name}" is in too many groups`);
}

/** A typed array that the garbage collector does not move (small ones it may). */
function offHeap(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes));
}
