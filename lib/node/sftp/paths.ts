/** Paths as clients mean them: relative ones, "~", and ones whose last part is not there yet. */
import { OsError } from "../os/libc.ts";
import { ENOENT, homeOf, type Path, realpath } from "../os/fs.ts";

const SLASH = 0x2f;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * The absolute path without links; the last part need not exist, because clients ask for the name
 * of a file that they are about to make.
 *
 * @throws OsError
 */
export function resolvePath(path: Path): Path {
  try {
    return realpath(path);
  } catch (error) {
    if (!(error instanceof OsError) || error.errno !== ENOENT) throw error;
    const end = trimSlashes(path);
    const cut = end.lastIndexOf(SLASH);
    const last = end.subarray(cut + 1);
    // "x/.." of an x that is not there has no meaning.
    if (last.length === 0 || decoder.decode(last) === "..") throw error;
    const parent = realpath(
      cut < 0 ? encoder.encode(".") : cut === 0 ? ROOT : end.subarray(0, cut),
    );
    return join(parent, last);
  }
}

const ROOT = encoder.encode("/");

/** "~" and "~user" at the beginning replaced by the home directory, then as resolvePath(). */
export function expandPath(path: Path): Path {
  if (path[0] !== 0x7e) return resolvePath(path);
  const slash = path.indexOf(SLASH);
  const name = decoder.decode(path.subarray(1, slash < 0 ? path.length : slash));
  const rest = slash < 0 ? new Uint8Array() : path.subarray(slash + 1);
  const home = encoder.encode(homeText(name));
  return resolvePath(rest.length === 0 ? home : join(home, rest));
}

/**
 * Home directory of an account, the own one for an empty name.
 *
 * @throws OsError ENOENT when there is none
 */
export function homeDirectory(user: string): Path {
  return resolvePath(encoder.encode(homeText(user)));
}

function homeText(user: string): string {
  const home = user === ""
    ? Deno.env.get("HOME") ?? homeOf(Deno.uid() ?? 0)
    : user.includes("\0")
    ? undefined
    : homeOf(user);
  if (!home) throw new OsError("home", ENOENT);
  return home;
}

function trimSlashes(path: Path): Path {
  let end = path.length;
  while (end > 1 && path[end - 1] === SLASH) end--;
  return path.subarray(0, end);
}

function join(directory: Path, name: Path): Path {
  const slash = directory[directory.length - 1] === SLASH ? 0 : 1;
  const all = new Uint8Array(directory.length + slash + name.length);
  all.set(directory);
  if (slash) all[directory.length] = SLASH;
  all.set(name, directory.length + slash);
  return all;
}
