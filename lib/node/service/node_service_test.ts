/** The node with stock OpenSSH as its client. Sessions are root's, so the tests need root. */
import assert from "node:assert/strict";
import { libc } from "../os/libc.ts";
import { umask } from "../os/fs.ts";
import { generatePrivateKey } from "../../sshwire/keys.ts";
import { role, run, TestNode } from "./test_node.ts";

// Loaded for the life of the process, so not within a test.
libc();
umask(umask(0o022));

function test(name: string, body: (t: Deno.TestContext) => Promise<void>): void {
  if (Deno.uid() === 0) Deno.test(name, body);
}

test("a command's output, errors, input and status arrive as they are", async () => {
  await using node = await TestNode.start();
  const result = await node.ssh({}, ["cat; echo err >&2; exit 7"], "in\n");
  assert.deepEqual(result, { code: 7, out: "in\n", err: "err\n" });
  const killed = await node.ssh({}, ["kill -9 $$"]);
  assert.equal(killed.code, 255);
  const [exec] = await node.events("exec", 2);
  assert.equal(exec!.code, "T3002E");
  assert.equal(exec!.exitCode, "7");
  assert.equal(exec!.command, "cat; echo err >&2; exit 7");
  assert.equal(exec!.user, "joe");
  assert.equal(exec!.login, "root");
  assert.equal(exec!.server_id, node.identity.hostId);
  assert.equal(exec!.server_hostname, "node-1");
  assert.match(exec!["addr.remote"]!, /^127\.0\.0\.1:\d+$/);
});

test("the status arrives when the input ended first, fifty times", async () => {
  await using node = await TestNode.start();
  const person = await node.person();
  for (let i = 0; i < 10; i++) {
    const five = Array.from(
      { length: 5 },
      (_, n) => run("ssh", [...person, "127.0.0.1", `echo ${n}; exit ${n + 1}`]),
    );
    const results = await Promise.all(five);
    assert.deepEqual(
      results.map((r) => [r.code, r.out]),
      [0, 1, 2, 3, 4].map((n) => [n + 1, `${n}\n`]),
    );
  }
});

test("30 MB go in and out unharmed", async () => {
  await using node = await TestNode.start();
  const input = new Uint8Array(30_000_000);
  crypto.getRandomValues(input.subarray(0, 65_536));
  const { out, code } = await node.ssh({}, ["tee /dev/stderr 2>/dev/null | sha256sum"], input);
  const digest = await crypto.subtle.digest("SHA-256", input);
  const hex = [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
  assert.deepEqual([code, out], [0, `${hex}  -\n`]);
  const down = await node.ssh({}, ["head -c 30000000 /dev/zero | tr '\\0' x"]);
  assert.equal(down.out.length, 30_000_000);
});

test("a shell on a terminal: environment, size, status, events", async () => {
  await using node = await TestNode.start();
  const script = 'stty size; tty; echo "[$SSH_TELEPORT_USER]"; env | sort; exit 3\n';
  const { out, code } = await node.ssh({}, [], script, ["-tt", "-o", "SendEnv=LC_TEST"]);
  assert.equal(code, 3);
  assert.match(out, /\/dev\/pts\/\d+/);
  assert.match(out, /\[joe\]/);
  assert.match(out, new RegExp(`SSH_TELEPORT_HOST_UUID=${node.identity.hostId}`));
  assert.match(out, /SSH_TELEPORT_CLUSTER_NAME=main/);
  assert.match(out, /SSH_CONNECTION=127\.0\.0\.1 \d+ 127\.0\.0\.1 \d+/);
  assert.match(out, /SHELL=\//);
  const [start] = await node.events("session.start");
  assert.match(start!.size!, /^\d+:\d+$/);
  assert.equal(start!.interactive, true);
  const [end] = await node.events("session.end");
  assert.equal(end!.sid, start!.sid);
  assert.equal(end!.interactive, true);
  assert.deepEqual(end!.participants, ["joe"]);
  const [data] = await node.events("session.data");
  assert.ok(data!.tx > 0 && data!.rx >= script.length);
  assert.match(out, new RegExp(`SSH_SESSION_ID=${start!.sid}`));
});

test("attack 39: forbidden variables of the client do not arrive, locales do", async () => {
  await using node = await TestNode.start();
  const flags = ["LC_TIME=C.UTF-8", "LD_PRELOAD=/x.so", "PATH=/evil", "BASH_ENV=/x"].flatMap((v) =>
    ["-o", `SetEnv=${v}`].slice(0, 2)
  );
  // Only the first SetEnv of a command line counts, so all go into one.
  const one = `SetEnv=${flags.filter((_, i) => i % 2).map((f) => f.slice(7)).join(" ")}`;
  const { out } = await node.ssh({}, ["env"], "", ["-o", one]);
  assert.match(out, /^LC_TIME=C\.UTF-8$/m);
  assert.doesNotMatch(out, /LD_PRELOAD|BASH_ENV|evil/);
});

test("attack 14: without permit-pty there is no terminal", async () => {
  await using node = await TestNode.start();
  const extensions = { "teleport-roles": JSON.stringify({ version: "v1", roles: ["access"] }) };
  const { out, err } = await node.ssh({ extensions }, ["tty"], "", ["-tt"]);
  assert.match(err, /PTY allocation request failed/);
  assert.doesNotMatch(out, /\/dev\/pts/);
});

test("attack 13: force-command is what runs, for a command, a shell and a subsystem", async () => {
  await using node = await TestNode.start();
  const o = { criticalOptions: { "force-command": "echo forced $SSH_ORIGINAL_COMMAND" } };
  assert.equal((await node.ssh(o, ["id"])).out, "forced id\n");
  assert.equal((await node.ssh(o, [])).out, "forced\n");
  assert.equal((await node.ssh(o, ["sftp"], "", ["-s"])).out, "forced sftp\n");
  assert.equal((await node.ssh(o, ["scp -t /tmp"])).out, "forced scp -t /tmp\n");
});

test("refusals say who, as whom and where, and are in the audit log", async (t) => {
  const labelled = role("labelled", (r) => r.spec.allow.node_labels = { env: ["prod"] });
  const games = role("games", (r) => r.spec.allow.logins = ["games"]);
  const ghost = role("ghost", (r) => r.spec.allow.logins = ["no-such-os-user"]);
  await using node = await TestNode.start({ roles: [role("access"), labelled, games, ghost] });
  const refused = async (name: string, o: Parameters<typeof node.ssh>[0], message: RegExp) => {
    await t.step(name, async () => {
      const { code, err, out } = await node.ssh(o, ["echo reached"]);
      assert.deepEqual([code, out], [255, ""]);
      assert.match(err, message);
    });
  };
  const denied = /user joe@main is not authorized to login as root@main: access to server denied/;
  await refused("label", { roles: ["labelled"] }, denied);
  await refused("login", { roles: ["games"] }, denied);
  await refused("no role", { roles: [] }, denied);
  await refused("unknown role", { roles: ["gone"] }, /gone/);
  await refused("principal", { principals: ["someone"] }, /root/);
  await refused("OS user", { roles: ["ghost"], login: "no-such-os-user" }, /no-such-os-user/);
  await refused("expired", { validForMs: -1_000 }, /expired/i);
  await refused("other authority", { ca: generatePrivateKey() }, /denied|authority|unknown/i);
  await refused(
    "attack 5: a host's authority",
    { ca: node.cluster.hostCa },
    /denied|authority|user/i,
  );
  const events = await node.events("auth", 9);
  for (const event of events) {
    assert.deepEqual([event.code, event.success, event.user], ["T3007W", false, "joe"]);
    assert.equal(event.server_id, node.identity.hostId);
  }
  await t.step("attack 5: a host's certificate as a user's", async () => {
    const person = await node.person();
    const key = person[person.indexOf("-i") + 1]!;
    const { decodePrivateKey } = await import("../../sshwire/private_key.ts");
    const { formatCertificateLine } = await import("../../sshwire/certificate.ts");
    const pair = decodePrivateKey(await Deno.readTextFile(key)).key;
    const certificate = node.cluster.hostCertificate(pair.publicKey, "Node", undefined, ["root"]);
    await Deno.writeTextFile(`${key}-cert.pub`, formatCertificateLine(certificate) + "\n");
    assert.equal((await run("ssh", [...person, "127.0.0.1", "true"])).code, 255);
  });
});

test("an account without a login shell gets no command and no files", async () => {
  const nobody = role("nobody", (r) => r.spec.allow.logins = ["nobody"]);
  await using node = await TestNode.start({ roles: [nobody] });
  const o = { login: "nobody", roles: ["nobody"] };
  const command = await node.ssh(o, ["echo reached"]);
  assert.equal(command.code, 1);
  assert.doesNotMatch(command.out, /reached/);
  assert.equal((await node.ssh(o, ["sftp"], "", ["-s"])).code, 255);
});

test("agents, X11 and forwarding are refused to certificates that do not permit them", async () => {
  await using node = await TestNode.start();
  const { err } = await node.ssh({}, [], "x", ["-W", "127.0.0.1:1"]);
  assert.match(err, /the certificate does not permit port forwarding/);
  const [port] = await node.events("port");
  assert.deepEqual([port!.code, port!.addr, port!.success], ["T3003E", "127.0.0.1:1", false]);
  const agent = await node.ssh({}, ["echo [$SSH_AUTH_SOCK] [$DISPLAY]"], "", ["-A", "-X"]);
  assert.equal(agent.out, "[] []\n");
  const remote = await node.ssh({}, ["true"], "", [
    ...["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"],
  ]);
  assert.equal(remote.code, 255);
  const subsystem = await node.ssh({}, ["netconf"], "", ["-s"]);
  assert.equal(subsystem.code, 255);
});

test("files go by sftp and by both of scp's protocols, each operation on record", async () => {
  await using node = await TestNode.start();
  const person = await node.person();
  const dir = node.dir;
  await Deno.mkdir(`${dir}/src/sub`, { recursive: true });
  await Deno.writeTextFile(`${dir}/src/a b`, "1");
  await Deno.writeTextFile(`${dir}/src/sub/'q"*`, "2");
  for (const [flags, to] of [[[], "new"], [["-O"], "old"]] as const) {
    const up = await run("scp", [
      ...person,
      ...flags,
      "-rpq",
      `${dir}/src`,
      `127.0.0.1:${dir}/${to}`,
    ]);
    assert.deepEqual(up, { code: 0, out: "", err: "" });
    const down = await run("scp", [
      ...person,
      ...flags,
      "-rpq",
      `127.0.0.1:${dir}/${to}`,
      `${dir}/${to}-back`,
    ]);
    assert.deepEqual(down, { code: 0, out: "", err: "" });
    assert.equal((await run("diff", ["-r", `${dir}/src`, `${dir}/${to}-back`])).code, 0);
  }
  const pattern = await run("scp", [
    ...person,
    "-O",
    "-q",
    `127.0.0.1:${dir}/src/a*`,
    `${dir}/globbed`,
  ]);
  assert.equal(pattern.code, 0, pattern.err);
  const copies = await node.events("scp", 3);
  assert.deepEqual(copies.map((c) => [c.code, c.action, c.exitCode]), [
    ["T3005I", "upload", "0"],
    ["T3004I", "download", "0"],
    ["T3004I", "download", "0"],
  ]);
  assert.equal(copies[0]!.path, `${dir}/old`);
  const operations = await node.events("sftp", 6);
  const written = operations.find((o) => o.action === "close" && o.path === `${dir}/new/a b`);
  assert.equal(written?.bytes_written, 1);
  assert.equal(written?.user, "joe");
  assert.match(written?.sid ?? "", /^[0-9a-f-]{36}$/);
});

test("attack 60: what a file transfer process says of itself cannot change who is speaking", async () => {
  await using node = await TestNode.start();
  const person = await node.person();
  const forged = JSON.stringify({
    action: "remove",
    path: "/forged",
    event: "user.login",
    user: "somebody else",
    server_id: "another",
  });
  // The process is the user's own: so are its descriptors.
  const script = `for p in $(pgrep -f test_entry.ts); do echo '${forged}' > /proc/$p/fd/2; done`;
  const sftp = new Deno.Command("sftp", {
    args: [...person, "127.0.0.1"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = sftp.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`mkdir ${node.dir}/made\n`));
  await node.events("sftp", 1);
  await run("bash", ["-c", script]);
  const all = await node.events("sftp", 2);
  await writer.close();
  await sftp.output();
  const event = all.find((e) => e.path === "/forged")!;
  assert.deepEqual([event.event, event.user, event.server_id], [
    "sftp",
    "joe",
    node.identity.hostId,
  ]);
  assert.ok(!node.auth.events.some((e) => e.event as string === "user.login"));
});

test("attack 43: nothing of a session outlives its connection", async () => {
  await using node = await TestNode.start();
  const mark = `${31_000 + Math.floor(Math.random() * 1000)}.75`;
  const running = async () => Number((await run("pgrep", ["-fc", `^sleep ${mark}`])).out);
  const until = async (count: number) => {
    while (await running() !== count) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const child = new Deno.Command("ssh", {
    args: [...await node.person(), "127.0.0.1", `(trap '' HUP; sleep ${mark}) & sleep ${mark}`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await until(2);
  child.kill("SIGKILL");
  await child.status;
  await until(0);
});

test("max_sessions bounds the channels of a connection", async () => {
  const few = role("few", (r) => r.spec.options.max_sessions = 1);
  await using node = await TestNode.start({ roles: [few] });
  const person = await node.person({ roles: ["few"] });
  const control = ["-o", `ControlPath=${node.dir}/mux`];
  const first = new Deno.Command("ssh", {
    args: [...person, ...control, "-o", "ControlMaster=yes", "127.0.0.1", "echo up; sleep 1000"],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = first.stdout.getReader();
  await reader.read();
  const second = await run("ssh", [...person, ...control, "127.0.0.1", "echo second"]);
  assert.match(second.err, /too many session channels|session request failed/i);
  const [rejected] = await node.events("session.rejected");
  assert.deepEqual([rejected!.code, rejected!.max], ["T1006W", 1]);
  first.kill("SIGTERM");
  await reader.cancel();
  await first.status;
});

test("max_connections bounds a user's connections, as auth counts them, and needs auth to", async () => {
  const one = role("one", (r) => r.spec.options.max_connections = 1);
  await using node = await TestNode.start({ roles: [one, role("any")] });
  const first = new Deno.Command("ssh", {
    args: [...await node.person({ roles: ["one"] }), "127.0.0.1", "echo up; read line"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = first.stdout.getReader();
  await reader.read();
  assert.equal(node.auth.leases.size, 1);
  const second = await node.ssh({ roles: ["one"] }, ["true"]);
  assert.equal(second.code, 255);
  assert.match(second.err, /too many concurrent ssh connections/);
  const [rejected] = await node.events("session.rejected");
  assert.deepEqual(
    [rejected!.code, rejected!.user, rejected!.login, rejected!.reason, rejected!.max],
    ["T1006W", "joe", "root", "max_connections limit reached", 1],
  );
  assert.deepEqual(node.auth.events.filter(({ event }) => event === "auth"), []);
  // Without the option nothing is counted, and nothing asked.
  assert.equal((await node.ssh({ roles: ["any"] }, ["true"])).code, 0);
  await first.stdin.close();
  await reader.cancel();
  await first.status;
  while (node.auth.leases.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal((await node.ssh({ roles: ["one"] }, ["true"])).code, 0);
  node.auth.goAway();
  const away = await node.ssh({ roles: ["one"] }, ["true"]);
  assert.equal(away.code, 255);
  assert.match(away.err, /cannot be told now how many connections "joe" has \(max=1\)/);
  assert.equal((await node.ssh({ roles: ["any"] }, ["true"])).code, 0);
});

test("a connection ends with its certificate where the role says so", async () => {
  const strict = role("strict", (r) => r.spec.options.disconnect_expired_cert = true);
  await using node = await TestNode.start({ roles: [strict] });
  const result = await node.ssh({ roles: ["strict"], validForMs: 8_000 }, ["sleep 1000"]);
  assert.equal(result.code, 255);
  assert.match(result.err, /client certificate expired at/);
  const [event] = await node.events("client.disconnect");
  assert.equal(event!.code, "T3006I");
});

test("an idle connection ends after the cluster's or the role's time", async () => {
  const idle = role("idle", (r) => r.spec.options.client_idle_timeout = "1s");
  await using node = await TestNode.start({ roles: [idle] });
  const result = await node.ssh({ roles: ["idle"] }, ["sleep 1000"]);
  assert.match(result.err, /client is idle for \d+s, exceeded idle timeout of 1s/);
});

test("a node serves while the auth service is away, also after a restart", async () => {
  await using node = await TestNode.start();
  assert.equal((await node.ssh({}, ["echo 1"])).out, "1\n");
  node.auth.goAway();
  assert.equal((await node.ssh({}, ["echo 2"])).out, "2\n");
  await node.node.close({ drainMs: 0 });
  const { startNode } = await import("./node_service.ts");
  node.node = await startNode(node.options);
  await node.node.ready;
  assert.equal((await node.ssh({}, ["echo 3"])).out, "3\n");
  // What happened meanwhile is kept until auth is back.
  assert.ok(!node.auth.events.some((e) => e.event === "exec" && e.command === "echo 3"));
});

test("a role that is changed counts from then on", async () => {
  await using node = await TestNode.start();
  assert.equal((await node.ssh({}, ["true"])).code, 0);
  node.auth.put(role("access", (r) => r.spec.deny.logins = ["root"]));
  assert.equal((await node.ssh({}, ["true"])).code, 255);
});

test("the heartbeat says what the node is, with the labels of its commands", async () => {
  const commands = [
    { name: "kernel", command: ["uname", "-s"], periodMs: 60_000 },
    { name: "broken", command: ["/no/such/program"], periodMs: 1 },
  ];
  await using node = await TestNode.start({ commands });
  const [announced] = node.auth.heartbeats;
  assert.equal(announced!.metadata.name, node.identity.hostId);
  assert.equal(announced!.spec.hostname, "node-1");
  assert.equal(announced!.spec.addr, `127.0.0.1:${node.node.addr.port}`);
  assert.deepEqual(announced!.metadata.labels, { env: "test" });
  assert.equal(announced!.spec.cmd_labels.kernel!.result, "Linux");
  assert.equal(announced!.spec.cmd_labels.kernel!.period, "1m0s");
  assert.equal(announced!.spec.cmd_labels.broken!.period, "1s");
});

test("labels of commands decide as fixed ones do", async () => {
  const linux = role("linux", (r) => r.spec.allow.node_labels = { kernel: ["Linux"] });
  const commands = [{ name: "kernel", command: ["uname", "-s"], periodMs: 60_000 }];
  await using node = await TestNode.start({ roles: [linux], commands });
  assert.equal((await node.ssh({ roles: ["linux"] }, ["true"])).code, 0);
});

test("twenty people at once, on terminals and without", async () => {
  await using node = await TestNode.start();
  const person = await node.person();
  const results = await Promise.all(
    Array.from(
      { length: 20 },
      (_, i) =>
        run("ssh", [...person, ...(i % 2 ? ["-tt"] : []), "127.0.0.1", `echo ${i}; exit ${i}`]),
    ),
  );
  assert.deepEqual(results.map((r) => r.code), Array.from({ length: 20 }, (_, i) => i));
  assert.deepEqual(results.map((r) => Number(r.out)), Array.from({ length: 20 }, (_, i) => i));
});
