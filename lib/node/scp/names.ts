/** Names of files, as bytes, and how they are said. */
import { OsError, strerror } from "../os/libc.ts";

const SLASH = 0x2f;
const decoder = new TextDecoder();

export function join(directory: Uint8Array, name: Uint8Array): Uint8Array {
  const slash = directory[directory.length - 1] === SLASH ? 0 : 1;
  const all = new Uint8Array(directory.length + slash + name.length);
  all.set(directory);
  if (slash) all[directory.length] = SLASH;
  all.set(name, directory.length + slash);
  return all;
}

/** The last part of a path. */
export function baseName(path: Uint8Array): Uint8Array {
  let end = path.length;
  while (end > 1 && path[end - 1] === SLASH) end--;
  const trimmed = path.subarray(0, end);
  return end === 1 ? trimmed : trimmed.subarray(trimmed.lastIndexOf(SLASH) + 1);
}

/** For messages; whoever shows it makes it printable. */
export function describe(path: Uint8Array): string {
  return decoder.decode(path);
}

export function messageOf(error: unknown): string {
  if (error instanceof OsError) return strerror(error.errno);
  return error instanceof Error ? error.message : String(error);
}
