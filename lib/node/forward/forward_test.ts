/** Forwarding through a node with the project's own client. Sessions are root's, so is the test. */
import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { issueUserCertificate } from "../../cert/issue.ts";
import { generatePrivateKey } from "../../sshwire/keys.ts";
import { type ConnectOptions, connectSsh, type SshClient } from "../../ssh/client.ts";
import { connStream, dialTcp } from "../../ssh/stream.ts";
import { umask } from "../os/fs.ts";
import { libc } from "../os/libc.ts";
import { role, TestNode } from "../service/test_node.ts";
import { families } from "../../ssh/test_loopback.ts";

// Loaded for the life of the process, so not within a test.
libc();
umask(umask(0o022));
await import("node:dns").then((dns) => dns.promises.lookup("localhost"));

const permits = ["permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding"];

function test(name: string, body: (t: Deno.TestContext) => Promise<void>): void {
  if (Deno.uid() === 0) Deno.test(name, body);
}

interface Login {
  login?: string;
  roles?: readonly string[];
  extensions?: readonly string[];
  forceCommand?: string;
}

interface Client extends AsyncDisposable {
  readonly ssh: SshClient;
}

async function connect(
  { cluster, node }: TestNode,
  { login = "root", roles = ["access"], extensions = permits, forceCommand }: Login = {},
  options: Partial<ConnectOptions> = {},
): Promise<Client> {
  const key = generatePrivateKey();
  const certificate = issueUserCertificate({
    ca: cluster.userCa,
    key: key.publicKey,
    keyId: "joe",
    principals: [login],
    validAfterMs: Date.now() - 60_000,
    validBeforeMs: Date.now() + 3_600_000,
    extensions: {
      "permit-pty": "",
      ...Object.fromEntries(extensions.map((name) => [name, ""])),
      "teleport-roles": JSON.stringify({ version: "v1", roles }),
    },
    ...(forceCommand === undefined ? {} : { criticalOptions: { "force-command": forceCommand } }),
  });
  const ssh = await connectSsh({
    stream: await dialTcp({ host: "127.0.0.1", port: node.addr.port }),
    username: login,
    credentials: [{ key, certificate }],
    verifyHost: () => {},
    ...options,
  });
  return {
    ssh,
    async [Symbol.asyncDispose]() {
      ssh.close();
      await ssh.closed;
    },
  };
}

/** A TCP server of the test's own that answers with what it was told, after its end. */
function echoServer(hostname = "127.0.0.1"): { port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname, port: 0 });
  const serving = (async () => {
    for await (const conn of listener) conn.readable.pipeTo(conn.writable).catch(() => {});
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

async function ask(stream: Duplex, question: string): Promise<string> {
  stream.end(question);
  return await text(stream);
}

/** What a command on the node says. */
async function said({ ssh }: Client, command: string, lend = {}): Promise<string> {
  const channel = await ssh.exec(command, lend);
  channel.stream.end();
  const [out, err] = await Promise.all([text(channel.stream), text(channel.stderr)]);
  await channel.exited;
  return out + err;
}

test("the node dials for its client: addresses, names, what is not there; all is audited", async () => {
  await using node = await TestNode.start();
  await using server = echoServer();
  await using client = await connect(node);
  const { port } = server;
  assert.equal(await ask(await client.ssh.directTcpip("127.0.0.1", port), "a"), "a");
  assert.equal(await ask(await client.ssh.directTcpip("localhost", port), "b"), "b");
  const refused = (host: string, port: number, why: RegExp) =>
    assert.rejects(client.ssh.directTcpip(host, port), why);
  await refused("127.0.0.1", 1, /Cannot connect to 127.0.0.1:1: .*refused/);
  await refused("no-such-host.invalid", 80, /knows no such host|in DNS/);
  await refused("", 80, /no host/);
  await refused("127.0.0.1", 0, /port 0/);
  const events = await node.events("port", 6);
  assert.deepEqual(events.map((e) => [e.code, e.success, e.addr, e.direction]), [
    ["T3003I", true, `127.0.0.1:${port}`, "local"],
    ["T3003I", true, `localhost:${port}`, "local"],
    ["T3003E", false, "127.0.0.1:1", "local"],
    ["T3003E", false, "no-such-host.invalid:80", "local"],
    ["T3003E", false, ":80", "local"],
    ["T3003E", false, "127.0.0.1:0", "local"],
  ]);
  assert.match(events[2]!.error!, /refused/);
  assert.equal(events[0]!.user, "joe");
  assert.equal(events[0]!.server_id, node.identity.hostId);
});

const off = role("off", ({ spec }) => {
  spec.options.port_forwarding = false;
  spec.options.forward_agent = false;
  spec.options.permit_x11_forwarding = false;
});
const on = role("access", ({ spec }) => {
  spec.options.forward_agent = true;
  spec.options.permit_x11_forwarding = true;
});
const display = {
  protocol: "MIT-MAGIC-COOKIE-1",
  cookie: "00112233445566778899aabbccddeeff",
  screen: 0,
};
const lenders = {
  onAgentChannel: () => Promise.reject(new Error("not to be asked")),
  onX11Channel: () => Promise.reject(new Error("not to be asked")),
};

for (
  const [how, login, why] of [
    ["a role that permits it", { roles: ["off"] }, /no role of user "joe" permits/],
    ["the certificate's extension", { extensions: [] }, /the certificate does not permit/],
  ] as const
) {
  test(`attack 14: without ${how} nothing is forwarded, said and audited`, async () => {
    await using node = await TestNode.start({ roles: [on, off] });
    await using server = echoServer();
    await using client = await connect(node, login, lenders);
    await assert.rejects(client.ssh.directTcpip("127.0.0.1", server.port), why);
    await assert.rejects(
      client.ssh.requestTcpipForward({ host: "localhost", port: 0 }, () => {}),
      /refused to listen/,
    );
    const output = await said(client, "echo [$SSH_AUTH_SOCK$DISPLAY]", {
      agentForwarding: true,
      x11: display,
    });
    assert.match(output, /^\[\]$/m);
    assert.match(output, /^agent forwarding is refused: .*forward/m);
    assert.match(output, /^X11 forwarding is refused: .*X11|x11/m);
    const ports = await node.events("port", 2);
    assert.deepEqual(ports.map((e) => [e.code, e.direction]), [
      ["T3003E", "local"],
      ["T3003E", "remote"],
    ]);
    for (const { error } of ports) assert.match(error!, why);
    const [x11] = await node.events("x11-forward");
    assert.deepEqual([x11!.code, x11!.success], ["T3008W", false]);
    assert.match(x11!.error!, why);
    const [agent] = await node.events("auth");
    assert.match(agent!.error, /^agent forwarding is refused/);
  });
}

test("a certificate for one command forwards no ports", async () => {
  await using node = await TestNode.start();
  await using server = echoServer();
  await using client = await connect(node, { forceCommand: "true" });
  await assert.rejects(client.ssh.directTcpip("127.0.0.1", server.port), /one command only/);
  await assert.rejects(client.ssh.requestTcpipForward({ host: "", port: 0 }, () => {}));
  assert.equal((await node.events("port", 2)).every(({ success }) => !success), true);
});

test("the node listens for its client, as long as it is there", async () => {
  await using node = await TestNode.start();
  const client = await connect(node);
  const forward = await client.ssh.requestTcpipForward(
    { host: "localhost", port: 0 },
    (stream) => stream.on("data", (chunk) => stream.write(chunk)).on("end", () => stream.end()),
  );
  const { port } = forward;
  for (const host of families) {
    assert.equal(await ask(await dialTcp({ host, port }), host), host);
  }
  await assert.rejects(
    client.ssh.requestTcpipForward({ host: "localhost", port }, () => {}),
    /refused to listen/,
  );
  await forward.cancel();
  await assert.rejects(dialTcp({ host: "127.0.0.1", port }), /refused/);
  const again = await client.ssh.requestTcpipForward({ host: "localhost", port }, () => {});
  assert.equal(again.port, port);
  // Said in one breath.
  const [, third] = await Promise.all([
    again.cancel(),
    client.ssh.requestTcpipForward({ host: "localhost", port }, () => {}),
  ]);
  assert.equal(third.port, port);
  await client[Symbol.asyncDispose]();
  await gone(() => dialTcp({ host: "127.0.0.1", port }));
  const events = await node.events("port", 4);
  assert.deepEqual(events.map((e) => [e.success, e.addr, e.direction]), [
    [true, `127.0.0.1:${port}`, "remote"],
    [false, `127.0.0.1:${port}`, "remote"],
    [true, `127.0.0.1:${port}`, "remote"],
    [true, `127.0.0.1:${port}`, "remote"],
  ]);
});

test("attack 38: whatever address is asked for, only loopback is listened on", async () => {
  await using node = await TestNode.start();
  await using client = await connect(node);
  const others = Deno.networkInterfaces()
    .filter(({ family, address }) => family === "IPv4" && !address.startsWith("127."))
    .map(({ address }) => address);
  for (const host of ["", "*", "0.0.0.0", "::", ...others, "example.com", "127.0.0.1"]) {
    const { port } = await client.ssh.requestTcpipForward(
      { host, port: 0 },
      (s) => s.resume().end("x"),
    );
    for (const address of others) {
      await assert.rejects(dialTcp({ host: address, port, timeoutMs: 2000 }), host);
    }
    assert.equal(await ask(await dialTcp({ host: "127.0.0.1", port }), ""), "x");
  }
});

test("attack 38: ports below 1024 are root's, and nobody takes more than his share", async () => {
  const anybody = role("access", ({ spec }) => spec.allow.logins = ["nobody", "root"]);
  await using node = await TestNode.start({ roles: [anybody] });
  await using client = await connect(node, { login: "nobody" });
  const listen = (port: number) =>
    client.ssh.requestTcpipForward({ host: "localhost", port }, () => {});
  await assert.rejects(listen(1023), /refused to listen/);
  const [event] = await node.events("port");
  assert.match(event!.error!, /only root may listen on ports below 1024/);
  for (let i = 0; i < 64; i++) await listen(0);
  await assert.rejects(listen(0), /refused to listen/);
  await using root = await connect(node);
  const forward = await freeLowPort(root.ssh);
  assert.ok(forward.port < 1024);
});

test("the session's programs reach the client's agent until the session ends", async () => {
  await using node = await TestNode.start({ roles: [on] });
  await using client = await connect(node, {}, {
    onAgentChannel: () => Promise.resolve(echoStream()),
  });
  const channel = await client.ssh.exec('echo "$SSH_AUTH_SOCK"; read line', {
    agentForwarding: true,
  });
  channel.stderr.resume();
  let output = "";
  channel.stream.on("data", (chunk) => output += chunk);
  await until(() => output.endsWith("\n"));
  const path = output.trim();
  assert.ok(path.startsWith(`/run/teleport/${node.identity.hostId}/`));
  const conn = await Deno.connect({ transport: "unix", path });
  assert.equal(await ask(connStream(conn), "to my agent"), "to my agent");
  channel.stream.end("\n");
  await channel.exited;
  await until(() => !exists(path.slice(0, path.lastIndexOf("/"))));
  // Without -A there is none.
  assert.equal(await said(client, "echo [$SSH_AUTH_SOCK]"), "[]\n");
});

test("a display on loopback, its cookie with its user, both gone with the session", async () => {
  await using node = await TestNode.start({ roles: [on] });
  const seen: string[] = [];
  await using client = await connect(node, {}, {
    onX11Channel: ({ host }) => {
      seen.push(host);
      return Promise.resolve(echoStream());
    },
  });
  const channel = await client.ssh.exec('echo "$DISPLAY"; xauth list "$DISPLAY"; read line', {
    x11: display,
  });
  channel.stderr.resume();
  let output = "";
  channel.stream.on("data", (chunk) => output += chunk);
  await until(() => output.includes(display.cookie));
  const [, number] = /^localhost:(\d+)\.0$/m.exec(output)!;
  assert.ok(Number(number) >= 10);
  assert.match(output, new RegExp(`/unix:${number} +MIT-MAGIC-COOKIE-1 +${display.cookie}`));
  const port = 6000 + Number(number);
  assert.equal(await ask(await dialTcp({ host: "127.0.0.1", port }), "l\0 hello"), "l\0 hello");
  assert.deepEqual(seen, ["127.0.0.1"]);
  channel.stream.end("\n");
  await channel.exited;
  await gone(() => dialTcp({ host: "127.0.0.1", port }));
  const left = await said(client, "xauth list");
  assert.ok(!left.includes(display.cookie), left);
  const [event] = await node.events("x11-forward");
  assert.deepEqual([event!.code, event!.success], ["T3008I", true]);
  assert.match(event!.sid!, /^[0-9a-f-]{36}$/);
});

test("sessions that end at once, or never begin, leave no display and no socket", async () => {
  await using node = await TestNode.start({ roles: [on] });
  await using client = await connect(node, {}, {
    onX11Channel: () => Promise.resolve(echoStream()),
    onAgentChannel: () => Promise.resolve(echoStream()),
  });
  const lend = { agentForwarding: true, x11: display };
  const dirs = await Promise.all(
    Array.from({ length: 3 }, () => said(client, "echo ${SSH_AUTH_SOCK%/*}", lend)),
  );
  for (const output of dirs) {
    const dir = /^\/run\/teleport\/.*$/m.exec(output)![0];
    await until(() => !exists(dir));
  }
  // Closed while xauth runs.
  for (let i = 0; i < 3; i++) (await client.ssh.exec("sleep 1000", lend)).close();
  await until(() => !exists(`/run/teleport/${node.identity.hostId}`));
});

/** A stream that gives back what it is given. */
function echoStream(): Duplex {
  return new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      this.push(Uint8Array.from(chunk));
      done();
    },
    final(done) {
      this.push(null);
      done();
    },
  });
}

async function freeLowPort(ssh: SshClient) {
  for (let port = 1023; port > 512; port--) {
    try {
      return await ssh.requestTcpipForward({ host: "localhost", port }, () => {});
    } catch {
      // Taken on this machine.
    }
  }
  throw new Error("no free port below 1024");
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    assert.ok(Date.now() < end, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Until nobody listens any more. */
async function gone(dial: () => Promise<Duplex>): Promise<void> {
  const end = Date.now() + 20_000;
  for (;;) {
    try {
      (await dial()).destroy();
    } catch {
      return;
    }
    assert.ok(Date.now() < end, "it still listens");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
