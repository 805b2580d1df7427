import assert from "node:assert/strict";
import { ConnectionProblem } from "../base/errors.ts";
import { type SftpAttrs, SftpClient, type SftpEntry } from "../ssh/sftp.ts";
import { SftpServer } from "../ssh/test_sftp_server.ts";
import { FsHandler } from "../ssh/test_sftp_handler.ts";
import { copyAll, type CopyOptions } from "./copy_tree.ts";
import { LocalTree, RemoteTree } from "./file_tree.ts";
import { streamPair } from "./test_cluster.ts";

const oddNames = [
  "with space",
  "quote's",
  "new\nline",
  "-rf",
  "ümläut-日本",
  "$(id)",
  "a*b",
  ".hidden",
];

/** A client of a server that works on this computer's files. */
async function sftpTo(handler: FsHandler): Promise<SftpClient> {
  const [ours, theirs] = streamPair();
  const server = new SftpServer(handler, (bytes) => void theirs.write(Uint8Array.from(bytes)));
  let work = Promise.resolve();
  theirs.on("data", (chunk: Uint8Array) => {
    const copy = Uint8Array.from(chunk);
    work = work.then(() => server.feed(copy)).catch(() => void theirs.destroy());
  });
  theirs.on("error", () => {});
  return await SftpClient.open(ours);
}

async function inDirectory(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function makeTree(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/sub/deeper`, { recursive: true });
  await Deno.mkdir(`${dir}/empty`);
  for (const [i, name] of oddNames.entries()) {
    await Deno.writeFile(`${dir}/${name}`, new Uint8Array(i * 1000).fill(i));
    await Deno.chmod(`${dir}/${name}`, i % 2 ? 0o600 : 0o755);
  }
  const big = new Uint8Array(3_000_001).map((_, i) => i * 7 + (i >> 9));
  await Deno.writeFile(`${dir}/sub/big`, big);
  await Deno.writeFile(`${dir}/sub/deeper/nothing`, new Uint8Array());
  await Deno.utime(`${dir}/sub`, 981_173_106, 981_173_106);
}

/** Every path below with its kind, mode and content's hash. */
async function picture(dir: string): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of [...Deno.readDirSync(dir)].sort((a, b) => a.name < b.name ? -1 : 1)) {
    const path = `${dir}/${entry.name}`;
    const mode = (Deno.statSync(path).mode! & 0o777).toString(8);
    if (entry.isDirectory) {
      lines.push(`${entry.name}/ ${mode}`, ...(await picture(path)).map((line) => `  ${line}`));
    } else {
      const hash = await crypto.subtle.digest("SHA-256", Deno.readFileSync(path));
      lines.push(`${entry.name} ${mode} ${new Uint8Array(hash).slice(0, 4).join(".")}`);
    }
  }
  return lines;
}

function options(own: Partial<CopyOptions> = {}): CopyOptions & { errors: string[] } {
  const errors: string[] = [];
  return {
    recursive: true,
    preserve: true,
    onError: (message) => void errors.push(message),
    errors,
    ...own,
  };
}

Deno.test("a tree of odd names goes to a node and comes back the same", () =>
  inDirectory(async (dir) => {
    await makeTree(`${dir}/tree`);
    const [local, remote] = [
      new LocalTree(),
      new RemoteTree(await sftpTo(new FsHandler()), "db-1"),
    ];
    const opts = options();
    const tree = { tree: local, path: `${dir}/tree` };
    assert.ok(await copyAll([tree], { tree: remote, path: `${dir}/up` }, opts), opts.errors.join());
    assert.ok(
      await copyAll(
        [{ tree: remote, path: `${dir}/up` }],
        { tree: local, path: `${dir}/down` },
        opts,
      ),
    );
    const want = await picture(`${dir}/tree`);
    assert.deepEqual(await picture(`${dir}/up`), want);
    assert.deepEqual(await picture(`${dir}/down`), want);
    assert.equal(Deno.statSync(`${dir}/down/sub`).mtime?.getTime(), 981_173_106_000);
    // Into a directory that is there: below its own name.
    await Deno.mkdir(`${dir}/there`);
    await copyAll([tree], { tree: remote, path: `${dir}/there` }, opts);
    assert.deepEqual(await picture(`${dir}/there/tree`), want);
  }));

Deno.test("what cannot be copied is told, and the rest goes on", () =>
  inDirectory(async (dir) => {
    await Deno.mkdir(`${dir}/from/inner`, { recursive: true });
    await Deno.writeTextFile(`${dir}/from/a`, "a");
    await Deno.mkdir(`${dir}/to`);
    const remote = new RemoteTree(await sftpTo(new FsHandler()), "db-1");
    const opts = options({ recursive: false });
    const complete = await copyAll(
      ["from", "from/none", "from/a"].map((name) => ({ tree: remote, path: `${dir}/${name}` })),
      { tree: new LocalTree(), path: `${dir}/to` },
      opts,
    );
    assert.equal(complete, false);
    assert.deepEqual([...Deno.readDirSync(`${dir}/to`)].map((entry) => entry.name), ["a"]);
    assert.deepEqual(opts.errors, [
      `db-1:${dir}/from: is a directory (-r copies directories)`,
      `db-1:${dir}/from/none: No such file or directory`,
    ]);
  }));

Deno.test("the end that fails is the one that is named", () =>
  inDirectory(async (dir) => {
    await Deno.writeTextFile(`${dir}/a`, "a");
    const remote = new RemoteTree(await sftpTo(new FsHandler({ readOnly: true })), "db-1");
    const opts = options();
    await copyAll([{ tree: new LocalTree(), path: `${dir}/a` }], {
      tree: remote,
      path: `${dir}/b`,
    }, opts);
    assert.match(opts.errors[0] ?? "", new RegExp(`^db-1:${dir}/b: `));
  }));

Deno.test("several files need a directory to go to", () =>
  inDirectory(async (dir) => {
    const local = new LocalTree();
    const remote = new RemoteTree(await sftpTo(new FsHandler()), "db-1");
    await assert.rejects(
      copyAll(
        ["a", "b"].map((name) => ({ tree: local, path: `${dir}/${name}` })),
        { tree: remote, path: `${dir}/none` },
        options(),
      ),
      /db-1:.*\/none is not a directory/,
    );
  }));

Deno.test("patterns of a node's paths are matched at this end", () =>
  inDirectory(async (dir) => {
    await Deno.mkdir(`${dir}/from`);
    await Deno.mkdir(`${dir}/to`);
    for (const name of ["x.log", "y.log", ".z.log", "x.txt"]) {
      await Deno.writeTextFile(`${dir}/from/${name}`, name);
    }
    const remote = new RemoteTree(await sftpTo(new FsHandler()), "db-1");
    const opts = options();
    await copyAll([{ tree: remote, path: `${dir}/fr?m/*.log` }], {
      tree: new LocalTree(),
      path: `${dir}/to`,
    }, opts);
    assert.deepEqual([...Deno.readDirSync(`${dir}/to`)].map((e) => e.name).sort(), [
      "x.log",
      "y.log",
    ]);
  }));

/** Lies about what a directory holds. */
class HostileHandler extends FsHandler {
  readonly #names: string[];
  readonly #attrs: SftpAttrs;

  constructor(names: string[], attrs: SftpAttrs) {
    super();
    this.#names = names;
    this.#attrs = attrs;
  }

  override readdir(handle: number): SftpEntry[] | undefined {
    if (!super.readdir(handle)) return undefined;
    return this.#names.map((name) => ({ name, longName: name, attrs: {} }));
  }

  override stat(path: string): SftpAttrs {
    const { mode } = this.#attrs;
    return {
      ...super.stat(path),
      ...(mode !== undefined && path.endsWith("file") ? { mode } : {}),
    };
  }
}

Deno.test("attack 41: a hostile server cannot write outside of the target", () =>
  inDirectory(async (dir) => {
    await Deno.mkdir(`${dir}/from`);
    await Deno.writeTextFile(`${dir}/from/file`, "x");
    await Deno.mkdir(`${dir}/home/to`, { recursive: true });
    for (const name of ["../escaped", "/tmp/escaped", "..", "a/../../escaped", "", "a\0b"]) {
      const remote = new RemoteTree(await sftpTo(new HostileHandler([name], {})), "db-1");
      await copyAll([{ tree: remote, path: `${dir}/from` }], {
        tree: new LocalTree(),
        path: `${dir}/home/to`,
      }, options()).catch(() => {});
    }
    assert.deepEqual([...Deno.readDirSync(`${dir}/home`)].map((e) => e.name), ["to"]);
    assert.throws(() => Deno.statSync("/tmp/escaped"), Deno.errors.NotFound);
  }));

Deno.test("attack 41: a hostile server cannot make a set-user-id program", () =>
  inDirectory(async (dir) => {
    await Deno.mkdir(`${dir}/from`);
    await Deno.writeTextFile(`${dir}/from/file`, "x");
    const remote = new RemoteTree(
      await sftpTo(new HostileHandler(["file"], { mode: 0o106755 })),
      "db-1",
    );
    assert.ok(
      await copyAll([{ tree: remote, path: `${dir}/from/file` }], {
        tree: new LocalTree(),
        path: `${dir}/file`,
      }, options()),
    );
    assert.equal(Deno.statSync(`${dir}/file`).mode! & 0o7777, 0o755);
  }));

Deno.test("attack 41: a link in a circle at the source ends", () =>
  inDirectory(async (dir) => {
    await Deno.mkdir(`${dir}/from`);
    await Deno.symlink(".", `${dir}/from/loop`);
    const remote = new RemoteTree(await sftpTo(new FsHandler()), "db-1");
    const opts = options();
    const complete = await copyAll([{ tree: remote, path: `${dir}/from` }], {
      tree: new LocalTree(),
      path: `${dir}/to`,
    }, opts);
    assert.equal(complete, false);
    assert.match(opts.errors.join(), /symbolic links|deeper than 64|Failure/);
  }));

/** Closes its files and the connection when so many pieces were written. */
class BreakingHandler extends FsHandler {
  readonly #open = new Set<number>();
  #left = 3;
  breakOff = () => {};

  override open(path: string, flags: number, attrs: SftpAttrs): number {
    if (this.#left <= 0) throw new Error("broken");
    const handle = super.open(path, flags, attrs);
    this.#open.add(handle);
    return handle;
  }

  override close(handle: number): void {
    this.#open.delete(handle);
    super.close(handle);
  }

  override write(handle: number, offset: number, data: Uint8Array): void {
    if (--this.#left > 0) return super.write(handle, offset, data);
    for (const each of [...this.#open]) this.close(each);
    this.breakOff();
  }
}

Deno.test("a connection that breaks ends the copy with a connection problem", () =>
  inDirectory(async (dir) => {
    await makeTree(`${dir}/tree`);
    const handler = new BreakingHandler();
    const sftp = await sftpTo(handler);
    handler.breakOff = () => sftp.close();
    await assert.rejects(
      copyAll(
        [{ tree: new LocalTree(), path: `${dir}/tree` }],
        { tree: new RemoteTree(sftp, "db-1"), path: `${dir}/up` },
        options(),
      ),
      ConnectionProblem,
    );
  }));
