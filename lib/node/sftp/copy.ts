/** The extension copy-data: a copy that never leaves the server. */
import * as fs from "../os/fs.ts";
import { OsError } from "../os/libc.ts";
import type { OpenFile } from "./handles.ts";

export interface Place {
  readonly file: OpenFile;
  readonly offset: bigint;
}

const CHUNK = 256 * 1024;

/**
 * Copies `length` bytes, or everything to the end of the file for 0.
 *
 * @throws OsError EINVAL when a file would be copied onto what is still to be read of it
 */
export function copyData(from: Place, to: Place, length: bigint): void {
  const toEnd = length === 0n;
  if (from.file === to.file && (toEnd || overlap(from.offset, to.offset, length))) {
    throw new OsError("copy-data", fs.EINVAL);
  }
  const buffer = new Uint8Array(CHUNK);
  for (let done = 0n; toEnd || done < length;) {
    const left = length - done;
    const want = toEnd || left > BigInt(CHUNK) ? CHUNK : Number(left);
    const n = fs.pread(from.file.fd, buffer.subarray(0, want), from.offset + done);
    if (n === 0) break;
    fs.pwriteAll(to.file.fd, buffer.subarray(0, n), to.offset + done);
    done += BigInt(n);
    from.file.bytesRead += n;
    to.file.bytesWritten += n;
  }
}

function overlap(a: bigint, b: bigint, length: bigint): boolean {
  return a < b + length && b < a + length;
}
