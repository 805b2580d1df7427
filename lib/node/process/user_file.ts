/** A small file of a user's, read by the daemon's own right. */
import { OsError } from "../os/libc.ts";
import * as fs from "../os/fs.ts";
import type { OsUser } from "./os_user.ts";

const WRITABLE_BY_OTHERS = 0o022;

/**
 * The text of a file, if it is the user's own and nobody else could have written it; undefined
 * otherwise. What is looked at is the opened file, so that it cannot be exchanged in between for
 * one that only the daemon may read.
 */
export function readUserFile(user: OsUser, path: string, maxBytes: number): string | undefined {
  let fd: number;
  try {
    // Not to wait for the writer of a pipe.
    const flags = fs.O_RDONLY | fs.O_NONBLOCK | fs.O_NOFOLLOW;
    fd = fs.open(new TextEncoder().encode(path), flags);
  } catch (error) {
    if (error instanceof OsError) return undefined;
    throw error;
  }
  try {
    const { mode, uid, size } = fs.fstat(fd);
    if ((mode & fs.S_IFMT) !== fs.S_IFREG || uid !== user.uid) return undefined;
    if ((mode & WRITABLE_BY_OTHERS) !== 0 || size > BigInt(maxBytes)) return undefined;
    const buffer = new Uint8Array(maxBytes);
    let length = 0;
    for (let n = -1; n !== 0 && length < maxBytes;) {
      n = fs.read(fd, buffer.subarray(length));
      length += n;
    }
    return new TextDecoder().decode(buffer.subarray(0, length));
  } catch (error) {
    if (error instanceof OsError) return undefined;
    throw error;
  } finally {
    fs.close(fd);
  }
}
