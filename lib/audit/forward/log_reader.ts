/** Reads the audit log's files from a position on, in the order they were written. */

/** In the directory of one auth server's log. */
export interface LogPosition {
  /** Of the file: "YYYY-MM-DD.00:00:00.log". */
  readonly file: string;
  readonly offset: number;
}

export interface LogChunk extends LogPosition {
  /** Whole lines. */
  readonly bytes: Uint8Array;
}

const LINE_FEED = 10;

/** Where the log begins, or where it ends now; undefined while there is no file. */
export async function edgeOf(
  directory: string,
  edge: "start" | "end",
): Promise<LogPosition | undefined> {
  const file = (await files(directory)).at(edge === "start" ? 0 : -1);
  if (file === undefined) return undefined;
  const offset = edge === "start" ? 0 : (await Deno.stat(`${directory}/${file}`)).size;
  return { file, offset };
}

/**
 * What comes next, at most about `maxBytes` of it; undefined when everything was read. A file that
 * was removed is passed over.
 */
export async function readOn(
  directory: string,
  position: LogPosition,
  maxBytes: number,
): Promise<LogChunk | undefined> {
  const names = (await files(directory)).filter((name) => name >= position.file);
  for (const [i, file] of names.entries()) {
    const offset = file === position.file ? position.offset : 0;
    const bytes = await readLines(`${directory}/${file}`, offset, maxBytes);
    if (bytes.length > 0) return { file, offset, bytes };
    // What is left of a file behind which there is another one was torn by a crash.
    if (i === names.length - 1) return undefined;
  }
  return undefined;
}

async function files(directory: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    if (/^\d{4}-\d\d-\d\d\.00:00:00\.log$/.test(name)) names.push(name);
  }
  return names.sort();
}

async function readLines(path: string, offset: number, maxBytes: number): Promise<Uint8Array> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return new Uint8Array();
    throw e;
  }
  using _ = file;
  const { size } = await file.stat();
  // A single line may be longer than a chunk should be: then the chunk is that line.
  for (let want = maxBytes;; want *= 2) {
    const bytes = new Uint8Array(Math.max(0, Math.min(want, size - offset)));
    await file.seek(offset, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < bytes.length) {
      const n = await file.read(bytes.subarray(filled));
      if (n === null) break;
      filled += n;
    }
    const end = bytes.subarray(0, filled).lastIndexOf(LINE_FEED) + 1;
    if (end > 0 || want >= size - offset) return bytes.subarray(0, end);
  }
}
