/** A plain SFTP handler on the file system, for tests only: no owner, no confinement. */
import { SFTP_OPEN, type SftpAttrs, type SftpEntry, SftpError } from "./sftp.ts";
import type { SftpHandler } from "./test_sftp_server.ts";

export class FsHandler implements SftpHandler {
  readonly #files = new Map<number, Deno.FsFile>();
  readonly #dirs = new Map<number, SftpEntry[]>();
  readonly #readOnly: boolean;
  #next = 0;

  constructor(options: { readOnly?: boolean } = {}) {
    this.#readOnly = options.readOnly ?? false;
  }

  open(path: string, flags: number, attrs: SftpAttrs): number {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    const file = Deno.openSync(path, {
      read: (flags & SFTP_OPEN.READ) !== 0,
      write: (flags & SFTP_OPEN.WRITE) !== 0,
      create: (flags & SFTP_OPEN.CREATE) !== 0,
      truncate: (flags & SFTP_OPEN.TRUNCATE) !== 0,
      createNew: (flags & SFTP_OPEN.EXCLUSIVE) !== 0,
      ...(attrs.mode === undefined ? {} : { mode: attrs.mode & 0o777 }),
    });
    this.#files.set(++this.#next, file);
    return this.#next;
  }

  opendir(path: string): number {
    const entries = [...Deno.readDirSync(path)].map(({ name }) => ({
      name,
      longName: name,
      attrs: this.lstat(`${path}/${name}`),
    }));
    this.#dirs.set(++this.#next, entries);
    return this.#next;
  }

  close(handle: number): void {
    if (this.#dirs.delete(handle)) return;
    this.#file(handle).close();
    this.#files.delete(handle);
  }

  read(handle: number, offset: number, into: Uint8Array): number {
    const file = this.#file(handle);
    file.seekSync(offset, Deno.SeekMode.Start);
    return file.readSync(into) ?? 0;
  }

  write(handle: number, offset: number, data: Uint8Array): void {
    const file = this.#file(handle);
    file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < data.length;) at += file.writeSync(data.subarray(at));
  }

  readdir(handle: number): SftpEntry[] | undefined {
    const entries = this.#dirs.get(handle);
    if (!entries) throw new SftpError(4, "No such handle");
    return entries.length > 0 ? entries.splice(0, 100) : undefined;
  }

  stat(path: string): SftpAttrs {
    return attrsOf(Deno.statSync(path));
  }

  lstat(path: string): SftpAttrs {
    return attrsOf(Deno.lstatSync(path));
  }

  fstat(handle: number): SftpAttrs {
    return attrsOf(this.#file(handle).statSync());
  }

  setstat(path: string, attrs: SftpAttrs): void {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    if (attrs.mode !== undefined) Deno.chmodSync(path, attrs.mode & 0o7777);
    if (attrs.atime !== undefined) Deno.utimeSync(path, attrs.atime, attrs.mtime ?? attrs.atime);
  }

  fsetstat(handle: number, attrs: SftpAttrs): void {
    if (attrs.size !== undefined) this.#file(handle).truncateSync(attrs.size);
  }

  remove(path: string): void {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    Deno.removeSync(path);
  }

  mkdir(path: string): void {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    Deno.mkdirSync(path);
  }

  rmdir(path: string): void {
    this.remove(path);
  }

  realpath(path: string): string {
    return Deno.realPathSync(path);
  }

  rename(from: string, to: string): void {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    Deno.renameSync(from, to);
  }

  posixRename(from: string, to: string): void {
    this.rename(from, to);
  }

  fsync(handle: number): void {
    this.#file(handle).syncSync();
  }

  readlink(path: string): string {
    return Deno.readLinkSync(path);
  }

  symlink(target: string, path: string): void {
    if (this.#readOnly) throw new SftpError(3, "read-only");
    Deno.symlinkSync(target, path);
  }

  #file(handle: number): Deno.FsFile {
    const file = this.#files.get(handle);
    if (!file) throw new SftpError(4, "No such handle");
    return file;
  }
}

function attrsOf(info: Deno.FileInfo): SftpAttrs {
  const seconds = (date: Date | null) => Math.floor((date?.getTime() ?? 0) / 1000);
  return {
    size: info.size,
    uid: info.uid ?? 0,
    gid: info.gid ?? 0,
    mode: info.mode ?? 0,
    atime: seconds(info.atime),
    mtime: seconds(info.mtime),
  };
}
