import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { must, run } from "../harness/run.ts";

/** Names that have broken file transfer somewhere before. */
const ODD_NAMES = [
  "with space",
  "quote's",
  'double"quote',
  "back\\slash",
  "$HOME",
  "`id`",
  "semi;colon",
  "new\nline",
  "-rf",
  "ümläut-日本",
  "star*",
  ".hidden",
  "#hash",
  "tab\there",
];

/** A tree of odd names, sizes from nothing to 5 MiB, modes and nested folders. */
async function makeTree(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/deep/er/est`, { recursive: true });
  for (const [i, name] of ODD_NAMES.entries()) {
    const data = new Uint8Array(i * 997).fill(i);
    await Deno.writeFile(`${dir}/${name}`, data, { mode: i % 2 ? 0o600 : 0o755 });
  }
  for (const size of [0, 1, 32_767, 32_768, 32_769, 262_144, 5 << 20]) {
    const data = new Uint8Array(size);
    for (let at = 0; at < size; at += 65_536) {
      crypto.getRandomValues(data.subarray(at, Math.min(size, at + 65_536)));
    }
    await Deno.writeFile(`${dir}/deep/er/${size}`, data);
  }
  await Deno.mkdir(`${dir}/empty folder`);
}

/** Names, kinds, modes and contents of a tree, for comparison. */
async function digest(dir: string): Promise<string> {
  const script =
    `cd "$1" && find . -printf '%P %y %m\\0' | sort -z | tr '\\0' '\\n'; find . -type f -print0 | sort -z | xargs -0 sha256sum -z | tr '\\0' '\\n'`;
  return (await must(["bash", "-c", script, "digest", dir])).stdout;
}

Deno.test("copying files", async (t) => {
  await using cluster = await Cluster.allInOne();
  const joe = await cluster.enrol("joe");
  await joe.login();
  const dir = cluster.dir;
  await makeTree(`${dir}/tree`);
  const want = await digest(`${dir}/tree`);
  const ssh = await joe.sshArgs();
  const node = "node-1.main";

  const sameAs = async (copy: string) => assert.equal(await digest(copy), want);

  await t.step("tsh scp -rp copies a tree there and back", async () => {
    const up = await joe.tsh(["scp", "-rpq", `${dir}/tree`, `root@node-1:${dir}/up`]);
    assert.equal(up.code, 0, up.stderr);
    await sameAs(`${dir}/up`);
    const down = await joe.tsh(["scp", "-r", "-p", "-q", `root@node-1:${dir}/tree`, `${dir}/down`]);
    assert.equal(down.code, 0, down.stderr);
    await sameAs(`${dir}/down`);
  });

  await t.step(
    "tsh scp copies one file, keeps its time with -p, and says what is missing",
    async () => {
      const file = `${dir}/tree/deep/er/32769`;
      await must(["touch", "-d", "2001-02-03 04:05:06 UTC", file]);
      const copy = await joe.tsh(["scp", "-p", file, `root@node-1:${dir}/one`]);
      assert.equal(copy.code, 0, copy.stderr);
      assert.equal(
        (await Deno.stat(`${dir}/one`)).mtime!.toISOString(),
        "2001-02-03T04:05:06.000Z",
      );
      const missing = await joe.tsh(["scp", `root@node-1:${dir}/no such`, `${dir}/x`]);
      assert.equal(missing.code, 1);
      assert.match(missing.stderr, /no such/i);
      const local = await joe.tsh(["scp", file, `${dir}/x`]);
      assert.notEqual(local.code, 0);
    },
  );

  await t.step("tsh scp -r leaves out a name that is not UTF-8, and says so", async () => {
    const script = `mkdir "$1" && cd "$1" && echo a > a && echo b > "$(printf 'caf\\351')"`;
    await must(["bash", "-c", script, "bash", `${dir}/latin`]);
    const copy = await joe.tsh(["scp", "-rq", `root@node-1:${dir}/latin`, `${dir}/latin-copy`]);
    assert.equal(copy.code, 1);
    assert.match(copy.stderr, /latin\/caf\ufffd: the name is not UTF-8, left out/);
    assert.deepEqual([...Deno.readDirSync(`${dir}/latin-copy`)].map((e) => e.name), ["a"]);
  });

  for (const argv of [["scp"], ["scp", "-O"]]) {
    await t.step(`OpenSSH's ${argv.join(" ")} copies a tree there and back`, async () => {
      const tag = argv.join("");
      // The old protocol has one line for a name: scp itself writes a line break as \^J.
      if (argv.includes("-O")) await Deno.remove(`${dir}/tree/new\nline`);
      const tree = await digest(`${dir}/tree`);
      await joe.must([...argv, ...ssh, "-rpq", `${dir}/tree`, `root@${node}:${dir}/up-${tag}`]);
      assert.equal(await digest(`${dir}/up-${tag}`), tree);
      await joe.must([...argv, ...ssh, "-rpq", `root@${node}:${dir}/tree`, `${dir}/down-${tag}`]);
      assert.equal(await digest(`${dir}/down-${tag}`), tree);
    });
  }

  await t.step("OpenSSH's scp -O lets the node's shell expand a pattern", async () => {
    await Deno.mkdir(`${dir}/glob`);
    await joe.must([
      "scp",
      "-O",
      "-q",
      ...ssh,
      `root@${node}:${dir}/tree/deep/er/32*`,
      `${dir}/glob/`,
    ]);
    const names = [...Deno.readDirSync(`${dir}/glob`)].map((e) => e.name).sort();
    assert.deepEqual(names, ["32767", "32768", "32769"]);
  });

  await t.step("OpenSSH's sftp does all of its commands", async () => {
    const script = `
cd ${dir}
mkdir sftp
put ${dir}/tree/deep/er/262144 sftp/a
rename sftp/a sftp/b
chmod 640 sftp/b
ln -s b sftp/link
ln sftp/b sftp/hard
get sftp/link ${dir}/fetched
ls -la sftp
df sftp
rm sftp/hard
rm sftp/link
`;
    const result = await joe.must(["sftp", ...ssh, "-b", "-", `root@${node}`], { stdin: script });
    assert.match(result.stdout, /^-rw-r-----.* sftp\/b$/m);
    assert.match(result.stdout, /Avail/);
    assert.deepEqual(
      await Deno.readFile(`${dir}/fetched`),
      await Deno.readFile(`${dir}/tree/deep/er/262144`),
    );
    assert.deepEqual([...Deno.readDirSync(`${dir}/sftp`)].map((e) => e.name), ["b"]);
  });

  await t.step("1 GiB and 10,000 small files go through", async () => {
    await must(["sh", "-c", `head -c 1G /dev/urandom > ${dir}/big`]);
    await joe.must(["scp", "-q", ...ssh, `${dir}/big`, `root@${node}:${dir}/big-up`], {
      timeoutMs: 240_000,
    });
    await must(["cmp", `${dir}/big`, `${dir}/big-up`]);
    const down = await joe.tsh(["scp", "-q", `root@node-1:${dir}/big`, `${dir}/big-down`], {
      timeoutMs: 240_000,
    });
    assert.equal(down.code, 0, down.stderr);
    await must(["cmp", `${dir}/big`, `${dir}/big-down`]);
    await must(["sh", "-c", `mkdir ${dir}/many; cd ${dir}/many; seq 1 10000 | split -l 1 -a 4 -`]);
    await joe.must(["scp", "-rq", ...ssh, `${dir}/many`, `root@${node}:${dir}/many-up`], {
      timeoutMs: 240_000,
    });
    await must(["diff", "-r", `${dir}/many`, `${dir}/many-up`]);
  });

  await t.step("a copy into a folder that must not be written is refused by name", async () => {
    const result = await run(["scp", ...ssh, `${dir}/one`, `root@${node}:/proc/nowhere/file`], {
      env: joe.env,
    });
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /nowhere/);
  });

  await t.step("the audit log names what was copied", async () => {
    const events = await cluster.events();
    const scp = events.filter((e) => e.event === "scp");
    assert.ok(scp.some((e) => e.code === "T3005I" && e.action === "upload"), "no upload");
    assert.ok(scp.some((e) => e.code === "T3004I" && e.action === "download"), "no download");
    assert.ok(
      events.some((e) => String(e.event).startsWith("sftp") && String(e.path).endsWith("/sftp/b")),
    );
  });
});
