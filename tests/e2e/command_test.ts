import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { bin, eventually, must, run } from "../harness/run.ts";

const GIB = 1 << 30;

Deno.test("commands on a node through the proxy", async (t) => {
  await using cluster = await Cluster.separate();
  const joe = await cluster.enrol("joe");
  await joe.login();

  await t.step("output, errors and status arrive as the command gave them", async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "echo out; echo err >&2; exit 7"]);
    assert.deepEqual([result.code, result.stdout, result.stderr], [7, "out\n", "err\n"]);
  });

  await t.step("words are joined as ssh joins them", async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "echo", "a  b", "--flag", "-x"]);
    assert.equal(result.stdout, "a b --flag -x\n");
  });

  await t.step("standard input reaches the command and ends", async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "sort -r"], { stdin: "a\nb\nc\n" });
    assert.equal(result.stdout, "c\nb\na\n");
  });

  await t.step("a command that ends without reading its input does not hang", async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "exit 3"], {
      stdin: new Uint8Array(8 << 20),
    });
    assert.equal(result.code, 3);
  });

  await t.step("a command killed by a signal ends with a status that tells", async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "kill -9 $$"]);
    assert.ok(result.code === 137 || result.code === 255, `status ${result.code}`);
  });

  await t.step("1 GiB out and in, byte for byte", async () => {
    const seed =
      "openssl enc -aes-128-ctr -nosalt -K 00112233445566778899aabbccddeeff -iv 00 2>/dev/null";
    const source = `head -c ${GIB} /dev/zero | ${seed}`;
    const want = (await must(["sh", "-c", `${source} | sha256sum`])).stdout;
    const env = joe.env;
    const tsh = `${bin("tsh")} ssh root@node-1`;
    const down = await must(["sh", "-c", `${tsh} '${source}' | sha256sum`], {
      env,
      timeoutMs: 240_000,
    });
    assert.equal(down.stdout, want);
    const up = await must(["sh", "-c", `${source} | ${tsh} sha256sum`], {
      env,
      timeoutMs: 240_000,
    });
    assert.equal(up.stdout, want);
  });

  await t.step("nodes are found by name, address, UUID and label", async () => {
    const { stdout } = await joe.tsh(["ls", "--format=json"]);
    const nodes: { metadata: { name: string }; spec: { hostname: string; addr: string } }[] = JSON
      .parse(stdout);
    assert.deepEqual(nodes.map((n) => n.spec.hostname).sort(), ["node-1", "node-2"]);
    const node = nodes.find((n) => n.spec.hostname === "node-2")!;
    const [host, port] = node.spec.addr.split(":");
    const show = "echo $SSH_TELEPORT_HOST_UUID";
    for (
      const target of [["root@node-2"], [`root@${node.metadata.name}`], [
        "-p",
        port!,
        `root@${host}`,
      ], ["root@name=node-2"]]
    ) {
      const result = await joe.tsh(["ssh", ...target, show]);
      assert.equal(
        result.stdout.trim().split(/\s/).pop(),
        node.metadata.name,
        `${target}: ${result.stderr}`,
      );
    }
  });

  await t.step(
    "a label selector runs the command on all matches, their output kept apart",
    async () => {
      const result = await joe.tsh(["ssh", "root@env=test", "echo hello; exit 0"]);
      assert.equal(result.code, 0, result.stderr);
      for (const node of ["node-1", "node-2"]) {
        assert.match(result.stdout, new RegExp(`${node}.*hello`));
      }
      const failing = await joe.tsh(["ssh", "root@env=test", "exit 4"]);
      assert.equal(failing.code, 4);
      assert.match(failing.stderr, /node-1/);
      const none = await joe.tsh(["ssh", "root@env=nowhere", "true"]);
      assert.equal(none.code, 1);
      assert.match(none.stderr, /env=nowhere/);
    },
  );

  await t.step("Ctrl-C at tsh ends the command on the node", async () => {
    const marker = `${32_000 + Math.floor(Math.random() * 1000)}.5`;
    const child = new Deno.Command(bin("tsh"), {
      args: ["ssh", "root@node-1", `sleep ${marker}`],
      env: joe.env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await eventually(
      "the command to run",
      async () => (await run(["pgrep", "-f", `^sleep ${marker}`])).code === 0,
    );
    child.kill("SIGINT");
    const status = await child.status;
    assert.ok(status.code === 130 || status.signal === "SIGINT", JSON.stringify(status));
    await eventually(
      "the command to end",
      async () => (await run(["pgrep", "-f", `^sleep ${marker}`])).code === 1,
    );
  });

  await t.step("both ends log the client's true address", async () => {
    const exec = (await cluster.events()).find((e) =>
      e.event === "exec" && e.user === "joe" && e.exitCode === "0"
    )!;
    assert.equal(exec.code, "T3002I");
    assert.equal(exec.login, "root");
    assert.ok(String(exec.command).length > 0);
    assert.match(String(exec["addr.remote"]), /^127\.0\.0\.1:\d+$/);
    assert.match(String(exec["addr.local"]), /^127\.0\.0\.1:\d+$/);
    const failed = (await cluster.events()).find((e) => e.event === "exec" && e.exitCode === "7");
    assert.ok(failed, "the failed command's status is in the log");
  });

  await t.step("flags of later work are refused by name, never ignored", async () => {
    for (const flags of [["--auth", "github"], ["--cluster", "leaf"]]) {
      const result = await joe.tsh(["ssh", ...flags, "root@node-1", "true"]);
      assert.notEqual(result.code, 0, `${flags} was accepted`);
      assert.ok(result.stderr.includes(flags[0]!), `${flags}: ${result.stderr}`);
    }
  });
});
