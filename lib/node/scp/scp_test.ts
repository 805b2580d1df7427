/** scp's far end with OpenSSH's own client in its old protocol (`-O`), and by hand. */
import assert from "node:assert/strict";
import { umask } from "../os/fs.ts";
import { libc } from "../os/libc.ts";
import { parseArguments } from "./main.ts";
import { Peer, PeerGone } from "./peer.ts";
import { receive } from "./sink.ts";
import { sendAll } from "./source.ts";

libc(); // Loaded for the life of the process, so not within a test.
umask(umask(0o022));

const entry = new URL("../test_entry.ts", import.meta.url).pathname;

/** Takes the place of ssh: runs the command here, with our scp in place of `scp`, as a node does. */
const FAKE_SSH = `#!/bin/bash
command="\${@: -1}"
exec /bin/sh -c "'${Deno.execPath()}' run -A --no-check '${entry}' $command"
`;

class Lab implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  static async make(): Promise<Lab> {
    const dir = await Deno.realPath(await Deno.makeTempDir());
    await Deno.mkdir(`${dir}/up`);
    await Deno.mkdir(`${dir}/down`);
    await Deno.writeTextFile(`${dir}/ssh`, FAKE_SSH, { mode: 0o755 });
    return new Lab(dir);
  }

  async scp(...args: string[]): Promise<{ code: number; err: string }> {
    const { code, stderr } = await new Deno.Command("scp", {
      args: ["-O", "-q", "-S", `${this.dir}/ssh`, ...args],
      cwd: this.dir,
    }).output();
    return { code, err: new TextDecoder().decode(stderr) };
  }

  async sh(script: string): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", script],
      cwd: this.dir,
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  }

  async [Symbol.asyncDispose]() {
    await Deno.remove(this.dir, { recursive: true });
  }
}

Deno.test("a tree with odd names goes there and back by scp, with modes and times", async () => {
  await using lab = await Lab.make();
  await lab.sh(
    `mkdir -p 'src/a dir' && cd src && echo 1 > 'a dir/x y' && echo 2 > $'bad\\xff\\xfe' &&
    echo 3 > '*?[glob]' && echo 4 > "qu'o\\"te" && echo 5 > -dash && echo 6 > 'ünïcode' && : > empty &&
    head -c 3000000 /dev/urandom > big && chmod 751 big && touch -d 2001-02-03 big 'a dir'`,
  );
  assert.deepEqual(await lab.scp("-rp", "src", `host:${lab.dir}/up`), { code: 0, err: "" });
  await lab.sh("diff -r src up/src");
  assert.deepEqual(await lab.scp("-rp", `host:${lab.dir}/up/src`, "down"), { code: 0, err: "" });
  await lab.sh("diff -r src down/src");
  for (const copy of ["up/src", "down/src"]) {
    assert.match(
      await lab.sh(`stat -c '%a %Y' ${copy}/big '${copy}/a dir'`),
      /^751 98\d+\n755 98\d+\n$/,
    );
  }
});

Deno.test("without -p, modes are cut by the mask and times are now", async () => {
  await using lab = await Lab.make();
  await lab.sh("echo x > f && chmod 666 f && touch -d 2001-02-03 f");
  assert.equal((await lab.scp("f", `host:${lab.dir}/up/g`)).code, 0);
  const info = await Deno.stat(`${lab.dir}/up/g`);
  assert.equal(info.mode! & 0o777, 0o644);
  assert.ok(info.mtime!.getFullYear() > 2020);
});

Deno.test("a shorter file replaces a longer one whole", async () => {
  await using lab = await Lab.make();
  await lab.sh("echo short > f && seq 1 10000 > up/f");
  assert.equal((await lab.scp("f", `host:${lab.dir}/up`)).code, 0);
  await lab.sh("cmp f up/f");
});

Deno.test("patterns are the far shell's", async () => {
  await using lab = await Lab.make();
  await lab.sh("touch up/a1 up/a2 up/b");
  assert.equal((await lab.scp(`host:${lab.dir}/up/a*`, "down")).code, 0);
  assert.equal(await lab.sh("ls down"), "a1\na2\n");
});

Deno.test("what fails is said, the rest is done, and the status tells", async () => {
  await using lab = await Lab.make();
  await lab.sh(
    "mkdir src && echo 1 > src/f && mkdir src/sub && echo 2 > src/sub/g && mkfifo src/pipe",
  );
  const file = await lab.scp("src/f", `host:${lab.dir}/nowhere/f`);
  assert.equal(file.code, 1);
  assert.match(file.err, /nowhere\/f: No such file or directory/);
  const missing = await lab.scp(`host:${lab.dir}/src/none`, `host:${lab.dir}/src/f`, "down");
  assert.equal(missing.code, 1);
  assert.match(missing.err, /none: No such file or directory/);
  assert.equal(await lab.sh("cat down/f"), "1\n");
  const directory = await lab.scp(`host:${lab.dir}/src/sub`, "down");
  assert.equal(directory.code, 1);
  assert.match(directory.err, /not a regular file/);
  const tree = await lab.scp("-r", `host:${lab.dir}/src`, "down");
  assert.equal(tree.code, 1);
  assert.match(tree.err, /pipe: not a regular file/);
  assert.equal(await lab.sh("cat down/src/sub/g"), "2\n");
  const target = await lab.scp("src/f", "src/sub/g", `host:${lab.dir}/up/file`);
  assert.equal(target.code, 1);
});

// By hand.

/** Plays the other side's bytes to a sink or a source and gathers what it says. */
function play(input: string | Uint8Array, body: (peer: Peer) => void) {
  let rest = typeof input === "string" ? new TextEncoder().encode(input) : input;
  let said = "";
  const peer = new Peer(
    (into) => {
      const n = Math.min(into.length, rest.length);
      into.set(rest.subarray(0, n));
      rest = rest.subarray(n);
      return n;
    },
    (bytes) => said += new TextDecoder().decode(bytes),
  );
  let gone = false;
  try {
    body(peer);
  } catch (error) {
    if (!(error instanceof PeerGone)) throw error;
    gone = true;
  }
  return { said, errors: peer.errors, gone };
}

const path = (text: string) => new TextEncoder().encode(text);
const sink = { recursive: true, preserve: false, targetIsDirectory: false, umask: 0o022 };

async function inTempDir(body: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("attack 41: names that lead out of the directory end the transfer", () =>
  inTempDir(async (dir) => {
    await Deno.mkdir(`${dir}/in`);
    for (const name of ["../evil", "/tmp/evil", "..", ".", "", "a/b", "a\0b"]) {
      for (const kind of ["C0644 4", "D0755 0"]) {
        const { said, errors, gone } = play(
          `${kind} ${name}\nevil\0`,
          (peer) => receive(peer, path(`${dir}/in`), sink),
        );
        assert.ok(gone && errors > 0, JSON.stringify(name));
        assert.match(said, /protocol error/);
      }
    }
    assert.deepEqual([...Deno.readDirSync(dir)].map((e) => e.name), ["in"]);
    assert.deepEqual([...Deno.readDirSync(`${dir}/in`)], []);
  }));

Deno.test("lines that are none of the protocol's end the transfer", () =>
  inTempDir((dir) => {
    for (
      const line of [
        "X",
        "C0644",
        "C0999 1 f",
        "C0644 -1 f",
        "C0644 99999999999999999999 f",
        "T1 2",
      ]
    ) {
      const { said, gone } = play(`${line}\n`, (peer) => receive(peer, path(dir), sink));
      assert.ok(gone, line);
      assert.match(said, /protocol error/, line);
    }
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  }));

Deno.test("a directory without -r is refused", () =>
  inTempDir((dir) => {
    const { said, gone } = play("D0755 0 d\nE\n", (peer) =>
      receive(peer, path(dir), { ...sink, recursive: false }));
    assert.ok(gone);
    assert.match(said, /without -r/);
  }));

Deno.test("a transfer that breaks off in the middle of a file is no success", () =>
  inTempDir((dir) => {
    const { gone } = play("C0644 100 f\nonly a part", (peer) => receive(peer, path(dir), sink));
    assert.ok(gone);
  }));

Deno.test("attack 41: a line feed in a name cannot add a command to the stream", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/a\nC0777 0 evil`, "x");
    const { said } = play(
      "\0\0\0",
      (peer) =>
        sendAll(peer, [path(`${dir}/a\nC0777 0 evil`)], { recursive: false, preserve: false }),
    );
    assert.equal(said, "C0644 1 a\\^JC0777 0 evil\nx\0");
  }));

Deno.test("attack 44: names in messages cannot steer the client's terminal", () =>
  inTempDir((dir) => {
    const { said } = play(
      "\0",
      (peer) => sendAll(peer, [path(`${dir}/\x1b[2Jgone`)], { recursive: false, preserve: false }),
    );
    assert.ok([...said.slice(1, -1)].every((c) => c >= " "), JSON.stringify(said));
    assert.match(said, /No such file/);
  }));

Deno.test("parseArguments() takes the flags that clients send", () => {
  assert.deepEqual(parseArguments(["-v", "-r", "-p", "-d", "-t", "--", "-x"]), {
    role: "sink",
    recursive: true,
    preserve: true,
    targetIsDirectory: true,
    paths: [6],
  });
  assert.deepEqual(parseArguments(["-pf", "a", "b"]), {
    role: "source",
    recursive: false,
    preserve: true,
    targetIsDirectory: false,
    paths: [1, 2],
  });
  for (
    const bad of [[], ["-t"], ["-f"], ["-tf", "x"], ["x"], ["-t", "a", "b"], ["-Z", "-t", "x"]]
  ) {
    assert.equal(typeof parseArguments(bad), "string", bad.join(" "));
  }
});
