/** Channels between our own ends: streams, windows, ends, requests. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Duplex, Readable } from "node:stream";
import { AccessDenied, ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import type { ConnectionHandlers, ServerChannel, SessionHandlers } from "./server.ts";
import type { ConnectOptions, SshClient } from "./client.ts";
import { listen } from "./test_openssh.ts";
import { dialTcp, readAll } from "./stream.ts";
import { connectSsh } from "./client.ts";
import {
  clientOptions,
  connectTo,
  Counter,
  source,
  sourceCount,
  streamPair,
  testServer,
} from "./testing.ts";

interface Pair extends AsyncDisposable {
  client: SshClient;
}

/** A client and a server with these handlers. */
async function pair(
  handlers: ConnectionHandlers | undefined,
  options: { client?: Partial<ConnectOptions>; limits?: object } = {},
): Promise<Pair> {
  const server = testServer({
    ...(handlers && { onConnection: (connection) => connection.handle(handlers) }),
    ...(options.limits && { limits: options.limits }),
  });
  const client = await connectTo(server, options.client);
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await client.closed;
      await server.close();
    },
  };
}

const session = (handlers: Partial<SessionHandlers>): ConnectionHandlers => ({
  session: () => ({ start: () => {}, ...handlers }),
});

/** A session whose channel the test drives itself. */
async function openChannel(
  handlers: Partial<SessionHandlers> = {},
): Promise<Pair & { theirs: ServerChannel; ours: Awaited<ReturnType<SshClient["exec"]>> }> {
  const started = Promise.withResolvers<ServerChannel>();
  const both = await pair(
    session({ start: (_, channel) => started.resolve(channel), ...handlers }),
  );
  const ours = await both.client.exec("x");
  return { ...both, ours, theirs: await started.promise };
}

async function said(stream: Readable): Promise<string> {
  return (await readAll(stream)).toString();
}

async function countOf(stream: Readable): Promise<Counter> {
  const counter = new Counter();
  stream.on("data", (chunk) => counter.add(chunk));
  await new Promise((resolve) => stream.on("close", resolve).on("end", resolve));
  return counter;
}

/** Waits for what must come; the assertion behind it tells when it did not. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000 && !holds(); tries++) await later(1);
}

const later = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("each direction of a channel ends by itself", async () => {
  await using both = await openChannel();
  const { ours, theirs } = both;
  ours.stream.end("stdin");
  assert.equal(await said(theirs.stream), "stdin");
  theirs.stream.write("still ");
  await later();
  theirs.stream.write("open");
  theirs.exit(0);
  assert.equal(await said(ours.stream), "still open");
  assert.deepEqual(await ours.exited, { code: 0 });
});

Deno.test("the server's output can end before its input", async () => {
  await using both = await openChannel();
  const { ours, theirs } = both;
  theirs.stream.end("out");
  theirs.stderr.end();
  assert.equal(await said(ours.stream), "out");
  ours.stream.end("late input");
  assert.equal(await said(theirs.stream), "late input");
  theirs.exit(3);
  assert.deepEqual(await ours.exited, { code: 3 });
});

Deno.test("the end of stdout is told only when stderr has ended, too", async () => {
  await using both = await openChannel();
  const { ours, theirs } = both;
  let ended = false;
  ours.stream.resume().on("end", () => ended = true);
  theirs.stream.end();
  theirs.stderr.write("a");
  await later();
  assert.equal(ended, false);
  theirs.stderr.end("b");
  assert.equal(await said(ours.stderr), "ab");
  theirs.exit(0);
  await ours.exited;
  assert.ok(ended);
});

Deno.test("the end of a subsystem's output is told at once", async () => {
  const started = Promise.withResolvers<ServerChannel>();
  await using both = await pair(session({ start: (_, channel) => started.resolve(channel) }));
  const ours = await both.client.subsystem("x");
  const theirs = await started.promise;
  theirs.stream.end("bye");
  assert.equal(await said(ours.stream), "bye");
  ours.close();
  await theirs.closed;
});

Deno.test("exit() sends everything that was written before, however slow the reader", async () => {
  const size = 6 * 1024 * 1024;
  await using both = await openChannel();
  const { ours, theirs } = both;
  const content = Buffer.alloc(size, "abcdefg");
  theirs.stream.write(content);
  theirs.stderr.write("and this");
  theirs.exit(5);
  await later();
  const [stdout, stderr] = await Promise.all([readAll(ours.stream), said(ours.stderr)]);
  assert.equal(stderr, "and this");
  assert.ok(stdout.equals(content));
  assert.deepEqual(await ours.exited, { code: 5 });
});

Deno.test("only the first exit counts", async () => {
  await using both = await openChannel();
  both.theirs.exit(1);
  both.theirs.exit(2);
  both.theirs.exitSignal("KILL");
  assert.deepEqual(await both.ours.exited, { code: 1 });
});

Deno.test("a channel that ends without a status is lost, not successful", async () => {
  await using both = await openChannel();
  both.theirs.stream.destroy();
  assert.deepEqual(await both.ours.exited, { lost: true });
});

Deno.test("what start() throws is shown on stderr with status 255", async () => {
  await using both = await pair(session({
    start() {
      throw new AccessDenied("no such\x1b[2J login");
    },
  }));
  const channel = await both.client.exec("x");
  assert.equal(await said(channel.stderr), "no such\\x1b[2J login\r\n");
  assert.deepEqual(await channel.exited, { code: 255 });
});

Deno.test("closed() is called once, when the client closes the channel", async () => {
  let closed = 0;
  await using both = await openChannel({ closed: () => closed++ });
  both.ours.close();
  await both.theirs.closed;
  await later(1);
  assert.equal(closed, 1);
});

Deno.test("closed() is called when the connection breaks, and streams are destroyed", async () => {
  const closed = Promise.withResolvers<void>();
  const started = Promise.withResolvers<ServerChannel>();
  const server = testServer({
    onConnection: (connection) =>
      connection.handle(session({
        start: (_, channel) => started.resolve(channel),
        closed: () => closed.resolve(),
      })),
  });
  const [ours, theirs] = streamPair();
  server.accept(theirs, { host: "10.0.0.1", port: 1 }, { host: "10.0.0.2", port: 2 });
  const client = await connectSsh({ stream: ours, ...clientOptions() });
  const channel = await client.exec("x");
  const { stream } = await started.promise;
  let ended = false;
  stream.resume().on("end", () => ended = true);
  ours.destroy();
  await closed.promise;
  assert.ok(stream.destroyed);
  assert.equal(ended, false, "a broken connection is not the end of the input");
  assert.deepEqual(await channel.exited, { lost: true });
  assert.ok(await client.closed instanceof ConnectionProblem);
  await server.close();
});

Deno.test("a writer stops when the other side has closed the channel", async () => {
  await using both = await openChannel();
  const { ours, theirs } = both;
  let written = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const pump = () => {
    while (!theirs.stream.destroyed && written < 100 * 1024 * 1024) {
      written += chunk.length;
      if (!theirs.stream.write(chunk)) return void theirs.stream.once("drain", pump);
    }
  };
  pump();
  ours.close();
  await theirs.closed;
  await later();
  assert.ok(written < 8 * 1024 * 1024);
  theirs.stream.destroy();
});

Deno.test("requests reach the session: variables, terminal, size, signals", async () => {
  const seen: unknown[] = [];
  await using both = await openChannel();
  void both;
  await using other = await pair(session({
    env: (name, value) => seen.push({ name, value }) > 0,
    pty: (request) => seen.push(request) > 0,
    windowChange: (size) => seen.push(size),
    signal: (name) => seen.push(name),
  }));
  const size = { cols: 80, rows: 24, widthPx: 640, heightPx: 480 };
  const modes = new Map([[53, 1], [128, 38400]]);
  const channel = await other.client.shell({
    env: { LANG: "C" },
    pty: { term: "xterm", ...size, modes },
  });
  channel.resize({ ...size, cols: 100 });
  channel.signal("INT");
  channel.signal("SIGTERM");
  await until(() => seen.length === 5);
  assert.deepEqual(seen, [
    { name: "LANG", value: "C" },
    { term: "xterm", ...size, modes },
    { ...size, cols: 100 },
    "INT",
    "TERM",
  ]);
  channel.close();
  await channel.exited;
});

Deno.test("a signal reaches a command whose input has ended", async () => {
  const signals: string[] = [];
  await using both = await openChannel({ signal: (name) => signals.push(name) });
  both.ours.stream.end();
  assert.equal(await said(both.theirs.stream), "");
  both.ours.signal("HUP");
  await until(() => signals.length === 1);
  assert.deepEqual(signals, ["HUP"]);
  both.theirs.exit(0);
  await both.ours.exited;
});

Deno.test("a terminal that is refused is an error at the client", async () => {
  await using both = await pair(session({ pty: () => false }));
  const pty = { term: "x", cols: 1, rows: 1, widthPx: 0, heightPx: 0, modes: new Map() };
  await assert.rejects(both.client.exec("x", { pty }), AccessDenied);
});

Deno.test("a subsystem that is refused tells the reason to a program", async () => {
  await using both = await pair(session({
    authorize: () => {
      throw new AccessDenied("not for you");
    },
  }));
  await assert.rejects(both.client.subsystem("auth-api"), (error: Error) => {
    assert.ok(error instanceof AccessDenied);
    assert.equal(error.message, "not for you");
    return true;
  });
});

Deno.test("a handler that throws refuses the request and not the connection", async () => {
  const fails = () => {
    throw new Error("bug");
  };
  await using both = await pair(session({ env: fails, windowChange: fails, signal: fails }));
  const channel = await both.client.exec("x", { env: { A: "b" } });
  channel.signal("INT");
  channel.close();
  await channel.exited;
  const next = await both.client.exec("x");
  next.close();
});

Deno.test("session() and directTcpip() refuse with their message and its kind", async () => {
  await using both = await pair({
    session: () => {
      throw new LimitExceeded("too many sessions");
    },
    directTcpip: ({ host }) =>
      Promise.reject(
        host === "no" ? new AccessDenied("not there") : new ConnectionProblem("unreachable"),
      ),
  });
  await assert.rejects(both.client.exec("x"), /too many sessions/);
  await assert.rejects(both.client.directTcpip("no", 1), AccessDenied);
  await assert.rejects(both.client.directTcpip("other", 1), ConnectionProblem);
});

Deno.test("36: nothing is served that has no handler", async () => {
  await using both = await pair({});
  await assert.rejects(both.client.exec("x"), AccessDenied);
  await assert.rejects(both.client.subsystem("sftp"), AccessDenied);
  await assert.rejects(both.client.directTcpip("127.0.0.1", 22), AccessDenied);
});

Deno.test("directTcpip() hands over the target and relays with half-close", async () => {
  const [far, near] = streamPair();
  let target: unknown;
  await using both = await pair({
    directTcpip: (request) => {
      target = request;
      return Promise.resolve(near);
    },
  });
  const stream = await both.client.directTcpip("host.example", 443, { host: "10.1.1.1", port: 9 });
  assert.deepEqual(target, {
    host: "host.example",
    port: 443,
    originHost: "10.1.1.1",
    originPort: 9,
  });
  stream.end("question");
  assert.equal(await said(far), "question");
  far.end("answer");
  assert.equal(await said(stream), "answer");
});

Deno.test("a direct channel whose target ends first still carries what the client says", async () => {
  const [far, near] = streamPair();
  await using both = await pair({ directTcpip: () => Promise.resolve(near) });
  const stream = await both.client.directTcpip("h", 1);
  far.end("greeting");
  assert.equal(await said(stream), "greeting");
  stream.end("and now?");
  assert.equal(await said(far), "and now?");
});

Deno.test("a direct channel whose target breaks is destroyed", async () => {
  const [far, near] = streamPair();
  await using both = await pair({ directTcpip: () => Promise.resolve(near) });
  const stream = await both.client.directTcpip("h", 1);
  far.destroy();
  await new Promise((resolve) => stream.resume().once("close", resolve));
});

Deno.test("channels that are opened before handle() wait for it", async () => {
  let handle = () => {};
  const server = testServer({
    onConnection: (connection) => {
      handle = () => connection.handle(session({ start: (_, channel) => channel.exit(4) }));
    },
  });
  const client = await connectTo(server);
  const exec = client.exec("x");
  await later();
  handle();
  assert.deepEqual(await (await exec).exited, { code: 4 });
  client.close();
  await client.closed;
  await server.close();
});

Deno.test("forty channels at once carry 1 MiB each way, over memory and over TCP", async () => {
  const server = testServer();
  const port = listen(server);
  const overTcp = await connectSsh({
    stream: await dialTcp({ host: "127.0.0.1", port }),
    ...clientOptions(),
  });
  const overMemory = await connectTo(server);
  const size = 1024 * 1024;
  for (const client of [overTcp, overMemory]) {
    const counters = await Promise.all(Array.from({ length: 40 }, async () => {
      const { stream } = await client.exec("echo");
      source(stream, size, () => stream.end());
      return await countOf(stream);
    }));
    for (const counter of counters) assert.deepEqual(counter, sourceCount(size));
    client.close();
    await client.closed;
  }
  await server.close();
});

Deno.test("keys are exchanged anew by bytes from either side, with traffic both ways", async () => {
  const size = 8 * 1024 * 1024;
  await using both = await pair(undefined, {
    client: { rekeyBytes: 700_000 },
    limits: { rekeyBytes: 500_000 },
  });
  const { stream } = await both.client.exec("echo");
  source(stream, size, () => stream.end());
  assert.deepEqual(await countOf(stream), sourceCount(size));
});

Deno.test("hundreds of key exchanges are no flood when data goes with them", async () => {
  await using both = await pair(undefined, { client: { rekeyBytes: 64 * 1024 } });
  const size = 12 * 1024 * 1024;
  const { stream } = await both.client.exec("echo");
  source(stream, size, () => stream.end());
  assert.deepEqual(await countOf(stream), sourceCount(size));
});

Deno.test("keys are exchanged anew by time, also while nothing is said", async () => {
  await using both = await pair(undefined, { client: { rekeyMs: 15 }, limits: { rekeyMs: 20 } });
  await later(100);
  assert.deepEqual(await (await both.client.exec("exit 6")).exited, { code: 6 });
});

Deno.test("connections through connections: three layers carry bytes unchanged", async () => {
  const server = testServer();
  const port = listen(server);
  const clients: SshClient[] = [];
  let stream: Duplex = await dialTcp({ host: "127.0.0.1", port });
  for (let layer = 0; layer < 3; layer++) {
    const client = await connectSsh({ stream, ...clientOptions() });
    clients.push(client);
    if (layer < 2) stream = await client.directTcpip("127.0.0.1", port);
  }
  const size = 3 * 1024 * 1024;
  const channel = await clients[2]!.exec("echo");
  source(channel.stream, size, () => channel.stream.end());
  assert.deepEqual(await countOf(channel.stream), sourceCount(size));
  for (const client of clients.reverse()) {
    client.close();
    await client.closed;
  }
  await server.close();
});
