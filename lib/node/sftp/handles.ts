/** Open files and directories of one client. */
import { OsError } from "../os/libc.ts";
import { close, type Path, readNames } from "../os/fs.ts";

export interface OpenFile {
  readonly kind: "file";
  readonly fd: number;
  readonly path: Path;
  bytesRead: number;
  bytesWritten: number;
}

export interface OpenDirectory {
  readonly kind: "directory";
  readonly fd: number;
  readonly path: Path;
  /** Names that were read and not sent yet. */
  names: Uint8Array[];
}

export type Handle = OpenFile | OpenDirectory;

const EBADF = 9;
const EMFILE = 24;

/** Leaves descriptors for everything else, under the usual limit of 1024. */
export const MAX_HANDLES = 1000;

export class Handles {
  readonly #open = new Map<number, Handle>();
  #last = 0;

  /** @throws OsError when too many are open; the descriptor is closed then */
  add(handle: Handle): Uint8Array {
    if (this.#open.size >= MAX_HANDLES) {
      close(handle.fd);
      throw new OsError("open", EMFILE);
    }
    // Counted on, never used again: a late request cannot hit another file.
    this.#last = (this.#last + 1) >>> 0;
    this.#open.set(this.#last, handle);
    const name = new Uint8Array(4);
    new DataView(name.buffer).setUint32(0, this.#last);
    return name;
  }

  /** @throws OsError EBADF */
  file(name: Uint8Array): OpenFile {
    const handle = this.any(name);
    if (handle.kind !== "file") throw new OsError("handle", EBADF);
    return handle;
  }

  /** @throws OsError EBADF */
  directory(name: Uint8Array): OpenDirectory {
    const handle = this.any(name);
    if (handle.kind !== "directory") throw new OsError("handle", EBADF);
    return handle;
  }

  /** @throws OsError EBADF */
  any(name: Uint8Array): Handle {
    const handle = name.length === 4 ? this.#open.get(numberOf(name)) : undefined;
    if (!handle) throw new OsError("handle", EBADF);
    return handle;
  }

  /** @throws OsError EBADF, and what closing it shows: data that could not be written */
  close(name: Uint8Array): Handle {
    const handle = this.any(name);
    this.#open.delete(numberOf(name));
    close(handle.fd);
    return handle;
  }

  /** Closes all and gives them back. */
  closeAll(): Handle[] {
    const handles = [...this.#open.values()];
    this.#open.clear();
    for (const handle of handles) close(handle.fd);
    return handles;
  }
}

function numberOf(name: Uint8Array): number {
  return new DataView(name.buffer, name.byteOffset, 4).getUint32(0);
}

/** The next name of a directory; undefined at the end. */
export function nextName(directory: OpenDirectory): Uint8Array | undefined {
  if (directory.names.length === 0) directory.names = readNames(directory.fd).reverse();
  return directory.names.pop();
}
