/**
 * Copies files and trees between two places. Nothing that the source says leads out of the place
 * that the user named: names of entries are checked, links are followed at the source and never
 * made, and set-user-id bits do not come in from elsewhere.
 */
import { BadParameter, ConnectionProblem, LimitExceeded, messageOf } from "../base/errors.ts";
import {
  type FileAttributes,
  type FileStat,
  type FileTree,
  LocalTree,
  missing,
} from "./file_tree.ts";
import { baseName, hasPattern, isEntryName, joinPath, matchesPattern } from "./scp_path.ts";

export interface CopyOptions {
  recursive: boolean;
  /** Times and modes of the original. */
  preserve: boolean;
  /** A file could not be copied; the others go on. */
  onError(message: string): void;
  onProgress?(file: { path: string; done: number; size: number }): void;
}

export interface CopySource {
  tree: FileTree;
  path: string;
}

/** Files at a time: small ones would else wait for one answer after the other. */
const filesAtOnce = 8;
/** As OpenSSH: links that lead in a circle end here. */
const maxDepth = 64;

/**
 * Copies sources to a target, as scp does: into it when it is a directory, else to that name.
 * @returns whether everything was copied
 * @throws BadParameter when several sources have no directory to go to; ConnectionProblem
 */
export async function copyAll(
  sources: readonly CopySource[],
  target: CopySource,
  options: CopyOptions,
): Promise<boolean> {
  const copy = new Copy(target.tree, options);
  const expanded: CopySource[] = [];
  for (const source of sources) {
    await copy.attempt(async () => void expanded.push(...await expand(source)));
  }
  const isDirectory = (await target.tree.stat(target.path))?.kind === "directory";
  if (expanded.length > 1 && !isDirectory) {
    throw new BadParameter(
      `${target.tree.describe(target.path)} is not a directory: several files need one to go to`,
    );
  }
  try {
    for (const { tree, path } of expanded) {
      const name = isDirectory ? baseName(path) : undefined;
      const to = name === undefined ? target.path : joinPath(target.path, name);
      await copy.attempt(() => copy.entry(tree, path, to, 0));
    }
    await copy.finished();
  } finally {
    await copy.settled();
  }
  return copy.failures === 0;
}

/** Patterns in paths of a node are matched here: the server cannot answer with other files. */
async function expand(source: CopySource): Promise<CopySource[]> {
  const { tree, path } = source;
  if (tree instanceof LocalTree || !hasPattern(path) || await tree.stat(path)) return [source];
  let found = [path.startsWith("/") ? "/" : "."];
  for (const part of path.split("/").filter((each) => each !== "")) {
    const next: string[] = [];
    for (const dir of found) {
      if (!hasPattern(part)) next.push(joinPath(dir, part));
      else if ((await tree.stat(dir))?.kind === "directory") {
        const names = (await tree.list(dir)).filter((name) =>
          isEntryName(name) && matchesPattern(part, name)
        );
        next.push(...names.sort().map((name) => joinPath(dir, name)));
      }
    }
    found = next;
  }
  if (found.length === 0) throw missing(tree, path);
  return found.map((each) => ({ tree, path: each }));
}

class Copy {
  failures = 0;
  readonly #to: FileTree;
  readonly #options: CopyOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(to: FileTree, options: CopyOptions) {
    this.#to = to;
    this.#options = options;
  }

  /** @throws ConnectionProblem: without a connection the other files need not be tried */
  async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (e) {
      if (e instanceof ConnectionProblem) throw e;
      this.failures++;
      this.#options.onError(messageOf(e));
    }
  }

  async entry(from: FileTree, path: string, to: string, depth: number): Promise<void> {
    const stat = await about(from, path, () => from.stat(path));
    if (!stat) throw path.includes(unreadable) ? notUtf8(from, path) : missing(from, path);
    if (stat.kind === "file") return await this.#start(() => this.#file(from, path, to, stat));
    if (stat.kind === "other") {
      throw new BadParameter(`${from.describe(path)}: not a regular file`);
    }
    if (!this.#options.recursive) {
      throw new BadParameter(`${from.describe(path)}: is a directory (-r copies directories)`);
    }
    await this.#directory(from, path, to, stat, depth);
  }

  /** All files that were started are done. */
  async finished(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Nothing is under way any more, whether it failed or not. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  async #directory(
    from: FileTree,
    path: string,
    to: string,
    stat: FileStat,
    depth: number,
  ): Promise<void> {
    if (depth >= maxDepth) {
      throw new LimitExceeded(`${from.describe(path)}: deeper than ${maxDepth} directories`);
    }
    const names = await about(from, path, () => from.list(path));
    // Its owner must be able to fill it; the mode of the original comes last.
    const mode = (stat.mode & 0o777) | 0o700;
    await about(this.#to, to, () => this.#to.makeDirectory(to, mode));
    for (const name of names) {
      await this.attempt(async () => {
        if (!isEntryName(name)) {
          throw new BadParameter(`${from.describe(path)}: holds a bad file name, left out`);
        }
        await this.entry(from, joinPath(path, name), joinPath(to, name), depth + 1);
      });
    }
    if (!this.#options.preserve) return;
    // Files that come later would change its time.
    await this.finished();
    await about(this.#to, to, () => this.#to.setAttributes(to, this.#attributes(stat)));
  }

  /** Runs a file's copy beside others, once there is room. */
  async #start(action: () => Promise<void>): Promise<void> {
    while (this.#running.size >= filesAtOnce) await Promise.race(this.#running);
    const done = this.attempt(action).finally(() => this.#running.delete(done));
    // Whoever waits for room or for the end sees the failure of a connection.
    done.catch(() => {});
    this.#running.add(done);
  }

  async #file(from: FileTree, path: string, to: string, stat: FileStat): Promise<void> {
    let sourceFailed = false;
    const source = this.#counted(
      from.read(path, stat.size),
      path,
      stat.size,
      () => sourceFailed = true,
    );
    const attributes = this.#options.preserve ? this.#attributes(stat) : undefined;
    try {
      await this.#to.write(to, source, stat.mode & 0o777, attributes);
    } catch (e) {
      // Which of the two ends failed is the first thing one wants to know.
      const [tree, name] = sourceFailed ? [from, path] : [this.#to, to];
      throw e instanceof ConnectionProblem ? e : located(tree, name, e);
    }
  }

  /** Passes bytes on; `onSourceError` is called when it is the source that breaks. */
  async *#counted(
    source: AsyncIterable<Uint8Array>,
    path: string,
    size: number,
    onSourceError: () => void,
  ): AsyncGenerator<Uint8Array> {
    let done = 0;
    const iterator = source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator.next().catch((e) => {
          onSourceError();
          throw e;
        });
        if (next.done) break;
        yield next.value;
        done += next.value.length;
        this.#options.onProgress?.({ path, done, size });
      }
    } finally {
      await iterator.return?.();
    }
    this.#options.onProgress?.({ path, done, size: done });
  }

  #attributes(stat: FileStat): FileAttributes {
    // What a node says must not become a set-user-id program here.
    const mask = this.#to instanceof LocalTree ? 0o777 : 0o7777;
    return { mode: stat.mode & mask, ...(stat.times ? { times: stat.times } : {}) };
  }
}

/** Stands in a name for bytes that are not UTF-8. */
const unreadable = "\ufffd";

function notUtf8(tree: FileTree, path: string): BadParameter {
  return new BadParameter(`${tree.describe(path)}: the name is not UTF-8, left out`);
}

async function about<T>(tree: FileTree, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (e) {
    throw e instanceof ConnectionProblem ? e : located(tree, path, e);
  }
}

function located(tree: FileTree, path: string, e: unknown): BadParameter {
  // Deno appends the path in its own words.
  const reason = messageOf(e).replace(/ \(os error \d+\)(?::.*)?$/s, "");
  return new BadParameter(`${tree.describe(path)}: ${reason}`, { cause: e });
}
