import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { ConnectionProblem } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { type AgentSigner, connectSsh } from "./client.ts";
import { clientAddressLine, type PeerAddress, type ServerConnection } from "./server.ts";
import { RawPeer, readDisconnect } from "./test_raw_peer.ts";
import {
  clientOptions,
  connectTo,
  hostCertificate,
  streamPair,
  testHandlers,
  type TestIdentity,
  testKey,
  testServer,
  userCertificate,
} from "./testing.ts";

const proxy = { host: "10.0.0.9", port: 1 };
const local = { host: "10.0.0.1", port: 3022 };

/** A server that believes `proxy`, and a stream on which `first` was written. */
function relayed(first: Uint8Array, from: PeerAddress = proxy, limits = {}) {
  const connected = Promise.withResolvers<ServerConnection<TestIdentity>>();
  const server = testServer({
    limits,
    clientAddressFrom: (remote) => remote.host === proxy.host,
    onConnection: (connection) => {
      connection.handle(testHandlers());
      connected.resolve(connection);
    },
  });
  const [ours, theirs] = streamPair();
  if (first.length > 0) ours.write(first);
  server.accept(theirs, from, local);
  return { server, stream: ours, connected: connected.promise };
}

const client = { host: "203.0.113.7", port: 5555 };

Deno.test("a proxy's line changes the client's address, which the server knows both of", async () => {
  const { server, stream, connected } = relayed(clientAddressLine(client));
  const ssh = await connectSsh({ stream, ...clientOptions() });
  const connection = await connected;
  assert.deepEqual(connection.remote, client);
  assert.deepEqual(connection.relayedBy, proxy);
  assert.deepEqual(connection.local, local);
  ssh.close();
  await ssh.closed;
  await server.close();
});

Deno.test("a proxy's line may come byte by byte, with SSH right behind it", async () => {
  const { server, stream, connected } = relayed(new Uint8Array());
  for (const byte of clientAddressLine({ host: "2001:db8::1", port: 22 })) {
    stream.write(Uint8Array.of(byte));
  }
  const ssh = await connectSsh({ stream, ...clientOptions() });
  assert.equal((await connected).remote.host, "2001:db8::1");
  ssh.close();
  await ssh.closed;
  await server.close();
});

Deno.test("a client without a line is served at a server that would read one", async () => {
  const { server, stream, connected } = relayed(new Uint8Array());
  const ssh = await connectSsh({ stream, ...clientOptions() });
  assert.deepEqual((await connected).remote, proxy);
  assert.equal((await connected).relayedBy, undefined);
  ssh.close();
  await ssh.closed;
  await server.close();
});

for (
  const [what, line] of [
    ["no JSON", "Teleport-Proxy{\0"],
    ["no address", 'Teleport-Proxy{"a":1}\0'],
    ["null", "Teleport-Proxynull\0"],
    ["a name for an address", 'Teleport-Proxy{"clientAddr":"example.com:1"}\0'],
    ["a port that is none", 'Teleport-Proxy{"clientAddr":"1.2.3.4:99999"}\0'],
    ["no end", "Teleport-Proxy" + "x".repeat(2000)],
    ["a late end", "Teleport-Proxy" + "x".repeat(2000) + "\0"],
  ] as const
) {
  Deno.test(`a proxy's line with ${what} closes the connection`, async () => {
    const { server, stream } = relayed(new TextEncoder().encode(line));
    assert.equal(await text(stream).catch(() => ""), "");
    await server.close();
  });
}

Deno.test("a line from a host that is no proxy is passed over: the socket's address counts", async () => {
  const stranger = { host: "192.0.2.1", port: 1 };
  const { server, stream, connected } = relayed(clientAddressLine(client), stranger);
  const ssh = await connectSsh({ stream, ...clientOptions() });
  assert.deepEqual((await connected).remote, stranger);
  assert.equal((await connected).relayedBy, undefined);
  ssh.close();
  await ssh.closed;
  await server.close();
});

Deno.test("a line at a server that expects none is not SSH", async () => {
  const server = testServer();
  const [ours, theirs] = streamPair();
  server.accept(theirs, proxy, local);
  ours.write(clientAddressLine(client));
  assert.match(await text(ours), /Invalid SSH identification string/);
  ours.destroy();
  await server.close();
});

Deno.test("connections of a proxy are limited by the client's address, not by the proxy's", async () => {
  const limits = { maxStartups: 100, maxStartupsPerAddress: 2 };
  const { server, stream } = relayed(clientAddressLine(client), proxy, limits);
  const greeted: string[] = [];
  const streams = Array.from({ length: 10 }, (_, i) => {
    const [ours, theirs] = streamPair();
    server.accept(theirs, proxy, local);
    ours.write(clientAddressLine({ host: `203.0.113.${i}`, port: 1 }));
    ours.on("data", (chunk) => greeted.push(String(chunk)));
    return ours;
  });
  for (let tries = 0; tries < 2000 && greeted.length < 10; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(greeted.length, 10);
  for (const each of [stream, ...streams]) each.destroy();
  await new Promise((resolve) => setTimeout(resolve, 10));
  await server.close();
});

Deno.test("host keys are asked for at each connection", async () => {
  const keys = [testKey("host"), testKey("next host")];
  const certificates = keys.map((key) => hostCertificate(key));
  let turn = 0;
  const server = testServer({
    hostKeys: () => [{ key: keys[turn]!, certificate: certificates[turn]! }],
  });
  const seen: unknown[] = [];
  for (; turn < 2; turn++) {
    const ssh = await connectTo(server);
    seen.push(ssh.hostCertificate?.blob);
    ssh.close();
    await ssh.closed;
  }
  assert.deepEqual(seen, certificates.map(({ blob }) => blob));
  await server.close();
});

Deno.test("hostKeys() that fails costs one connection", async () => {
  let fails = true;
  const key = testKey("host");
  const certificate = hostCertificate(key);
  const server = testServer({
    hostKeys: () => {
      if (fails) throw new Error("not there");
      return [{ key, certificate }];
    },
  });
  configureLog({ level: "off", format: "text" });
  await assert.rejects(connectTo(server), ConnectionProblem);
  configureLog({ level: "error", format: "text" });
  fails = false;
  const ssh = await connectTo(server);
  ssh.close();
  await ssh.closed;
  await server.close();
});

Deno.test("onConnection() that fails costs the connection and is told to the log", async () => {
  const server = testServer({
    onConnection: () => {
      throw new Error("bug");
    },
  });
  configureLog({ level: "off", format: "text" });
  try {
    const ssh = await connectTo(server);
    await ssh.closed;
  } finally {
    configureLog({ level: "error", format: "text" });
  }
  await server.close();
});

Deno.test("onAuthFailure() is told who failed, from where, why and with what", async () => {
  const failures: unknown[] = [];
  const server = testServer({ onAuthFailure: (failure) => failures.push(failure) });
  const key = testKey("alice");
  const certificate = userCertificate(key, ["bob"]);
  await assert.rejects(connectTo(server, { credentials: [{ key, certificate }] }), /"alice"/);
  assert.equal(failures.length, 1);
  const [failure] = failures as [{ username: string; message: string; remote: PeerAddress }];
  assert.equal(failure.username, "alice");
  assert.equal(failure.remote.host, "127.0.0.1");
  assert.match(failure.message, /not for the login/);
  await server.close();
});

Deno.test("a client tries its credentials one after the other", async () => {
  const server = testServer({ offered: () => true });
  const [bad, good] = [testKey("bob"), testKey("alice")];
  const ssh = await connectTo(server, {
    credentials: [
      { key: bad },
      { key: bad, certificate: userCertificate(bad, ["bob"]) },
      { key: good, certificate: userCertificate(good) },
    ],
  });
  ssh.close();
  await ssh.closed;
  await assert.rejects(connectTo(server, { credentials: [] }), /there is no key to show/);
  await server.close();
});

Deno.test("a key that an agent holds signs by itself", async () => {
  const server = testServer();
  const key = testKey("alice", "ssh-rsa");
  const asked: string[] = [];
  const agent: AgentSigner = {
    publicKey: key.publicKey,
    sign: (data, algorithm) => {
      asked.push(algorithm);
      return Promise.resolve(key.sign(data, algorithm));
    },
  };
  const ssh = await connectTo(server, {
    credentials: [{ key: agent, certificate: userCertificate(key) }],
  });
  assert.deepEqual(asked, ["rsa-sha2-512"]);
  ssh.close();
  await ssh.closed;
  const failing = { publicKey: key.publicKey, sign: () => Promise.reject(new Error("no touch")) };
  await assert.rejects(
    connectTo(server, { credentials: [{ key: failing }] }),
    /Cannot sign with the key: no touch/,
  );
  await server.close();
});

Deno.test("a client that does not answer any more is noticed", async () => {
  const server = testServer({ limits: { keepAliveIntervalMs: 20, keepAliveCountMax: 2 } });
  const [ours, theirs] = streamPair();
  server.accept(theirs, proxy, local);
  const peer = new RawPeer(ours);
  await peer.service();
  const key = testKey("alice");
  peer.authenticate({
    key,
    blob: userCertificate(key).blob,
    algorithm: "ssh-ed25519-cert-v01@openssh.com",
  });
  await peer.wait(52);
  const asked = [await peer.next(), await peer.next()];
  assert.deepEqual(asked.map((message) => message?.[0]), [80, 80]);
  assert.equal(readDisconnect(await peer.next())?.reason, 10);
  peer.close();
  await server.close();
});

Deno.test("a client that answers keep-alives stays", async () => {
  const server = testServer({ limits: { keepAliveIntervalMs: 10, keepAliveCountMax: 1 } });
  const ssh = await connectTo(server, { keepAlive: { intervalMs: 10, countMax: 1 } });
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.equal(ssh.isClosed, false);
  ssh.close();
  await ssh.closed;
  await server.close();
});

Deno.test("close() of a connection tells the client why", async () => {
  const connected = Promise.withResolvers<ServerConnection<TestIdentity>>();
  const server = testServer({ onConnection: connected.resolve });
  const [ours, theirs] = streamPair();
  server.accept(theirs, proxy, local);
  const peer = new RawPeer(ours);
  await peer.service();
  const key = testKey("alice");
  peer.authenticate({
    key,
    blob: userCertificate(key).blob,
    algorithm: "ssh-ed25519-cert-v01@openssh.com",
  });
  const connection = await connected.promise;
  assert.equal(connection.username, "alice");
  assert.equal(connection.clientVersion, "raw");
  connection.close("Your certificate has expired");
  assert.deepEqual(readDisconnect(await peer.wait(1)), {
    reason: 11,
    text: "Your certificate has expired",
  });
  peer.close();
  await connection.closed;
  await server.close();
});

Deno.test("close() with a drain time lets sessions end, and takes no new connections", async () => {
  const server = testServer();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = server.serve(listener);
  const busy = await connectTo(server);
  const idle = await connectTo(server);
  const channel = await busy.exec("echo");
  const closing = server.close({ drainMs: 10_000 });
  await serving;
  await idle.closed;
  await assert.rejects(connectTo(server), ConnectionProblem);
  channel.stream.end("finished");
  assert.equal(await text(channel.stream), "finished");
  busy.close();
  await closing;
  assert.equal(server.connectionCount, 0);
});

Deno.test("close() without a drain time ends sessions", async () => {
  const server = testServer();
  const ssh = await connectTo(server);
  const channel = await ssh.exec("hang");
  await server.close();
  assert.deepEqual(await channel.exited, { lost: true });
  await ssh.closed;
});

Deno.test("a connection with a session can be told from one without", async () => {
  const connected = Promise.withResolvers<ServerConnection<TestIdentity>>();
  const server = testServer({
    onConnection: (connection) => {
      connection.handle(testHandlers());
      connected.resolve(connection);
    },
  });
  const ssh = await connectTo(server);
  const connection = await connected.promise;
  assert.equal(connection.channelCount, 0);
  const channel = await ssh.exec("hang");
  assert.equal(connection.channelCount, 1);
  channel.close();
  await channel.exited;
  assert.equal(connection.channelCount, 0);
  ssh.close();
  await ssh.closed;
  await server.close();
});
