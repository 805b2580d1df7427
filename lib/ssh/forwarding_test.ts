/** Forwarding between our client and our server, and what either refuses. */
import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { AccessDenied, ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { WireReader } from "../sshwire/codec.ts";
import type { ConnectOptions, Origin, SshClient } from "./client.ts";
import { channelOpen, globalRequest } from "./messages.ts";
import type {
  ConnectionHandlers,
  ForwardBind,
  ServerConnection,
  SessionHandlers,
  SshServer,
  X11Request,
} from "./server.ts";
import { rawClient, readDisconnect } from "./test_raw_peer.ts";
import {
  connectTo,
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

interface Pair extends AsyncDisposable {
  server: SshServer<TestIdentity>;
  client: SshClient;
  /** The server's side of the connection. */
  connection: ServerConnection<TestIdentity>;
}

async function pair(
  handlers: ConnectionHandlers = {},
  options: Partial<ConnectOptions> = {},
  limits: Parameters<typeof testServer>[0] = {},
): Promise<Pair> {
  const { promise, resolve } = Promise.withResolvers<ServerConnection<TestIdentity>>();
  const server = testServer({
    ...limits,
    onConnection: (connection) => {
      connection.handle({ ...testHandlers(), ...handlers });
      resolve(connection);
    },
  });
  const client = await connectTo(server, options);
  return {
    server,
    client,
    connection: await promise,
    async [Symbol.asyncDispose]() {
      client.close();
      await client.closed;
      await server.close();
    },
  };
}

/** A stream that gives back what it is given, to its end. */
function echo(): Duplex {
  const [ours, theirs] = streamPair();
  theirs.on("data", (chunk) => theirs.write(chunk)).on("end", () => theirs.end());
  return ours;
}

function sessionWith(handlers: Partial<SessionHandlers>): ConnectionHandlers {
  return { session: () => ({ start: (_, channel) => channel.exit(0), ...handlers }) };
}

Deno.test("requestTcpipForward() gets the port, and the first connection that follows at once", async () => {
  const asked: ForwardBind[] = [];
  await using it = await pair({
    tcpipForward: (bind) => {
      asked.push(bind);
      // Behind the answer, in the same turn.
      setTimeout(async () => {
        const stream = await it.connection.openForwardedTcpip({
          connectedHost: bind.host,
          connectedPort: bind.port || 40_000,
          originHost: "10.0.0.7",
          originPort: 1234,
        });
        stream.resume().end("knock");
      });
      return Promise.resolve(bind.port || 40_000);
    },
  });
  for (const port of [0, 8080]) {
    const { promise, resolve } = Promise.withResolvers<[Duplex, Origin]>();
    const forward = await it.client.requestTcpipForward(
      { host: "localhost", port },
      (stream, from) => resolve([stream, from]),
    );
    assert.equal(forward.port, port || 40_000);
    const [stream, from] = await promise;
    assert.deepEqual(from, { host: "10.0.0.7", port: 1234 });
    assert.equal(await text(stream), "knock");
    stream.end();
  }
  assert.deepEqual(asked, [{ host: "localhost", port: 0 }, { host: "localhost", port: 8080 }]);
});

Deno.test("answers come in the order of the questions, keep-alives among them", async () => {
  const slow = Promise.withResolvers<number>();
  const keepAlive = { intervalMs: 5, countMax: 1000 };
  await using it = await pair(
    {
      tcpipForward: ({ port, host }) => {
        if (host === "slow") return slow.promise;
        return host === "no" ? Promise.reject(new AccessDenied("no")) : Promise.resolve(port + 1);
      },
      cancelTcpipForward: () => true,
    },
    { keepAlive },
    { limits: { keepAliveIntervalMs: 5, keepAliveCountMax: 1000 } },
  );
  const ask = (host: string) => it.client.requestTcpipForward({ host, port: 0 }, () => {});
  const all = Promise.allSettled([ask("slow"), ask("no"), ask("x"), ask("no"), ask("y")]);
  // Long enough for several keep-alives to stand between.
  await new Promise((resolve) => setTimeout(resolve, 50));
  slow.resolve(7);
  const results = (await all).map((r) => r.status === "fulfilled" ? r.value.port : "refused");
  assert.deepEqual(results, [7, "refused", 1, "refused", 1]);
  assert.equal((await ask("z")).port, 1);
  assert.equal(it.client.isClosed, false);
});

Deno.test("cancel() ends a forward: what still comes is refused", async () => {
  const cancelled: ForwardBind[] = [];
  await using it = await pair({
    tcpipForward: () => Promise.resolve(4000),
    cancelTcpipForward: (bind) => cancelled.push(bind) > 0,
  });
  const forward = await it.client.requestTcpipForward({ host: "", port: 0 }, (stream) => {
    stream.end("here");
  });
  const from = { connectedHost: "", connectedPort: 4000, originHost: "::1", originPort: 1 };
  assert.equal(await text(await it.connection.openForwardedTcpip(from)), "here");
  await forward.cancel();
  await forward.cancel();
  assert.deepEqual(cancelled, [{ host: "", port: 4000 }]);
  await assert.rejects(it.connection.openForwardedTcpip(from), AccessDenied);
});

Deno.test("a client refuses channels that it did not ask for", async () => {
  let opened = 0;
  const open = () => {
    opened++;
    return Promise.resolve(echo());
  };
  await using it = await pair(
    sessionWith({ agentForward: () => true, x11: () => true }),
    { onAgentChannel: open, onX11Channel: open },
  );
  const from = { connectedHost: "localhost", connectedPort: 80, originHost: "", originPort: 0 };
  await it.client.exec("without anything");
  await assert.rejects(it.connection.openAgent(), AccessDenied);
  await assert.rejects(it.connection.openX11({ originHost: "::1", originPort: 1 }), AccessDenied);
  await assert.rejects(it.connection.openForwardedTcpip(from), AccessDenied);
  assert.equal(opened, 0);
  await it.client.exec("agent only", { agentForwarding: true });
  (await it.connection.openAgent()).destroy();
  await assert.rejects(it.connection.openX11({ originHost: "::1", originPort: 1 }), AccessDenied);
  assert.equal(opened, 1);
});

Deno.test("the agent and the display are reached from the server; refusals are told", async () => {
  const x11: X11Request[] = [];
  let allow = true;
  await using it = await pair(
    sessionWith({
      agentForward: () => allow,
      x11: (request) => {
        x11.push(request);
        return allow;
      },
    }),
    {
      onAgentChannel: () => Promise.resolve(echo()),
      onX11Channel: ({ host }) => {
        return host === "nobody" ? Promise.reject(new Error("no X here")) : Promise.resolve(echo());
      },
    },
  );
  const display = { protocol: "MIT-MAGIC-COOKIE-1", cookie: "00ff", screen: 1 };
  const granted = await it.client.exec("x", { agentForwarding: true, x11: display });
  assert.deepEqual(granted.refused, []);
  assert.deepEqual(x11, [{ singleConnection: false, ...display }]);
  for (
    const stream of [
      await it.connection.openAgent(),
      await it.connection.openX11({ originHost: "127.0.0.1", originPort: 6 }),
    ]
  ) {
    stream.end("there and back");
    assert.equal(await text(stream), "there and back");
  }
  await assert.rejects(
    it.connection.openX11({ originHost: "nobody", originPort: 6 }),
    (error) => error instanceof ConnectionProblem && !error.message.includes("no X here"),
  );
  allow = false;
  const refused = await it.client.exec("x", { agentForwarding: true, x11: display });
  assert.deepEqual(refused.refused, ["agent", "x11"]);
});

Deno.test("x11-req with a cookie or a protocol that is none never reaches a program", async () => {
  let reached = 0;
  await using it = await pair(
    sessionWith({ x11: () => ++reached > 0 }),
    { onX11Channel: () => Promise.resolve(echo()) },
  );
  const good = { protocol: "MIT-MAGIC-COOKIE-1", cookie: "00ff", screen: 0 };
  for (
    const bad of [
      { cookie: "00f" },
      { cookie: "" },
      { cookie: "00\nadd evil" },
      { cookie: "ab".repeat(1000) },
      { protocol: "MIT MAGIC" },
      { protocol: "" },
      { protocol: "x\n" },
      { screen: 2 ** 31 },
    ]
  ) {
    const channel = await it.client.exec("x", { x11: { ...good, ...bad } });
    assert.deepEqual(channel.refused, ["x11"], JSON.stringify(bad));
  }
  assert.equal(reached, 0);
});

Deno.test("each direction of a forwarded connection ends by itself", async () => {
  const { promise, resolve } = Promise.withResolvers<Duplex>();
  await using it = await pair({ tcpipForward: () => Promise.resolve(4000) });
  await it.client.requestTcpipForward({ host: "", port: 0 }, resolve);
  const from = { connectedHost: "", connectedPort: 4000, originHost: "::1", originPort: 1 };
  const there = await it.connection.openForwardedTcpip(from);
  const here = await promise;
  there.end("question");
  assert.equal(await text(here), "question");
  const size = 3_000_000;
  source(here, size, () => here.end());
  const counter = new Counter();
  for await (const chunk of there.iterator({ destroyOnReturn: false })) counter.add(chunk);
  assert.deepEqual(counter, sourceCount(size));
  // Both have ended: the number is free again.
  await waitFor(() => it.connection.channelCount === 0);
});

Deno.test("a thousand forwarded connections at once, and sessions have their own limit", async () => {
  let active = 0;
  await using it = await pair(
    {
      maxForwards: 1000,
      directTcpip: () => Promise.resolve(echo()),
      onForwardActivity: () => active++,
    },
    {},
    { limits: { maxChannels: 2 } },
  );
  const sessions = [await it.client.exec("hang"), await it.client.exec("hang")];
  const streams = await Promise.all(
    Array.from({ length: 1000 }, () => it.client.directTcpip("10.0.0.1", 80)),
  );
  assert.equal(it.connection.channelCount, 1002);
  await assert.rejects(it.client.directTcpip("10.0.0.1", 80), LimitExceeded);
  const replies = streams.map((stream, i) => {
    stream.end(`number ${i}`);
    return text(stream);
  });
  assert.deepEqual(await Promise.all(replies), streams.map((_, i) => `number ${i}`));
  assert.ok(active >= 2000);
  await waitFor(() => it.connection.channelCount === 2);
  await assert.rejects(it.client.exec("hang"), /No more than 2 sessions/);
  for (const session of sessions) session.close();
});

Deno.test("35: targets that take nothing are counted until they are given up", async () => {
  const clock = new Intervals();
  const targets: Duplex[] = [];
  await using it = await pair(
    {
      maxForwards: 2,
      directTcpip: () => {
        const target = new Duplex({ read() {}, write() {}, writableHighWaterMark: 1 });
        targets.push(target);
        return Promise.resolve(target);
      },
    },
    {},
    { limits: { maxChannels: 1 } },
  );
  const connectAndLeave = async () => {
    const stream = await it.client.directTcpip("10.0.0.1", 80);
    stream.end("what nobody reads".repeat(1000));
    stream.on("error", () => {}).destroy();
  };
  {
    using _ = clock.held();
    for (let i = 0; i < 3; i++) await connectAndLeave();
    await waitFor(() => it.connection.channelCount === 0);
    await assert.rejects(connectAndLeave(), LimitExceeded);
    assert.deepEqual(targets.map(({ destroyed }) => destroyed), [false, false, false]);
    // What was not read before the channel ended, then what the target does not take.
    const areGone = () => targets.every(({ destroyed }) => destroyed);
    while (!areGone()) await clock.tick();
    await connectAndLeave();
    assert.equal(targets.length, 4);
    while (!areGone()) await clock.tick();
  }
});

Deno.test("a server does not open more channels than a connection may have", async () => {
  await using it = await pair(
    { ...sessionWith({ agentForward: () => true }), maxForwards: 2 },
    { onAgentChannel: () => Promise.resolve(echo()) },
    { limits: { maxChannels: 1 } },
  );
  const session = await it.client.exec("x", { agentForwarding: true });
  await session.exited;
  await waitFor(() => it.connection.channelCount === 0);
  const open = await Promise.all([1, 2, 3].map(() => it.connection.openAgent()));
  await assert.rejects(it.connection.openAgent(), LimitExceeded);
  for (const stream of open) stream.destroy();
});

Deno.test("what is not served is refused and reported: Unix sockets, absurd ports", async () => {
  const unknown: string[] = [];
  await using it = await pair({
    tcpipForward: () => Promise.resolve(4000),
    directTcpip: () => Promise.resolve(echo()),
    unknownForward: (type, target) => unknown.push(`${type} ${target}`),
  });
  await assert.rejects(it.client.directTcpip("a\0b", 80), AccessDenied);
  await assert.rejects(it.client.directTcpip("x".repeat(2000), 80), AccessDenied);
  await assert.rejects(
    it.client.requestTcpipForward({ host: "a\0b", port: 0 }, () => {}),
    AccessDenied,
  );
  await using peer = await rawPeer(it.server);
  const open = channelOpen("direct-streamlocal@openssh.com", {
    id: 0,
    window: 1_000_000,
    maxPacket: 32_768,
  });
  peer.send(open.string("/run/docker.sock\x1b").string("").u32(0).bytes());
  const refusal = new WireReader((await peer.wait(92))!.subarray(5));
  assert.equal(refusal.u32(), 1);
  assert.match(refusal.utf8(), /Unix sockets are not forwarded/);
  peer.send(globalRequest("streamlocal-forward@openssh.com", true).string("/tmp/x").bytes());
  assert.ok(await peer.wait(82));
  peer.send(globalRequest("tcpip-forward", true).string("x").u32(65_536).bytes());
  assert.ok(await peer.wait(82));
  assert.deepEqual(unknown, [
    "direct-streamlocal@openssh.com /run/docker.sock\\x1b",
    "streamlocal-forward@openssh.com /tmp/x",
  ]);
});

Deno.test("35: global requests that pile up behind one that hangs end the connection", async () => {
  const server = testServer({
    onConnection: (connection) => connection.handle({ tcpipForward: () => new Promise(() => {}) }),
  });
  await using peer = await rawPeer(server);
  for (let i = 0; i < 300; i++) {
    peer.send(globalRequest("tcpip-forward", true).string("").u32(i).bytes());
  }
  const goodbye = readDisconnect(await peer.wait(1));
  assert.match(goodbye!.text, /Too many global requests/);
  await server.close();
});

Deno.test("ten thousand global requests that need no thought are all answered", async () => {
  const server = testServer();
  await using peer = await rawPeer(server);
  for (let i = 0; i < 10_000; i++) peer.send(globalRequest("keepalive@openssh.com", true).bytes());
  for (let i = 0; i < 10_000; i++) assert.equal((await peer.next())?.[0], 82);
  await server.close();
});

Deno.test("sendGlobalRequest() reaches the client, which goes on", async () => {
  const { promise, resolve } = Promise.withResolvers<[string, string]>();
  await using it = await pair({}, {
    onGlobalRequest: (name, payload) => resolve([name, new TextDecoder().decode(payload)]),
  });
  it.connection.sendGlobalRequest("x-teleport-event", new TextEncoder().encode('{"a":1}'));
  assert.deepEqual(await promise, ["x-teleport-event", '{"a":1}']);
  assert.deepEqual(await (await it.client.exec("exit 3")).exited, { code: 3 });
});

Deno.test("what waits for an answer is told when the connection ends", async () => {
  const it = await pair({ tcpipForward: () => new Promise(() => {}) });
  const asked = it.client.requestTcpipForward({ host: "", port: 0 }, () => {});
  it.connection.close();
  await assert.rejects(asked, AccessDenied);
  await assert.rejects(it.connection.openAgent(), ConnectionProblem);
  await it[Symbol.asyncDispose]();
});

/** An authenticated client that says what it likes. */
async function rawPeer(server: SshServer<TestIdentity>) {
  const peer = rawClient(server);
  const key = testKey("alice");
  await peer.service();
  peer.authenticate({
    key,
    blob: userCertificate(key).blob,
    algorithm: "ssh-ed25519-cert-v01@openssh.com",
  });
  assert.ok(await peer.wait(52));
  return Object.assign(peer, {
    [Symbol.asyncDispose]: () => Promise.resolve(peer.close()),
  });
}

async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Intervals that run out when the test says so. */
class Intervals {
  readonly #callbacks = new Map<number, () => void>();

  held(): Disposable {
    const { setInterval, clearInterval } = globalThis;
    const { unrefTimer } = Deno;
    let last = 0;
    Object.assign(globalThis, {
      setInterval: (callback: () => void) => {
        this.#callbacks.set(--last, callback);
        return last;
      },
      clearInterval: (id: number) => id < 0 ? this.#callbacks.delete(id) : clearInterval(id),
    });
    Deno.unrefTimer = (id) => id < 0 || unrefTimer(id);
    return {
      [Symbol.dispose]: () => {
        Object.assign(globalThis, { setInterval, clearInterval });
        Deno.unrefTimer = unrefTimer;
      },
    };
  }

  async tick(): Promise<void> {
    for (const callback of [...this.#callbacks.values()]) callback();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
