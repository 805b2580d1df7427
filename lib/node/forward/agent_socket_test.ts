/** Attack 42: who can reach a session's agent, or put something in its place. */
import assert from "node:assert/strict";
import { readAll } from "../../ssh/stream.ts";
import type { OsUser } from "../process/os_user.ts";
import { AgentSockets } from "./agent_socket.ts";

/** Only root can give a socket away. */
function test(name: string, body: () => Promise<void> | void): void {
  if (Deno.uid() === 0) Deno.test(name, body);
}

const owner = 65_534;
const stranger = 12_345;
const user = { name: "somebody", uid: owner, gid: owner } as OsUser;

/** A directory that every account can pass through. */
function place(): { dir: string } & Disposable {
  const dir = Deno.makeTempDirSync({ prefix: "lib-node-agent-" });
  Deno.chmodSync(dir, 0o755);
  return { dir, [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }) };
}

/** Whether a line of shell succeeds as an account. */
function can(uid: number, script: string, ...args: string[]): boolean {
  return new Deno.Command("setpriv", {
    args: [
      ...[`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"],
      ...["sh", "-c", script, "sh", ...args],
    ],
    stdout: "null",
    stderr: "null",
  }).outputSync().success;
}

/** Asks a socket as an account; undefined when it cannot be reached. */
async function askAs(uid: number, path: string, home: string): Promise<string | undefined> {
  const program = `
    const conn = await Deno.connect({ transport: "unix", path: Deno.args[0] });
    await conn.write(new TextEncoder().encode("hello"));
    await conn.closeWrite();
    console.log(await new Response(conn.readable).text());
  `;
  const { success, stdout } = await new Deno.Command("setpriv", {
    args: [
      ...[`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", Deno.execPath(), "eval", "--quiet"],
      ...["--no-lock", "--no-config", program, path],
    ],
    clearEnv: true,
    env: { DENO_DIR: `${home}/deno`, HOME: home, NO_COLOR: "1" },
    stderr: "null",
  }).output();
  return success ? new TextDecoder().decode(stdout).trim() : undefined;
}

test("42: only the session's user reaches its agent, and nobody can replace it", async () => {
  using tmp = place();
  Deno.chmodSync(tmp.dir, 0o1777);
  const sockets = new AgentSockets([`${tmp.dir}/a`, `${tmp.dir}/a/host`]);
  let reached = 0;
  const socket = sockets.open(user, (stream) => {
    reached++;
    readAll(stream).then((said) => stream.end(`got ${said}`));
  });
  const { path } = socket;
  const directory = path.slice(0, path.lastIndexOf("/"));
  const { uid, gid, mode } = Deno.lstatSync(path);
  assert.deepEqual([uid, gid, mode! & 0o7777], [owner, owner, 0o600]);
  for (const each of [directory, `${tmp.dir}/a`, `${tmp.dir}/a/host`]) {
    const { uid, mode } = Deno.lstatSync(each);
    assert.deepEqual([uid, mode! & 0o7777], [0, 0o711], each);
  }
  assert.equal(await askAs(owner, path, tmp.dir), "got hello");
  assert.equal(await askAs(stranger, path, tmp.dir), undefined);
  assert.equal(reached, 1);
  for (const uid of [owner, stranger]) {
    assert.equal(can(uid, 'rm -f "$1"; test ! -e "$1"', path), false);
    assert.equal(can(uid, 'mv "$1" /tmp/stolen', path), false);
    assert.equal(can(uid, 'ln -s /etc/passwd "$1/x"', directory), false);
    assert.equal(can(uid, 'mkdir "$1/../other"', directory), false);
    assert.equal(can(uid, 'ls "$1/.."', directory), false);
  }
  assert.equal(can(stranger, 'chmod 777 "$1"', path), false);
  const another = sockets.open(user, (stream) => stream.destroy());
  socket.close();
  socket.close();
  assert.throws(() => Deno.lstatSync(directory), Deno.errors.NotFound);
  assert.ok(Deno.lstatSync(another.path).isSocket);
  another.close();
  assert.deepEqual([...Deno.readDirSync(`${tmp.dir}/a`)], []);
});

test("what a killed daemon has left is removed, what is in use is not", () => {
  using tmp = place();
  const base = `${tmp.dir}/host`;
  const sockets = new AgentSockets([base]);
  sockets.clean();
  const live = sockets.open(user, (stream) => stream.destroy());
  const dead = `${base}/0123456789abcdef`;
  Deno.mkdirSync(dead);
  Deno.writeTextFileSync(`${dead}/agent.sock`, "");
  Deno.mkdirSync(`${base}/of-somebody-else`);
  sockets.clean();
  assert.throws(() => Deno.lstatSync(dead), Deno.errors.NotFound);
  assert.ok(Deno.lstatSync(live.path).isSocket);
  assert.ok(Deno.lstatSync(`${base}/of-somebody-else`).isDirectory);
  live.close();
});

test("a directory that others can change is no place for agents", () => {
  using tmp = place();
  const base = `${tmp.dir}/host`;
  const sockets = new AgentSockets([base]);
  const refused = () => assert.throws(() => sockets.open(user, () => {}), /others may change/);
  Deno.mkdirSync(base);
  Deno.chmodSync(base, 0o777);
  refused();
  Deno.chmodSync(base, 0o711);
  Deno.chownSync(base, stranger, stranger);
  refused();
  Deno.removeSync(base);
  Deno.mkdirSync(`${tmp.dir}/elsewhere`);
  Deno.symlinkSync(`${tmp.dir}/elsewhere`, base);
  refused();
  Deno.removeSync(base);
  Deno.writeTextFileSync(base, "");
  refused();
  assert.deepEqual([...Deno.readDirSync(`${tmp.dir}/elsewhere`)], []);
});
