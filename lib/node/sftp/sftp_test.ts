/** The server with OpenSSH's own client, and by hand where that client never goes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { FXP, maxSftpData, SFTP_STATUS } from "../../ssh/sftp_wire.ts";
import { BadParameter } from "../../base/errors.ts";
import * as fs from "../os/fs.ts";
import { libc } from "../os/libc.ts";
import { parseReport, type SftpReport } from "./audit.ts";
import { SftpServer } from "./server.ts";
import { ReplyWriter, RequestReader, RequestStream } from "./wire.ts";

libc(); // Loaded for the life of the process, so not within a test.
fs.umask(fs.umask(0o022));

const entry = new URL("../test_entry.ts", import.meta.url).pathname;

/** A directory of its own with `local` and `remote`, and OpenSSH's sftp to copy between them. */
class Lab implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  static async make(): Promise<Lab> {
    const dir = await Deno.realPath(await Deno.makeTempDir());
    for (const name of ["local", "remote"]) await Deno.mkdir(`${dir}/${name}`);
    // sftp -D takes one word.
    const run = `exec '${Deno.execPath()}' run -A --no-check '${entry}' sftp-server`;
    await Deno.writeTextFile(`${dir}/server`, `#!/bin/sh\n${run} 2>>${dir}/reports\n`, {
      mode: 0o755,
    });
    return new Lab(dir);
  }

  /** Runs a batch; a line that begins with "-" may fail. */
  async sftp(...lines: string[]): Promise<{ code: number; out: string; err: string }> {
    await Deno.writeTextFile(`${this.dir}/batch`, lines.join("\n") + "\n");
    const { code, stdout, stderr } = await new Deno.Command("sftp", {
      args: ["-b", `${this.dir}/batch`, "-D", `${this.dir}/server`],
      cwd: `${this.dir}/remote`,
      env: { LC_ALL: "C.UTF-8", TZ: "UTC" },
    }).output();
    return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
  }

  async must(...lines: string[]): Promise<string> {
    const { code, out, err } = await this.sftp(...lines);
    assert.equal(code, 0, out + err);
    return out;
  }

  async sh(script: string): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", script],
      cwd: this.dir,
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  }

  async reports(): Promise<SftpReport[]> {
    const text = await Deno.readTextFile(`${this.dir}/reports`);
    return text.trim().split("\n").map((line) => {
      const report = parseReport(line);
      assert.ok(report, line);
      return report;
    });
  }

  async [Symbol.asyncDispose]() {
    await Deno.remove(this.dir, { recursive: true });
  }
}

Deno.test("a tree with odd names goes there and back by sftp, with modes and times", async () => {
  await using lab = await Lab.make();
  await lab.sh(`mkdir -p 'local/tree/a dir' && cd local/tree && echo 1 > 'a dir/x y' &&
    echo 2 > $'bad\\xff\\xfe' && echo 3 > '*?[glob]' && echo 4 > "qu'o\\"te" && echo 5 > -dash &&
    echo 6 > 'ünïcode' && : > empty && echo 7 > $'new\\nline' &&
    head -c 3000000 /dev/urandom > big && chmod 751 big && touch -d '2001-02-03 04:05:06' big`);
  await lab.must(`put -pR ${lab.dir}/local/tree ${lab.dir}/remote`);
  await lab.sh("diff -r local/tree remote/tree");
  await lab.must(`get -pR ${lab.dir}/remote/tree ${lab.dir}/local/back`);
  await lab.sh("diff -r local/tree local/back");
  for (const copy of ["remote/tree", "local/back"]) {
    const info = await Deno.stat(`${lab.dir}/${copy}/big`);
    assert.equal(info.mode! & 0o777, 0o751);
    assert.equal(info.mtime!.toISOString().slice(0, 19), "2001-02-03T04:05:06");
  }
});

Deno.test("200 MB go through byte for byte", async () => {
  await using lab = await Lab.make();
  const key = "-K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000";
  await lab.sh(`head -c 200000001 /dev/zero | openssl enc -aes-128-ctr -nosalt ${key} > local/big`);
  await lab.must(`put ${lab.dir}/local/big`, `get big ${lab.dir}/local/back`);
  await lab.sh("cmp local/big remote/big && cmp local/big local/back");
});

Deno.test("2,000 small files go there", async () => {
  await using lab = await Lab.make();
  await lab.sh("mkdir local/many && cd local/many && for i in {1..2000}; do echo $i > f$i; done");
  await lab.must(`put -R ${lab.dir}/local/many ${lab.dir}/remote`);
  await lab.sh("diff -r local/many remote/many");
  assert.match(await lab.must("ls -1 many"), /many\/f2000\n/);
});

Deno.test("an upload that broke off is taken up again, and one can append", async () => {
  await using lab = await Lab.make();
  await lab.sh("seq 1 100000 > local/f && head -c 300000 local/f > remote/f");
  await lab.must(`reput ${lab.dir}/local/f f`);
  await lab.sh("cmp local/f remote/f");
  await lab.sh("head -c 1000 local/f > local/g");
  await lab.must(`reget f ${lab.dir}/local/g`);
  await lab.sh("cmp local/f local/g");
});

Deno.test("the commands of sftp do what they say", async () => {
  await using lab = await Lab.make();
  await Deno.writeTextFile(`${lab.dir}/local/f`, "hello");
  const out = await lab.must(
    `put ${lab.dir}/local/f f`,
    "chmod 4640 f",
    "mkdir d",
    "rename f d/g",
    "ln -s d/g link",
    "ln d/g hard",
    "copy d/g copied",
    "cd d",
    "pwd",
    "cd ..",
    "ls -ln",
    "df .",
    "mkdir gone",
    "rmdir gone",
    "rm copied",
  );
  assert.match(out, new RegExp(`Remote working directory: ${lab.dir}/remote/d`));
  assert.match(out, /-rwSr-----.* 5 .* hard/);
  assert.match(out, /lrwxrwxrwx .* link/);
  assert.match(out, /Size\s+Used\s+Avail/);
  assert.equal(await Deno.readTextFile(`${lab.dir}/remote/d/g`), "hello");
  assert.equal((await Deno.stat(`${lab.dir}/remote/hard`)).nlink, 2);
  const names = [...Deno.readDirSync(`${lab.dir}/remote`)].map((e) => e.name).sort();
  assert.deepEqual(names, ["d", "hard", "link"]);
});

Deno.test("renaming replaces by posix-rename and refuses by the protocol's own", async () => {
  await using lab = await Lab.make();
  await lab.sh("echo new > remote/a; echo old > remote/b");
  const legacy = await lab.sftp("rename -l a b");
  assert.equal(legacy.code, 1);
  assert.match(legacy.err, /Failure/);
  await lab.must("rename a b");
  assert.equal(await Deno.readTextFile(`${lab.dir}/remote/b`), "new\n");
});

Deno.test("what cannot be done is answered with its status", async () => {
  await using lab = await Lab.make();
  await lab.sh("mkdir remote/full && touch remote/full/x && ln -s loop remote/loop");
  for (
    const [line, message] of [
      ["get nothing", /not found/],
      ["rm nothing", /No such file/],
      ["rmdir full", /Failure/],
      ["mkdir full", /Failure/],
      ["get loop", /not found|No such file/],
      ["chmod 600 nothing/below", /No such file|not found/],
      ["rename nothing else", /No such file/],
    ] as const
  ) {
    const { code, err, out } = await lab.sftp(line);
    assert.equal(code, 1, line);
    assert.match(err + out, message, line);
  }
});

Deno.test("file operations are reported, the failed ones too", async () => {
  await using lab = await Lab.make();
  await Deno.writeTextFile(`${lab.dir}/local/f`, "hello");
  const remote = `${lab.dir}/remote`;
  await lab.must(
    `put ${lab.dir}/local/f f`,
    `get f ${lab.dir}/local/g`,
    "rename f g",
    "mkdir d",
    "symlink g s",
    "ln g h",
    "rmdir d",
    "rm g",
    "-rm nothing",
    "-rename -l h nowhere/h",
  );
  const of = (action: string) =>
    lab.reports().then((all) => all.filter((r) => r.action === action));
  const closed = await of("close");
  assert.deepEqual(closed[0], {
    action: "close",
    path: `${remote}/f`,
    bytes_read: 0,
    bytes_written: 5,
  });
  assert.deepEqual(closed[1], {
    action: "close",
    path: `${remote}/f`,
    bytes_read: 5,
    bytes_written: 0,
  });
  assert.equal((await of("open")).length, 2);
  assert.deepEqual(await of("symlink"), [
    { action: "symlink", path: `${remote}/s`, target_path: "g" },
  ]);
  assert.deepEqual(await of("link"), [
    { action: "link", path: `${remote}/g`, target_path: `${remote}/h` },
  ]);
  for (const action of ["mkdir", "rmdir"]) {
    assert.deepEqual(await of(action), [{ action, path: `${remote}/d` }]);
  }
  const removed = await of("remove");
  assert.deepEqual(removed.map((r) => r.error), [undefined, "No such file or directory"]);
  assert.deepEqual((await of("rename")).map((r) => [r.path, r.target_path, r.error]), [
    [`${remote}/f`, `${remote}/g`, undefined],
    [`${remote}/h`, `${remote}/nowhere/h`, "No such file or directory"],
  ]);
});

// By hand.

/** A server in this process, and the replies it has written. */
class Wire {
  readonly reports: SftpReport[] = [];
  #sent: Uint8Array[] = [];
  readonly #out = new ReplyWriter((bytes) => this.#sent.push(bytes.slice()));
  readonly server = new SftpServer(this.#out, (report) => this.reports.push(report));

  constructor() {
    this.ask(1, u32(3));
  }

  /** Sends a request and gives the reply's reader, after its type and id. */
  ask(type: number, ...fields: Uint8Array[]): { type: number; r: RequestReader } {
    this.server.handle(bytes(new Uint8Array([type]), ...fields));
    this.#out.flush();
    const all = bytes(...this.#sent);
    this.#sent = [];
    const r = new RequestReader(all);
    assert.equal(r.u32(), all.length - 4);
    return { type: r.u8(), r };
  }

  status(type: number, ...fields: Uint8Array[]): number {
    const { type: reply, r } = this.ask(type, u32(7), ...fields);
    assert.equal(reply, FXP.STATUS);
    assert.equal(r.u32(), 7);
    return r.u32();
  }

  open(path: string, flags: number): Uint8Array {
    const { type, r } = this.ask(FXP.OPEN, u32(1), str(path), u32(flags), u32(0));
    assert.equal(type, FXP.HANDLE);
    r.u32();
    return r.string().slice();
  }
}

const u32 = (n: number) => new Uint8Array(new Uint32Array([n]).buffer).reverse();
const u64 = (n: bigint) => bytes(u32(Number(n >> 32n)), u32(Number(n & 0xffff_ffffn)));
const str = (value: string | Uint8Array) => {
  const b = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return bytes(u32(b.length), b);
};
function bytes(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

async function inTempDir(body: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the server announces OpenSSH's extensions and its limits", () => {
  const out: Uint8Array[] = [];
  const writer = new ReplyWriter((b) => out.push(b.slice()));
  new SftpServer(writer, () => {}).handle(bytes(new Uint8Array([1]), u32(3)));
  writer.flush();
  const text = new TextDecoder("latin1").decode(bytes(...out));
  for (
    const name of [
      "posix-rename",
      "statvfs",
      "hardlink",
      "fsync",
      "lsetstat",
      "limits",
      "expand-path",
    ]
  ) {
    assert.ok(text.includes(`${name}@openssh.com`), name);
  }
  const { type, r } = new Wire().ask(FXP.EXTENDED, u32(1), str("limits@openssh.com"));
  assert.equal(type, FXP.EXTENDED_REPLY);
  r.u32();
  assert.deepEqual([r.u64(), r.u64(), r.u64()], [
    262144n,
    BigInt(maxSftpData),
    BigInt(maxSftpData),
  ]);
});

Deno.test("nothing but INIT may come first", () => {
  const server = new SftpServer(new ReplyWriter(() => {}), () => {});
  assert.throws(
    () => server.handle(bytes(new Uint8Array([FXP.STAT]), u32(1), str("/"))),
    BadParameter,
  );
});

Deno.test("a handle is good until it is closed, and for its own kind only", () =>
  inTempDir((dir) => {
    const wire = new Wire();
    const file = wire.open(`${dir}/f`, 0x0a);
    assert.equal(wire.status(FXP.READDIR, str(file)), SFTP_STATUS.NO_SUCH_FILE);
    assert.equal(wire.status(FXP.CLOSE, str(file)), SFTP_STATUS.OK);
    assert.equal(wire.status(FXP.CLOSE, str(file)), SFTP_STATUS.NO_SUCH_FILE);
    for (const bad of ["", "x", "\0\0\0\xff", "a longer one"]) {
      assert.equal(wire.status(FXP.FSTAT, str(bad)), SFTP_STATUS.NO_SUCH_FILE);
    }
    assert.notDeepEqual(wire.open(`${dir}/f`, 0x0a), file);
    wire.server.end();
  }));

Deno.test("reading gives what is there, then the end", () =>
  inTempDir((dir) => {
    Deno.writeTextFileSync(`${dir}/f`, "0123456789");
    const wire = new Wire();
    const file = wire.open(`${dir}/f`, 1);
    const { type, r } = wire.ask(FXP.READ, u32(5), str(file), u64(4n), u32(0xffff_ffff));
    assert.equal(type, FXP.DATA);
    assert.equal(r.u32(), 5);
    assert.equal(r.text(), "456789");
    assert.equal(wire.status(FXP.READ, str(file), u64(10n), u32(100)), SFTP_STATUS.EOF);
    assert.equal(wire.status(FXP.READ, str(file), u64(1n << 63n), u32(1)), SFTP_STATUS.BAD_MESSAGE);
    wire.server.end();
  }));

Deno.test("copy-data copies between open files, and not onto what it has yet to read", () =>
  inTempDir((dir) => {
    Deno.writeTextFileSync(`${dir}/f`, "0123456789");
    const wire = new Wire();
    const file = wire.open(`${dir}/f`, 3);
    const copy = (from: bigint, length: bigint, to: bigint) =>
      wire.status(
        FXP.EXTENDED,
        ...[str("copy-data"), str(file), u64(from), u64(length), str(file), u64(to)],
      );
    assert.equal(copy(0n, 3n, 5n), SFTP_STATUS.OK);
    assert.equal(Deno.readTextFileSync(`${dir}/f`), "0123401289");
    assert.equal(copy(0n, 6n, 5n), SFTP_STATUS.BAD_MESSAGE);
    assert.equal(copy(0n, 0n, 100n), SFTP_STATUS.BAD_MESSAGE);
    wire.server.end();
  }));

Deno.test("exclusive creation does not follow or replace what is there", () =>
  inTempDir((dir) => {
    Deno.symlinkSync(`${dir}/target`, `${dir}/link`);
    const wire = new Wire();
    const flags = 0x02 | 0x08 | 0x20;
    assert.equal(
      wire.status(FXP.OPEN, str(`${dir}/link`), u32(flags), u32(0)),
      SFTP_STATUS.FAILURE,
    );
    assert.throws(() => Deno.statSync(`${dir}/target`));
  }));

Deno.test("lsetstat changes a link and not what it leads to", () =>
  inTempDir((dir) => {
    Deno.writeTextFileSync(`${dir}/f`, "x");
    Deno.symlinkSync("f", `${dir}/link`);
    const before = Deno.statSync(`${dir}/f`).mtime!.getTime();
    const status = new Wire().status(
      FXP.EXTENDED,
      ...[str("lsetstat@openssh.com"), str(`${dir}/link`), u32(8), u32(1000), u32(2000)],
    );
    assert.equal(status, SFTP_STATUS.OK);
    assert.equal(Deno.lstatSync(`${dir}/link`).mtime!.getTime(), 2_000_000);
    assert.equal(Deno.statSync(`${dir}/f`).mtime!.getTime(), before);
  }));

Deno.test("paths are made absolute, of files that are yet to come too", () =>
  inTempDir(async (dir) => {
    const real = await Deno.realPath(dir);
    const resolve = (path: string) => {
      const { type, r } = new Wire().ask(FXP.REALPATH, u32(1), str(path));
      r.u32();
      return type === FXP.NAME ? (r.u32(), r.text()) : undefined;
    };
    assert.equal(resolve(`${dir}/x/`), `${real}/x`);
    assert.equal(resolve(`${dir}/./../${dir.split("/").pop()}`), real);
    assert.equal(resolve(`${dir}/x/y`), undefined);
    assert.equal(resolve(`${dir}/x/..`), undefined);
    assert.equal(resolve(""), Deno.cwd());
    assert.equal(resolve("/../.."), "/");
    const { r } = new Wire().ask(
      FXP.EXTENDED,
      u32(1),
      str("expand-path@openssh.com"),
      str("~root/x"),
    );
    r.u32();
    r.u32();
    assert.match(r.text(), /^\/.*x$/);
  }));

Deno.test("attack 41: a path with a NUL in it is refused, not cut short", () =>
  inTempDir((dir) => {
    Deno.writeTextFileSync(`${dir}/f`, "x");
    assert.equal(
      new Wire().status(FXP.REMOVE, str(`${dir}/f\0.bak`)),
      SFTP_STATUS.BAD_MESSAGE,
    );
    assert.ok(Deno.statSync(`${dir}/f`).isFile);
  }));

Deno.test("attack 35: messages that are too long, empty or cut short end the session or fail", () => {
  const stream = (input: Uint8Array) => {
    let rest = input;
    return new RequestStream((into) => {
      const n = Math.min(into.length, rest.length);
      into.set(rest.subarray(0, n));
      rest = rest.subarray(n);
      return n;
    });
  };
  assert.throws(() => stream(u32(0)).next(), BadParameter);
  assert.throws(() => stream(u32(256 * 1024 + 1)).next(), BadParameter);
  assert.equal(stream(u32(100)).next(), undefined);
  // A length inside the message that is beyond its end.
  assert.equal(new Wire().status(FXP.STAT, u32(1000)), SFTP_STATUS.BAD_MESSAGE);
});

Deno.test("any bytes after INIT are answered or end the session, and nothing else", () => {
  const harmless = [FXP.STAT, FXP.LSTAT, FXP.READ, FXP.CLOSE, FXP.READDIR, FXP.REALPATH, 99, 255];
  fc.assert(fc.property(
    fc.constantFrom(...harmless),
    fc.uint8Array({ maxLength: 60 }),
    (type, rest) => {
      try {
        const { type: reply } = new Wire().ask(type, rest);
        assert.ok([FXP.STATUS, FXP.ATTRS, FXP.NAME].includes(reply as never));
      } catch (error) {
        assert.ok(error instanceof BadParameter, String(error));
      }
    },
  ));
});

Deno.test("parseReport() takes only what a report is", () => {
  assert.equal(parseReport("nonsense"), undefined);
  assert.equal(parseReport("null"), undefined);
  assert.equal(parseReport('{"action":"delete everything","path":"/"}'), undefined);
  assert.equal(parseReport('{"action":"open"}'), undefined);
  // Attack 60: what the daemon says itself cannot be said here.
  assert.deepEqual(
    parseReport(
      '{"action":"open","path":"/x","user":"root","event":"user.login","bytes_read":-1,"sid":"s"}',
    ),
    { action: "open", path: "/x" },
  );
});
