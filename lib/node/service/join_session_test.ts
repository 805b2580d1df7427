/** Joining with stock OpenSSH, and the limits that count for who joins. Sessions are root's. */
import assert from "node:assert/strict";
import { libc } from "../os/libc.ts";
import { umask } from "../os/fs.ts";
import { role, run, TestNode } from "./test_node.ts";

// Loaded for the life of the process, so not within a test.
libc();
umask(umask(0o022));

function test(name: string, body: () => Promise<void>): void {
  if (Deno.uid() === 0) Deno.test(name, body);
}

/** A command of alice's on a terminal, that runs until its input ends. */
class Owner implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(child: Deno.ChildProcess, readonly sid: string) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
  }

  static async start(node: TestNode): Promise<Owner> {
    const child = new Deno.Command("ssh", {
      args: [...await node.person({ user: "alice" }), "-tt", "127.0.0.1", "echo ready; cat"],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    while (node.auth.sessions.length === 0) await new Promise((done) => setTimeout(done, 20));
    return new Owner(child, node.auth.sessions[0]!.sid);
  }

  async type(text: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.type("\x04").catch(() => {});
    await this.#child.status;
    await this.#writer.close().catch(() => {});
  }
}

const env = (sid: string, mode = "observer") => [
  ...["-tt", "-o", `SetEnv=TELEPORT_SESSION=${sid} TELEPORT_SESSION_JOIN_MODE=${mode}`],
];

test("what is seen, reported and logged of a session that is joined", async () => {
  await using node = await TestNode.start();
  await using owner = await Owner.start(node);
  const child = new Deno.Command("ssh", {
    args: [...await node.person({ user: "bob" }), ...env(owner.sid), "127.0.0.1"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  let seen = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    seen += text;
    if (seen.includes("ready")) await writer.write(new Uint8Array([3])).catch(() => {});
  }
  assert.equal((await child.status).code, 0);
  await writer.close().catch(() => {});
  assert.match(seen, new RegExp(`^Joining session ${owner.sid} of alice, root@node-1`));
  assert.match(seen, /ready[\s\S]*You have left the session/);
  const [joined] = await node.events("session.join");
  assert.deepEqual([joined!.user, joined!.mode, joined!.sid], ["bob", "observer", owner.sid]);
  assert.match(joined!["addr.remote"]!, /^127\.0\.0\.1:\d+$/);
  const [left] = await node.events("session.leave");
  assert.deepEqual([left!.user, left!.sid], ["bob", owner.sid]);
  const [session] = node.auth.sessions;
  assert.deepEqual(
    [session!.user, session!.login, session!.interactive, session!.command],
    ["alice", "root", true, "echo ready; cat"],
  );
});

test("max_sessions counts places in sessions of others", async () => {
  const one = role("one", (r) => r.spec.options.max_sessions = 1);
  await using node = await TestNode.start({ roles: [role("access"), one] });
  await using owner = await Owner.start(node);
  const person = await node.person({ user: "bob", roles: ["one"] });
  const control = ["-o", `ControlPath=${node.dir}/mux`];
  const joined = new Deno.Command("ssh", {
    args: [...person, ...control, "-o", "ControlMaster=yes", ...env(owner.sid), "127.0.0.1"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await node.events("session.join");
  const second = await run("ssh", [...person, ...control, "127.0.0.1", "echo second"]);
  assert.match(second.err, /too many session channels|session request failed/i);
  joined.kill("SIGTERM");
  await joined.status;
});

test("who joins goes with the own certificate, and the session goes on", async () => {
  const strict = role("strict", (r) => r.spec.options.disconnect_expired_cert = true);
  await using node = await TestNode.start({ roles: [role("access"), strict] });
  await using owner = await Owner.start(node);
  const bob = { user: "bob", roles: ["strict"], validForMs: 6_000 };
  const { code, err } = await node.ssh(bob, [], "", ["-n", ...env(owner.sid)]);
  assert.equal(code, 255);
  assert.match(err, /client certificate expired at/);
  await node.events("session.leave");
  assert.equal((await node.events("client.disconnect"))[0]!.user, "bob");
  assert.equal(node.auth.events.filter(({ event }) => event === "session.end").length, 0);
});

test("an order of the auth service ends a session with a terminal and one without", async () => {
  await using node = await TestNode.start();
  for (const flags of [["-tt"], ["-T"]]) {
    node.auth.sessions = [];
    const running = node.ssh({ user: "alice" }, ["sleep 1000"], "", ["-n", ...flags]);
    while (node.auth.sessions.length === 0) await new Promise((done) => setTimeout(done, 20));
    node.auth.kill(node.auth.sessions[0]!.sid, "an admin\x1b[2J");
    const { code, out, err } = await running;
    assert.equal(code, 255);
    assert.match(out + err, /The session was ended by an admin\\x1b\[2J\r?\n/);
  }
  const cut = await node.events("client.disconnect", 2);
  for (const { reason } of cut) assert.match(reason, /ended by an admin/);
  assert.equal((await node.events("session.end", 2)).length, 2);
});
