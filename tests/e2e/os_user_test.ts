import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { OsUser } from "../harness/os_user.ts";
import { eventually, must } from "../harness/run.ts";

Deno.test("sessions run as the OS user that was asked for", async (t) => {
  await using account = await OsUser.add("/bin/bash");
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  await Deno.chmod(cluster.dir, 0o755);
  await must(["usermod", "-a", "-G", "games", account.name]);
  const joe = await cluster.enrol("joe", ["root", "games", account.name]);
  await joe.login();
  const as = (login: string, ...command: string[]) =>
    joe.tsh(["ssh", `${login}@node-1`, ...command]);

  await t.step("with its groups, its home and its environment", async () => {
    const { stdout, stderr } = await as(account.name, 'id -un; id -Gn; pwd; echo "$USER $SHELL"');
    assert.equal(
      stdout,
      `${account.name}\n${account.name} games\n${account.home}\n${account.name} /bin/bash\n`,
      stderr,
    );
  });

  await t.step("without any right of root", async () => {
    const shadow = await as(account.name, "cat /etc/shadow");
    assert.notEqual(shadow.code, 0);
    const capabilities = await as(account.name, "grep CapEff /proc/self/status");
    assert.match(capabilities.stdout, /CapEff:\s+0{16}\n/);
    const data = await as(account.name, `ls ${cluster.dir}/main`);
    assert.notEqual(data.code, 0, "the daemon's data directory is open to users");
  });

  await t.step("attack 43: the terminal is the user's own", async () => {
    const { stdout } = await must([
      ...["script", "-qec"],
      `${Deno.realPathSync("bin/tsh")} ssh -t ${account.name}@node-1 'stat -c %U:%G:%a $(tty)'`,
      "/dev/null",
    ], { env: joe.env });
    assert.match(stdout, new RegExp(`${account.name}:tty:620`));
  });

  await t.step("files are copied as the user, and not where it may not write", async () => {
    await Deno.writeTextFile(`${cluster.dir}/file`, "x");
    const ok = await joe.tsh(["scp", "-q", `${cluster.dir}/file`, `${account.name}@node-1:mine`]);
    assert.equal(ok.code, 0, ok.stderr);
    const owner = await must(["stat", "-c", "%U", `${account.home}/mine`]);
    assert.equal(owner.stdout, `${account.name}\n`);
    const denied = await joe.tsh([
      "scp",
      "-q",
      `${cluster.dir}/file`,
      `${account.name}@node-1:/root/x`,
    ]);
    assert.equal(denied.code, 1);
    assert.match(denied.stderr, /permission denied/i);
  });

  await t.step("an account without a shell is told so, also for files", async () => {
    const shell = await as("games", "id");
    assert.notEqual(shell.code, 0);
    assert.match(shell.stdout + shell.stderr, /not available/);
    const copy = await joe.tsh(["scp", "-q", `${cluster.dir}/file`, "games@node-1:/tmp/x"]);
    assert.notEqual(copy.code, 0);
  });
});

Deno.test("a daemon without root serves the user it runs as, and nobody else", async () => {
  await using account = await OsUser.add();
  await using cluster = await Cluster.separate({ nodes: [] });
  await Deno.chmod(cluster.dir, 0o755);
  const token = await cluster.token("node");
  await cluster.startNode("plain", {
    teleport: `auth_token: ${token}\n  ca_pin: "${await cluster.caPin()}"`,
    as: account.name,
  });
  const joe = await cluster.enrol("joe", ["root", account.name]);
  await joe.login();
  const own = await eventually("the node to be known", async () => {
    const result = await joe.tsh(["ssh", `${account.name}@plain`, "id -un"]);
    return result.code === 0 && result;
  });
  assert.equal(own.stdout, `${account.name}\n`);
  const other = await joe.tsh(["ssh", "root@plain", "id"]);
  assert.equal(other.code, 255);
  assert.match(other.stderr, /does not run as root, so it only serves/);
});

Deno.test("labels from commands are shown and decide", async () => {
  await using cluster = await Cluster.separate({ nodes: [] });
  const token = await cluster.token("node");
  await cluster.startNode("labelled", {
    teleport: `auth_token: ${token}\n  ca_pin: "${await cluster.caPin()}"`,
    ssh: `labels: {env: test}
  commands:
    - {name: kernel, command: [uname, -r], period: 1h}
    - {name: now, command: [date, +%s], period: 1s}`,
  });
  const kernel = (await must(["uname", "-r"])).stdout.trim();
  const joe = await cluster.enrol("joe");
  await joe.login();
  const labels = async () => {
    const { stdout } = await joe.tsh(["ls", "--format=json"]);
    return JSON.parse(stdout)[0].spec.cmd_labels;
  };
  const first = await labels();
  assert.equal(first.kernel.result, kernel);
  await eventually("a newer value", async () => (await labels()).now.result > first.now.result);
  const found = await joe.tsh(["ssh", `root@kernel=${kernel}`, "echo found"]);
  assert.match(found.stdout, /found/, found.stderr);
});
