/** Attack 59: recordings that want to harm, and people who want recordings. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Cluster, type Person } from "../harness/cluster.ts";
import { bin, eventually, must, run } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

function cast(events: [number, string, string][]): string {
  return [{ version: 2, width: 80, height: 24 }, ...events]
    .map((line) => JSON.stringify(line) + "\n").join("");
}

Deno.test("attack 59: a hostile recording draws, and does nothing else", async () => {
  const queries = "\x1b[c\x1b[6n\x1b[5n\x1b[>c\x1b[21t\x1b[18t\x05\x1bZ\x1b[?2004$p\x1b[x" +
    "\x1b]10;?\x07\x1b]4;1;?\x07\x1bP$qm\x1b\\\x1b]52;c;?\x07\x1b]52;c;cndlZA==\x07" +
    "\x1b]2;owned\x07\x1b[20t\x1b[?1003h\x1b[?2004h\x1b[?1004h\x1b[3J";
  const dir = await Deno.makeTempDir({ prefix: "tp-attack-" });
  try {
    await Deno.writeFile(
      `${dir}/hostile.cast.gz`,
      gzipSync(
        cast([[0, "o", `before ${queries} after\r\n`], [0, "r", "65535x65535"], [1, "o", "x"]]) +
          '[1e300,"o","never"]\nnonsense\n',
      ),
    );
    const terminal = await Terminal.open(
      [bin("tsh"), "play", "--skip-idle-time=0", `${dir}/hostile.cast.gz`],
      { dir },
    );
    try {
      await terminal.shows(/before {2}after/);
      const [screen] = await terminal.shows(/[\s\S]*\[ended with status 0\][\s\S]*/);
      assert.match(screen, /WARNING: 2 lines of the recording cannot be read/);
      // What a terminal had answered would now be in its input.
      await terminal.type("typed");
      await terminal.shows(/^typed$/m);
      const { stdout } = await must([
        ...["tmux", "-S", terminal.socket, "display-message", "-p"],
        "#{pane_title} #{mouse_any_flag} #{alternate_on}",
      ]);
      assert.ok(!stdout.includes("owned") && stdout.trim().endsWith(" 0 0"), stdout);
    } finally {
      await terminal.close();
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("attack 59: bombs, torn files and nonsense end with a reason", async () => {
  const whole = gzipSync(cast([[0, "o", "shown\r\n"], [1, "o", "cut off\r\n"]]));
  const endless = new Uint8Array(64 << 20);
  const cases: [string, Uint8Array, RegExp, RegExp][] = [
    ["torn", whole.subarray(0, whole.length - 12), /^(shown)?/, /recording ends here/],
    ["a bomb", new Uint8Array([...whole, ...gzipSync(endless)]), /^shown\ncut off/, /too long/],
    ["empty", new Uint8Array(0), /^$/, /error: The recording is empty/],
    ["zeros", endless.subarray(0, 5000), /^$/, /error: This is no recording|not JSON/],
  ];
  const file = await Deno.makeTempFile();
  try {
    for (const [name, bytes, stdout, stderr] of cases) {
      await Deno.writeFile(file, bytes);
      const fromFile = await run([bin("tsh"), "play", file]);
      const fromPipe = await run([bin("tsh"), "play", "-"], { stdin: bytes });
      for (const result of [fromFile, fromPipe]) {
        assert.equal(result.code, 1, `${name}: ${result.stderr}`);
        assert.match(result.stdout, stdout, name);
        assert.match(result.stderr, stderr, name);
      }
    }
  } finally {
    await Deno.remove(file);
  }
});

/** Records a short session; gives its id when auth has all of it. */
async function recordedSession(person: Person): Promise<string> {
  const command = `${bin("tsh")} ssh -t root@node-1 echo recorded`;
  await must(["script", "-qec", command, "/dev/null"], { env: person.env });
  return await eventually("the recording", async () => {
    const { stdout } = await person.must([bin("tsh"), "recordings", "ls", "--format=json"]);
    const [newest] = JSON.parse(stdout);
    return newest?.finished ? newest.sid as string : undefined;
  });
}

Deno.test("attack 59: recordings are for those alone whose roles say so", async () => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const sid = await recordedSession(joe);

  // Without the rule to list and read sessions: not even the own ones.
  await Deno.writeTextFile(
    `${cluster.dir}/plain.yaml`,
    `kind: role
version: v3
metadata: {name: plain}
spec:
  allow: {logins: [root], node_labels: {"*": ["*"]}}
`,
  );
  await cluster.tctl(["create", `${cluster.dir}/plain.yaml`]);
  const ann = await cluster.enrol("ann");
  await cluster.tctl(["users", "update", "ann", "--set-roles=plain"]);
  await ann.login();
  for (const args of [["recordings", "ls"], ["play", sid], ["play", sid.slice(0, 8)]]) {
    const { code, stdout, stderr } = await ann.tsh(args);
    assert.equal(code, 1, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /ann may not (list|read) sessions: no role allows/);
  }

  // Who was recorded cannot remove the recording, whatever the roles.
  const identity = `${cluster.dir}/joe.pem`;
  await cluster.tctl(["auth", "sign", "--user=joe", "-o", identity]);
  const server = `--auth-server=127.0.0.1:${cluster.ports.auth}`;
  const asJoe = [bin("tctl"), "-i", identity, server, "recordings"];
  const { code, stderr } = await run([...asJoe, "rm", sid]);
  assert.equal(code, 1);
  assert.match(stderr, /user "joe" may not call recordings\.delete/);
  assert.match((await must([...asJoe, "ls"])).stdout, new RegExp(sid));
  assert.match((await joe.must([bin("tsh"), "play", sid])).stdout, /recorded/);

  // An id is a UUID, and no part of a path.
  for (const id of ["../records", `${sid}/../${sid}`, `..%2f${sid}`]) {
    const result = await run([bin("tctl"), "-c", cluster.authConfig, "recordings", "rm", id]);
    assert.equal(result.code, 2, result.stderr);
  }
});
