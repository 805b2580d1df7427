/** Forwarding by stock OpenSSH through the proxy: ports, the agent, X11; and what is refused. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Cluster, type Person } from "../harness/cluster.ts";
import { OsUser } from "../harness/os_user.ts";
import { freePort } from "../harness/ports.ts";
import { eventually, must, run, type RunResult } from "../harness/run.ts";

/** What goes each way through a forwarded port, in bytes. */
const BULK = 64 * 1024 * 1024;

const ROLE = (name: string, options: string, logins: string) =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  options: {${options}}
  allow: {logins: [${logins}], node_labels: {'*': '*'}}
`;

Deno.test("stock OpenSSH forwards through the proxy", async (t) => {
  await using account = await OsUser.add("/bin/bash");
  await using cluster = await Cluster.separate({ secondFactor: "off", nodes: ["node-1"] });
  const node = cluster.daemon("node-1");
  await Deno.writeTextFile(
    `${cluster.dir}/roles.yaml`,
    [
      ROLE("lender", "forward_agent: true, permit_x11_forwarding: true", `root, ${account.name}`),
      ROLE("nothing", "port_forwarding: false", "root"),
    ].join("---\n"),
  );
  await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
  const joe = await personWith(cluster, "joe", "lender");
  const ssh = ["ssh", ...await joe.sshArgs()];
  const host = "root@node-1.main";
  const filesBefore = openFiles(node.pid);

  await t.step("-L: half-closed both ways, and bulk both ways", async () => {
    await using server = new BulkServer();
    const port = freePort();
    await using _ = await Background.start(
      [
        ...[...ssh, "-N", "-L", `${port}:127.0.0.1:${server.port}`, host],
      ],
      joe.env,
      () => canConnect(port),
    );
    await bothWays(port, server);
    await largeBothWays(port);
  });

  await t.step("-R: the node chooses the port, half-closed and bulk both ways", async () => {
    await using server = new BulkServer();
    await using forward = await Background.start(
      [...ssh, "-N", "-R", `0:127.0.0.1:${server.port}`, host],
      joe.env,
      (said) => /Allocated port \d+/.test(said),
    );
    const port = Number(/Allocated port (\d+)/.exec(forward.said)![1]);
    await bothWays(port, server);
    await largeBothWays(port);
    await forward[Symbol.asyncDispose]();
    await eventually("the node to stop listening", async () => !await canConnect(port));
  });

  await t.step("-D: curl through the node, by address and by name", async () => {
    const web = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response("from behind the node\n"),
    );
    const port = freePort();
    await using _ = await Background.start(
      [...ssh, "-N", "-D", String(port), host],
      joe.env,
      () => canConnect(port),
    );
    for (const name of ["127.0.0.1", "localhost"]) {
      const { stdout } = await must([
        ...["curl", "-sS", "--noproxy", "", "--socks5-hostname", `127.0.0.1:${port}`],
        `http://${name}:${web.addr.port}/`,
      ]);
      assert.equal(stdout, "from behind the node\n");
    }
    await web.shutdown();
  });

  await t.step("a thousand connections at once through one -L", async () => {
    await using server = new BulkServer();
    const port = freePort();
    await using _ = await Background.start(
      [...ssh, "-N", "-L", `${port}:127.0.0.1:${server.port}`, host],
      joe.env,
      () => canConnect(port),
    );
    const conns: Deno.TcpConn[] = [];
    // In batches: the kernel's queue of connections is short.
    while (conns.length < 1000) {
      const batch = Array.from({ length: 100 }, () => Deno.connect({ port }));
      conns.push(...await Promise.all(batch));
    }
    await eventually("all to have arrived", () => server.openCount === 1000);
    const answers = await Promise.all(conns.map(async (conn, i) => {
      await conn.write(new TextEncoder().encode(`echo ${i}`));
      await conn.closeWrite();
      return await new Response(conn.readable).text();
    }));
    assert.deepEqual(answers, conns.map((_, i) => `echo ${i}`));
  });

  await t.step("-A: the agent in the session, at a socket of the OS user's alone", async () => {
    await using agent = await Agent.start(cluster.dir);
    const env = { ...joe.env, SSH_AUTH_SOCK: agent.socket };
    const command = 'ssh-add -L; stat -c "%A %U" $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK';
    const { stdout } = await must(
      [...ssh, "-A", `${account.name}@node-1.main`, command],
      { env },
    );
    const [key, mode, path] = stdout.trim().split("\n");
    assert.equal(key, agent.publicKey);
    assert.equal(mode, `srw------- ${account.name}`);
    await eventually("the socket to go with the session", () => !exists(path!));
    const without = await must([...ssh, host, "echo [$SSH_AUTH_SOCK]"], { env });
    assert.equal(without.stdout, "[]\n");
  });

  await t.step(
    "-X and -Y: a program of X11 on the node shows on the client's display",
    async () => {
      await using x = await XServer.start(joe.home);
      const env = { ...joe.env, ...x.env };
      for (const flag of ["-X", "-Y"]) {
        const login = `${account.name}@node-1.main`;
        const { stdout, stderr } = await must(
          [...ssh, flag, login, "echo $DISPLAY; xdpyinfo; xauth list"],
          { env },
        );
        assert.match(stdout, /^localhost:\d+\.0$/m, stderr);
        assert.match(stdout, /^number of screens: +1$/m, stderr);
        assert.match(stdout, /\/unix:\d+ +MIT-MAGIC-COOKIE-1 +[0-9a-f]{32}/);
      }
      await eventually("the cookies to go with their sessions", async () => {
        const { stdout } = await must(["xauth", "-q", "-f", `${account.home}/.Xauthority`, "list"]);
        return stdout === "";
      });
      const events = await eventsOf(cluster, "x11-forward", 2);
      assert.deepEqual(events.map((e) => [e["code"], e["success"], e["login"]]), [
        ["T3008I", true, account.name],
        ["T3008I", true, account.name],
      ]);
    },
  );

  await t.step("without a role for it nothing is forwarded; why is said and audited", async () => {
    const ann = await personWith(cluster, "ann", "nothing");
    const ssh = ["ssh", ...await ann.sshArgs()];
    await using x = await XServer.start(ann.home);
    await using agent = await Agent.start(cluster.dir);
    const port = freePort();
    const stdio = await run([...ssh, "-W", `127.0.0.1:${port}`, host], { env: ann.env });
    assert.notEqual(stdio.code, 0);
    assert.match(
      stdio.stderr,
      /administratively prohibited: no role of user "ann" permits port forwarding/,
    );
    const remote = await run(
      [...ssh, "-o", "ExitOnForwardFailure=yes", "-R", `${port}:127.0.0.1:1`, host, "true"],
      { env: ann.env },
    );
    assert.equal(remote.code, 255);
    assert.match(remote.stderr, /remote port forwarding failed/);
    const lent: RunResult = await run([...ssh, "-A", "-Y", host, "echo [$SSH_AUTH_SOCK$DISPLAY]"], {
      env: { ...ann.env, ...x.env, SSH_AUTH_SOCK: agent.socket },
    });
    assert.equal(lent.stdout, "[]\n");
    assert.match(lent.stderr, /^agent forwarding is refused: no role of user "ann" permits/m);
    assert.match(lent.stderr, /^X11 forwarding request failed/m);
    assert.match(lent.stderr, /^X11 forwarding is refused: no role of user "ann" permits/m);
    const ports = (await eventsOf(cluster, "port", 2, "T3003E")).filter((e) => e["user"] === "ann");
    assert.deepEqual(ports.map((e) => [e["addr"], e["direction"], e["success"]]), [
      [`127.0.0.1:${port}`, "local", false],
      [`127.0.0.1:${port}`, "remote", false],
    ]);
    const [x11] = await eventsOf(cluster, "x11-forward", 1, "T3008W");
    assert.match(String(x11!["error"]), /no role of user "ann" permits X11 forwarding/);
    const auth = await eventsOf(cluster, "auth", 1, "T3007W");
    assert.match(String(auth[0]!["error"]), /^agent forwarding is refused/);
  });

  await t.step("the node has let go of everything", async () => {
    // A little room for what a daemon opens in its life by itself.
    await eventually("its files to be closed", () => openFiles(node.pid) <= filesBefore + 5);
  });

  await t.step("-A: what a killed node leaves is removed at its next start", async () => {
    await using agent = await Agent.start(cluster.dir);
    const env = { ...joe.env, SSH_AUTH_SOCK: agent.socket };
    await using session = await Background.start(
      [...ssh, "-A", host, "echo $SSH_AUTH_SOCK; sleep 1000"],
      env,
      (said) => said.includes("/agent.sock"),
    );
    const path = /\S+agent\.sock/.exec(session.said)![0];
    assert.ok(exists(path));
    await node.stop("SIGKILL");
    assert.ok(exists(path));
    await cluster.restart("node-1");
    assert.ok(!exists(path));
  });
});

async function personWith(cluster: Cluster, name: string, role: string): Promise<Person> {
  const person = await cluster.enrol(name);
  await cluster.tctl(["users", "update", name, `--set-roles=${role}`]);
  await person.login();
  return person;
}

async function eventsOf(
  cluster: Cluster,
  name: string,
  count: number,
  code?: string,
): Promise<Record<string, unknown>[]> {
  return await eventually(`${count} × ${name}`, async () => {
    const found = (await cluster.events())
      .filter((e) => e["event"] === name && (code === undefined || e["code"] === code));
    return found.length >= count && found;
  });
}

/** A small question whose end is told before the answer comes, and the other way round. */
async function bothWays(port: number, server: BulkServer): Promise<void> {
  const asked = await Deno.connect({ port });
  await asked.write(new TextEncoder().encode("echo and the end"));
  await asked.closeWrite();
  assert.equal(await new Response(asked.readable).text(), "echo and the end");
  // The server has said all; what we say afterwards still arrives.
  const telling = await Deno.connect({ port });
  await telling.write(new TextEncoder().encode("quiet"));
  assert.equal(await telling.read(new Uint8Array(1)), null);
  await telling.write(new TextEncoder().encode(" but heard"));
  telling.close();
  await eventually("the rest to arrive", () => server.heard.includes("quiet but heard"));
}

async function largeBothWays(port: number): Promise<void> {
  const down = await Deno.connect({ port });
  await down.write(new TextEncoder().encode("give"));
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of down.readable) {
    hash.update(chunk);
    size += chunk.length;
  }
  assert.equal(size, BULK);
  assert.equal(hash.digest("hex"), await bulkHash());
  const up = await Deno.connect({ port });
  await up.write(new TextEncoder().encode("take"));
  for (const piece of bulk()) await writeAll(up, piece);
  await up.closeWrite();
  assert.equal(await new Response(up.readable).text(), await bulkHash());
}

const block = crypto.getRandomValues(new Uint8Array(64 * 1024));

/** Every piece differs from every other. */
function* bulk(): Generator<Uint8Array> {
  const piece = new Uint8Array(16 * block.length);
  for (let i = 0; i < 16; i++) piece.set(block, i * block.length);
  const view = new DataView(piece.buffer);
  for (let at = 0; at < BULK; at += piece.length) {
    view.setUint32(0, at);
    yield piece;
  }
}

let hashOfBulk: string | undefined;

async function bulkHash(): Promise<string> {
  if (hashOfBulk === undefined) {
    const hash = createHash("sha256");
    for (const piece of bulk()) hash.update(piece);
    hashOfBulk = await Promise.resolve(hash.digest("hex"));
  }
  return hashOfBulk;
}

/** Unlike the stream of a connection it does not close it at its end. */
async function* rest(conn: Deno.TcpConn): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(256 * 1024);
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    yield buffer.subarray(0, n);
  }
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Does what the first five bytes say: "echo", "give" bulk, "take" bulk, or be "quiet". */
class BulkServer implements AsyncDisposable {
  readonly heard: string[] = [];
  openCount = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor() {
    this.#done = this.#serve();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) {
      this.openCount++;
      this.#answer(conn).catch(() => {}).finally(() => {
        this.openCount--;
        try {
          conn.close();
        } catch {
          // Its stream has closed it.
        }
      });
    }
  }

  async #answer(conn: Deno.TcpConn): Promise<void> {
    const first = new Uint8Array(1024);
    const count = await conn.read(first) ?? 0;
    const said = new TextDecoder().decode(first.subarray(0, count));
    if (said === "give") {
      for (const piece of bulk()) await writeAll(conn, piece);
    } else if (said.startsWith("take")) {
      const hash = createHash("sha256");
      hash.update(first.subarray(4, count));
      for await (const chunk of rest(conn)) hash.update(chunk);
      await conn.write(new TextEncoder().encode(hash.digest("hex")));
    } else if (said.startsWith("quiet")) {
      await conn.closeWrite();
      this.heard.push(said + await new Response(conn.readable).text());
    } else {
      let text = said;
      for await (const chunk of rest(conn)) text += new TextDecoder().decode(chunk);
      await conn.write(new TextEncoder().encode(text));
    }
  }
}

/** A program that goes on until it is disposed of, and what it has said. */
class Background implements AsyncDisposable {
  said = "";
  readonly #child: Deno.ChildProcess;
  readonly #pumps: Promise<void>[];

  private constructor(argv: string[], env: Record<string, string>) {
    this.#child = new Deno.Command(argv[0]!, {
      args: argv.slice(1),
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#pumps = [this.#child.stdout, this.#child.stderr].map(async (stream) => {
      const decoder = new TextDecoder();
      for await (const chunk of stream) this.said += decoder.decode(chunk, { stream: true });
    });
  }

  static async start(
    argv: string[],
    env: Record<string, string>,
    isReady: (said: string) => boolean | Promise<boolean>,
  ): Promise<Background> {
    const program = new Background(argv, env);
    try {
      await eventually(`${argv.join(" ")} to be ready`, () => isReady(program.said));
      return program;
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw new Error(program.said, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await Promise.all(this.#pumps);
  }
}

/** An ssh-agent with one key. */
class Agent implements AsyncDisposable {
  static #count = 0;

  private constructor(
    readonly socket: string,
    readonly publicKey: string,
    readonly program: Background,
  ) {}

  static async start(dir: string): Promise<Agent> {
    const base = `${dir}/agent-${++Agent.#count}`;
    const socket = `${base}.sock`;
    const program = await Background.start(
      ["ssh-agent", "-D", "-a", socket],
      {},
      () => exists(socket),
    );
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lent", "-f", base]);
    await must(["ssh-add", "-q", base], { env: { SSH_AUTH_SOCK: socket } });
    return new Agent(socket, (await Deno.readTextFile(`${base}.pub`)).trim(), program);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}

/** An X server without a screen, and the variables that let its user's programs find it. */
class XServer implements AsyncDisposable {
  private constructor(readonly env: Record<string, string>, readonly program: Background) {}

  static async start(home: string): Promise<XServer> {
    const authority = `${home}/.Xauthority`;
    for (let display = 300;; display++) {
      if (exists(`/tmp/.X11-unix/X${display}`) || exists(`/tmp/.X${display}-lock`)) continue;
      const cookie = [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await must(["xauth", "-q", "-f", authority, "add", `:${display}`, ".", cookie]);
      const program = await Background.start(
        ["Xvfb", `:${display}`, "-auth", authority, "-nolisten", "tcp", "-screen", "0", "64x64x8"],
        {},
        () => exists(`/tmp/.X11-unix/X${display}`),
      );
      return new XServer({ DISPLAY: `:${display}`, XAUTHORITY: authority }, program);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}

async function canConnect(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

function openFiles(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
