/** Forwarding between our client and stock sshd, and between stock ssh and our server. */
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { AccessDenied } from "../base/errors.ts";
import { acceptAll } from "./accept.ts";
import { type ConnectOptions, connectSsh } from "./client.ts";
import type { ServerConnection } from "./server.ts";
import { dialTcp, readAll } from "./stream.ts";
import { listen, OpenSsh, osUser, Sshd } from "./test_openssh.ts";
import {
  clientOptions,
  Counter,
  source,
  sourceCount,
  streamPair,
  testHandlers,
  type TestIdentity,
  testKey,
  testServer,
  userCertificate,
} from "./testing.ts";

async function connect(sshd: Sshd, options: Partial<ConnectOptions> = {}) {
  const key = testKey("alice");
  const client = await connectSsh({
    ...clientOptions(),
    stream: await dialTcp({ host: "127.0.0.1", port: sshd.port }),
    username: osUser,
    credentials: [{ key, certificate: userCertificate(key, [osUser]) }],
    ...options,
  });
  return Object.assign(client, {
    async [Symbol.asyncDispose]() {
      client.close();
      await client.closed;
    },
  });
}

/** Gives back what it is given, to its end. */
function echo(stream: Duplex): void {
  stream.on("data", (chunk) => stream.write(Uint8Array.from(chunk))).on("end", () => stream.end());
}

async function ask(stream: Duplex, question: string): Promise<string> {
  stream.end(question);
  return await text(stream);
}

Deno.test("sshd listens for our client, which tells it to stop", async () => {
  await using sshd = await Sshd.start(testKey("host"));
  await using client = await connect(sshd, { keepAlive: { intervalMs: 5, countMax: 1000 } });
  const [a, b] = await Promise.all([
    client.requestTcpipForward({ host: "localhost", port: 0 }, echo),
    client.requestTcpipForward({ host: "localhost", port: 0 }, (stream) => {
      stream.resume();
      source(stream, 5_000_000, () => stream.end());
    }),
  ]);
  assert.notEqual(a.port, b.port);
  assert.equal(await ask(await dialTcp({ host: "127.0.0.1", port: a.port }), "to a"), "to a");
  const counter = new Counter();
  const stream = await dialTcp({ host: "127.0.0.1", port: b.port });
  stream.end();
  for await (const chunk of stream) counter.add(chunk);
  assert.deepEqual(counter, sourceCount(5_000_000));
  await a.cancel();
  await assert.rejects(dialTcp({ host: "127.0.0.1", port: a.port }), /refused/);
  await assert.rejects(
    client.requestTcpipForward({ host: "localhost", port: b.port }, echo),
    AccessDenied,
  );
});

Deno.test("programs at sshd reach our client's agent and display", async () => {
  await using sshd = await Sshd.start(testKey("host"), ["X11Forwarding yes"]);
  await using client = await connect(sshd, {
    onAgentChannel: () => Promise.resolve(answering("the agent ")),
    onX11Channel: ({ host }) => Promise.resolve(answering(`${host} at the display `)),
  });
  const channel = await client.exec("echo $SSH_AUTH_SOCK; echo $DISPLAY; read line", {
    agentForwarding: true,
    x11: { protocol: "MIT-MAGIC-COOKIE-1", cookie: "00".repeat(16), screen: 0 },
  });
  assert.deepEqual(channel.refused, []);
  channel.stderr.resume();
  let said = "";
  channel.stream.on("data", (chunk) => said += chunk);
  while (said.split("\n").length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  const [socket, display] = said.split("\n");
  const conn = await Deno.connect({ transport: "unix", path: socket! });
  await conn.write(new TextEncoder().encode("hears"));
  await conn.closeWrite();
  assert.equal(await new Response(conn.readable).text(), "the agent hears");
  const port = 6000 + Number(/:(\d+)/.exec(display!)![1]);
  const x = await dialTcp({ host: "127.0.0.1", port });
  assert.match(await ask(x, "seen"), /^(127\.0\.0\.1|::1) at the display seen$/);
  channel.stream.end("\n");
  await channel.exited;
});

Deno.test("what sshd does not permit is told as refused", async () => {
  await using sshd = await Sshd.start(testKey("host"), [
    "AllowTcpForwarding no",
    "AllowAgentForwarding no",
    "X11Forwarding no",
  ]);
  await using client = await connect(sshd, {
    onAgentChannel: () => Promise.reject(new Error("not to be asked")),
    onX11Channel: () => Promise.reject(new Error("not to be asked")),
  });
  await assert.rejects(client.requestTcpipForward({ host: "", port: 0 }, echo), AccessDenied);
  await assert.rejects(client.directTcpip("127.0.0.1", 1), AccessDenied);
  const channel = await client.exec("true", {
    agentForwarding: true,
    x11: { protocol: "MIT-MAGIC-COOKIE-1", cookie: "00".repeat(16), screen: 0 },
  });
  assert.deepEqual(channel.refused, ["agent", "x11"]);
});

Deno.test("ssh -R at our server: a chosen port, half-closed, and cancelled by ssh -O", async () => {
  using openssh = new OpenSsh();
  const target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = acceptAll(target, echo);
  const { promise, resolve } = Promise.withResolvers<ServerConnection<TestIdentity>>();
  const cancelled: number[] = [];
  const server = testServer({
    onConnection: (connection) => {
      connection.handle({
        ...testHandlers(),
        tcpipForward: ({ port }) => Promise.resolve(port || 40_123),
        cancelTcpipForward: ({ port }) => cancelled.push(port) > 0,
      });
      resolve(connection);
    },
  });
  const port = listen(server);
  const control = `${openssh.dir}/control`;
  const master = openssh.ssh(port, [
    ...["-M", "-S", control, "-N", "-R", `0:127.0.0.1:${target.addr.port}`, "127.0.0.1"],
  ]);
  const connection = await promise;
  const from = { connectedHost: "localhost", connectedPort: 40_123, originHost: "", originPort: 1 };
  assert.equal(await ask(await retried(() => connection.openForwardedTcpip(from)), "hi"), "hi");
  await assert.rejects(connection.openForwardedTcpip({ ...from, connectedPort: 1 }), AccessDenied);
  await assert.rejects(connection.openAgent(), /./);
  const cancel = ["-S", control, "-O", "cancel", "-R", `0:127.0.0.1:${target.addr.port}`];
  await openssh.ssh(port, [...cancel, "127.0.0.1"]);
  assert.deepEqual(cancelled, [40_123]);
  await openssh.ssh(port, ["-S", control, "-O", "exit", "127.0.0.1"]);
  await master;
  await server.close();
  target.close();
  await accepting;
});

/** The client may not know its own listener yet. */
async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0;; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** The other side of a socket that answers with `prefix` and what it was told. */
function answering(prefix: string): Duplex {
  const [ours, theirs] = streamPair();
  readAll(theirs).then((said) => theirs.end(prefix + said));
  return ours;
}
