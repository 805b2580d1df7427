/** Files of this computer and of a node, behind one interface, so that copying is written once. */
import { NotFound } from "../base/errors.ts";
import { SFTP_OPEN, SFTP_STATUS, type SftpAttrs, type SftpClient, SftpError } from "../ssh/sftp.ts";

export interface FileStat {
  kind: "file" | "directory" | "other";
  size: number;
  /** Permission bits. */
  mode: number;
  /** Seconds since the epoch; undefined where they are not known. */
  times?: { accessed: number; modified: number };
}

/** What a copy is given of its original. */
export interface FileAttributes {
  mode: number;
  times?: { accessed: number; modified: number };
}

export interface FileTree {
  /** For messages: "db-1:/path" or "/path". */
  describe(path: string): string;
  /** Links are followed. undefined: there is nothing. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Names, without "." and "..". */
  list(path: string): Promise<string[]>;
  /** There may be one already. */
  makeDirectory(path: string, mode: number): Promise<void>;
  read(path: string, size: number): AsyncIterable<Uint8Array>;
  /** Replaces the content; `mode` is for a file that is new, `attributes` are set at the end. */
  write(
    path: string,
    source: AsyncIterable<Uint8Array>,
    mode: number,
    attributes?: FileAttributes,
  ): Promise<void>;
  setAttributes(path: string, attributes: FileAttributes): Promise<void>;
}

const chunkSize = 256 * 1024;

export class LocalTree implements FileTree {
  describe(path: string): string {
    return path;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      const info = await Deno.stat(path);
      return {
        kind: info.isFile ? "file" : info.isDirectory ? "directory" : "other",
        size: info.size,
        mode: (info.mode ?? 0o644) & 0o7777,
        ...(info.atime && info.mtime
          ? { times: { accessed: secondsOf(info.atime), modified: secondsOf(info.mtime) } }
          : {}),
      };
    } catch (e) {
      if (e instanceof Deno.errors.NotFound) return undefined;
      throw e;
    }
  }

  async list(path: string): Promise<string[]> {
    const names: string[] = [];
    for await (const entry of Deno.readDir(path)) names.push(entry.name);
    return names;
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    try {
      await Deno.mkdir(path, { mode });
    } catch (e) {
      const there = e instanceof Deno.errors.AlreadyExists ? await this.stat(path) : undefined;
      if (there?.kind !== "directory") throw e;
    }
  }

  async *read(path: string): AsyncGenerator<Uint8Array> {
    using file = await Deno.open(path);
    // Whoever takes a chunk has copied it when it asks for the next.
    const buffer = new Uint8Array(chunkSize);
    for (let n = await file.read(buffer); n !== null; n = await file.read(buffer)) {
      yield buffer.subarray(0, n);
    }
  }

  async write(
    path: string,
    source: AsyncIterable<Uint8Array>,
    mode: number,
    attributes?: FileAttributes,
  ): Promise<void> {
    using file = await Deno.open(path, { write: true, create: true, truncate: true, mode });
    for await (const chunk of source) {
      for (let done = 0; done < chunk.length;) done += await file.write(chunk.subarray(done));
    }
    if (attributes?.times) await file.utime(attributes.times.accessed, attributes.times.modified);
    if (attributes) await Deno.chmod(path, attributes.mode);
  }

  async setAttributes(path: string, attributes: FileAttributes): Promise<void> {
    await Deno.chmod(path, attributes.mode);
    const { times } = attributes;
    if (times) await Deno.utime(path, times.accessed, times.modified);
  }
}

export class RemoteTree implements FileTree {
  readonly #sftp: SftpClient;
  readonly #host: string;

  constructor(sftp: SftpClient, host: string) {
    this.#sftp = sftp;
    this.#host = host;
  }

  describe(path: string): string {
    return `${this.#host}:${path}`;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      return statOf(await this.#sftp.stat(path));
    } catch (e) {
      if (e instanceof SftpError && e.status === SFTP_STATUS.NO_SUCH_FILE) return undefined;
      throw e;
    }
  }

  async list(path: string): Promise<string[]> {
    return (await this.#sftp.list(path)).map((entry) => entry.name);
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    try {
      await this.#sftp.mkdir(path, { mode });
    } catch (e) {
      // Servers answer "failure" when there is something already.
      const there = e instanceof SftpError ? await this.stat(path) : undefined;
      if (there?.kind !== "directory") throw e;
    }
  }

  async *read(path: string, size: number): AsyncGenerator<Uint8Array> {
    const file = await this.#sftp.open(path, SFTP_OPEN.READ);
    try {
      yield* file.chunks({ size });
    } finally {
      await file.close();
    }
  }

  async write(
    path: string,
    source: AsyncIterable<Uint8Array>,
    mode: number,
    attributes?: FileAttributes,
  ): Promise<void> {
    const flags = SFTP_OPEN.WRITE | SFTP_OPEN.CREATE | SFTP_OPEN.TRUNCATE;
    const file = await this.#sftp.open(path, flags, { mode });
    try {
      await file.writeAll(source);
      if (attributes) await file.setstat(attrsOf(attributes));
    } finally {
      await file.close();
    }
  }

  async setAttributes(path: string, attributes: FileAttributes): Promise<void> {
    await this.#sftp.setstat(path, attrsOf(attributes));
  }
}

/** What a missing file is called, at either end. */
export function missing(tree: FileTree, path: string): NotFound {
  return new NotFound(`${tree.describe(path)}: No such file or directory`);
}

const typeMask = 0o170000;

function statOf({ mode = 0o100644, size = 0, atime, mtime }: SftpAttrs): FileStat {
  const type = mode & typeMask;
  return {
    kind: type === 0o040000 ? "directory" : type === 0o100000 || type === 0 ? "file" : "other",
    size,
    mode: mode & 0o7777,
    ...(atime === undefined || mtime === undefined
      ? {}
      : { times: { accessed: atime, modified: mtime } }),
  };
}

function attrsOf({ mode, times }: FileAttributes): SftpAttrs {
  return { mode, ...(times ? { atime: times.accessed, mtime: times.modified } : {}) };
}

function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
