/** Attacks 34 and 35 of the check list: too many, too big, too small, too often, too slow. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { AccessDenied } from "../base/errors.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { channelOpen, channelRequest } from "./messages.ts";
import type { ServerLimits } from "./server.ts";
import { plainClient, rawClient, type RawPeer, readDisconnect } from "./test_raw_peer.ts";
import {
  clientOptions,
  connectTo,
  sourceCount,
  streamPair,
  testHandlers,
  testKey,
  testServer,
  userCertificate,
} from "./testing.ts";
import { connectSsh } from "./client.ts";

const alice = testKey("alice");
const request = {
  key: alice,
  blob: userCertificate(alice).blob,
  algorithm: "ssh-ed25519-cert-v01@openssh.com",
};
const opening = (id: number, window = 1_000_000, maxPacket = 32768) =>
  channelOpen("session", { id, window, maxPacket }).bytes();

/** An authenticated raw client with one session channel, number 0 at both ends. */
async function session(
  options: Parameters<typeof testServer>[0] = {},
  window?: number,
): Promise<{ server: ReturnType<typeof testServer>; peer: RawPeer }> {
  const server = testServer(options);
  const peer = rawClient(server);
  await peer.service();
  peer.authenticate(request);
  assert.ok(await peer.wait(52));
  peer.send(opening(0, window));
  assert.ok(await peer.wait(91));
  return { server, peer };
}

const exec = (command: string) => channelRequest(0, "exec", true).string(command).bytes();
const data = (bytes: number) => new WireWriter().u8(94).u32(0).string("x".repeat(bytes)).bytes();

/** A session handler that counts what its stream takes. */
function countingSource(): { taken: number; handlers: ReturnType<typeof testHandlers> } {
  const counting = {
    taken: 0,
    handlers: {
      session: () => ({
        start(_start: unknown, { stream }: { stream: Duplex }) {
          const chunk = Buffer.alloc(64 * 1024);
          const pump = () => {
            while (!stream.destroyed) {
              counting.taken += chunk.length;
              if (!stream.write(chunk)) return void stream.once("drain", pump);
            }
          };
          pump();
        },
      }),
    },
  };
  return counting;
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 100));

Deno.test("35: ten thousand channels are refused beyond the limit", async () => {
  const { server, peer } = await session();
  for (let id = 1; id < 10_000; id++) peer.send(opening(id));
  let accepted = 1;
  let refused = 0;
  while (accepted + refused < 10_000) {
    const answer = await peer.next();
    assert.ok(answer);
    if (answer[0] === 91) accepted++;
    else {
      const fields = new WireReader(answer.subarray(5));
      assert.equal(answer[0], 92);
      assert.equal(fields.u32(), 4);
      refused++;
    }
  }
  assert.equal(accepted, 256);
  peer.close();
  await server.close();
});

Deno.test("35: the numbers of closed channels are used again", async () => {
  const server = testServer({ limits: { maxChannels: 2 } });
  const client = await connectTo(server);
  for (let i = 0; i < 50; i++) {
    assert.deepEqual(await (await client.exec(`exit ${i}`)).exited, { code: i });
  }
  const hanging = [await client.exec("hang"), await client.exec("hang")];
  await assert.rejects(client.exec("exit 0"), /No more than 2 channels/);
  for (const channel of hanging) channel.close();
  client.close();
  await client.closed;
  await server.close();
});

Deno.test("35: a client whose window is zero makes nothing pile up", async () => {
  const source = countingSource();
  const { server, peer } = await session({ onConnection: (c) => c.handle(source.handlers) }, 0);
  peer.send(exec("x"));
  await settle();
  assert.ok(source.taken <= 1024 * 1024, `${source.taken}`);
  peer.close();
  await server.close();
});

Deno.test("35: a client that does not read its socket makes nothing pile up", async () => {
  const source = countingSource();
  const { server, peer } = await session(
    { onConnection: (c) => c.handle(source.handlers) },
    0xffffffff,
  );
  peer.stream.pause();
  peer.send(exec("x"));
  await settle();
  assert.ok(source.taken <= 8 * 1024 * 1024, `${source.taken}`);
  peer.close();
  await server.close();
});

Deno.test("35: a client that asks without reading the answers is not read any more", async () => {
  let answers = 0;
  const reason = "x".repeat(20_000);
  const { server, peer } = await session({
    onConnection: (connection) =>
      connection.handle({
        session() {
          if (answers++ > 0) throw new AccessDenied(reason);
          return { start: () => {} };
        },
      }),
  });
  peer.stream.pause();
  for (let i = 1; i < 2000; i++) peer.send(opening(i));
  await settle();
  assert.ok(answers * reason.length < 16 * 1024 * 1024, `${answers} answers wait`);
  peer.stream.resume();
  for (let i = 1; i < 2000; i++) assert.ok(await peer.wait(92));
  peer.close();
  await server.close();
});

Deno.test("35: a reader that is slow holds back the sender, and gets everything", async () => {
  const server = testServer();
  const client = await connectTo(server);
  const size = 8 * 1024 * 1024;
  const channel = await client.exec(`source ${size}`);
  let most = 0;
  const counter = sourceCount(0);
  for await (const chunk of channel.stream) {
    counter.add(chunk);
    most = Math.max(most, channel.stream.readableLength);
    if (counter.bytes % 50 === 0) await Promise.resolve();
  }
  assert.deepEqual(counter, sourceCount(size));
  assert.ok(most <= 2 * 1024 * 1024 + 128 * 1024);
  client.close();
  await client.closed;
  await server.close();
});

Deno.test("35: packets of one byte are carried", async () => {
  const { server, peer } = await session();
  peer.send(exec("sink"));
  for (let i = 0; i < 20_000; i++) peer.send(data(1));
  peer.send(new WireWriter().u8(96).u32(0).bytes());
  const answer = await peer.wait(94);
  assert.match(answer!.toString("latin1"), /20000 /);
  peer.close();
  await server.close();
});

Deno.test("35: a client that wants packets of a few bytes gets no channel", async () => {
  const { server, peer } = await session();
  for (const maxPacket of [0, 1, 511]) {
    peer.send(opening(7, 1000, maxPacket));
    assert.ok(await peer.wait(92));
  }
  peer.close();
  await server.close();
});

for (
  const [what, messages] of [
    ["more data than the window", Array.from({ length: 30 }, () => data(100_000))],
    ["a piece of data over the maximum", [data(128 * 1024 + 1)]],
    ["an empty message", [new WireWriter().u8(94).bytes()]],
    ["a window over 2^32-1", [new WireWriter().u8(93).u32(0).u32(0xffffffff).bytes()]],
    ["data for another channel", [new WireWriter().u8(94).u32(1).string("x").bytes()]],
    ["data after EOF", [new WireWriter().u8(96).u32(0).bytes(), data(1)]],
    ["an answer to nothing", [new WireWriter().u8(99).u32(0).bytes()]],
    ["a confirmation of nothing", [
      new WireWriter().u8(91).u32(0).u32(0).u32(0).u32(0).bytes(),
    ]],
    ["a malformed terminal", [channelRequest(0, "pty-req", true).u32(99).bytes()]],
    ["a terminal whose name is 1 MB long", [
      channelRequest(0, "pty-req", true).string("x".repeat(100_000)).u32(1).u32(1).u32(1).u32(1)
        .string("").bytes(),
    ]],
  ] as const
) {
  Deno.test(`35: ${what} ends the connection`, async () => {
    const { server, peer } = await session();
    peer.send(exec("hang"));
    for (const message of messages) peer.send(message);
    assert.equal(readDisconnect(await peer.wait(1))?.reason, 2);
    peer.close();
    await server.close();
  });
}

Deno.test("35: a packet over 35000 bytes before, and over 256 KiB after authentication is refused", async () => {
  const server = testServer();
  const before = rawClient(server);
  await before.ready;
  before.send(new Uint8Array(36_000).fill(2));
  assert.match(readDisconnect(await before.wait(1))?.text ?? "", /Bad packet length/);
  before.close();
  await server.close();
  const { server: other, peer: after } = await session();
  after.send(new Uint8Array(200_000).fill(2)); // IGNORE
  after.send(new Uint8Array(300_000).fill(2));
  assert.match(readDisconnect(await after.wait(1))?.text ?? "", /Bad packet length/);
  after.close();
  await other.close();
});

Deno.test("35: a packet over 35000 bytes in the clear is refused before it is read", async () => {
  const server = testServer();
  const peer = plainClient(server);
  peer.stream.write(Buffer.from([0x10, 0, 0, 0, 4, 20]));
  assert.ok(await peer.wait(1));
  peer.close();
  await server.close();
});

Deno.test("35: variables beyond a limit are refused", async () => {
  const set: string[] = [];
  const { server, peer } = await session({
    onConnection: (connection) =>
      connection.handle({
        session: () => ({
          env: (name) => {
            set.push(name);
            return true;
          },
          start: () => {},
        }),
      }),
  });
  const env = (name: string, value: Uint8Array) =>
    peer.send(channelRequest(0, "env", true).string(name).string(value).bytes());
  for (const bad of ["", "A=B", "A\0", "1A", "A B", "-o"]) env(bad, Buffer.from("x"));
  env("NUL", Buffer.from("a\0b"));
  env("LATIN1", Buffer.from([0xe9]));
  env("HUGE", Buffer.alloc(70_000, "x"));
  env("AFTER_HUGE", Buffer.from("x"));
  for (let i = 0; i < 10; i++) assert.equal((await peer.next())?.[0], 100);
  assert.deepEqual(set, []);
  peer.close();
  await server.close();
  const many = await session({
    onConnection: (connection) =>
      connection.handle({ session: () => ({ env: () => true, start: () => {} }) }),
  });
  for (let i = 0; i < 200; i++) {
    many.peer.send(channelRequest(0, "env", true).string(`V${i}`).string("x").bytes());
  }
  const answers: number[] = [];
  for (let i = 0; i < 200; i++) answers.push((await many.peer.next())![0]!);
  assert.equal(answers.filter((type) => type === 99).length, 128);
  many.peer.close();
  await many.server.close();
});

Deno.test("35: a client that only exchanges keys is cut off", async () => {
  const { server, peer } = await session();
  for (let i = 0; i < 400 && !peer.stream.destroyed; i++) {
    const before = peer.engine.exchanges;
    peer.engine.rekey();
    while (peer.engine.exchanges === before && !peer.stream.readableEnded) await settleTick();
  }
  assert.match(readDisconnect(await peer.wait(1))?.text ?? "", /Too many key exchanges/);
  peer.close();
  await server.close();
  const early = testServer();
  const stranger = rawClient(early);
  await stranger.ready;
  for (let i = 0; i < 6 && !stranger.stream.readableEnded; i++) {
    const before = stranger.engine.exchanges;
    stranger.engine.rekey();
    while (stranger.engine.exchanges === before && !stranger.stream.readableEnded) {
      await settleTick();
    }
  }
  assert.ok(await stranger.wait(1));
  stranger.close();
  await early.close();
});

const settleTick = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Waits for what must come; the assertion behind it tells when it did not. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000 && !holds(); tries++) await settleTick();
}

/** Opens connections that say nothing, each from an address. */
function silentConnections(
  server: ReturnType<typeof testServer>,
  count: number,
  host: (i: number) => string,
): { said: string; isClosed: boolean; stream: Duplex }[] {
  return Array.from({ length: count }, (_, i) => {
    const [ours, theirs] = streamPair();
    const connection = { said: "", isClosed: false, stream: ours };
    ours.on("error", () => {});
    ours.on("data", (chunk) => connection.said += chunk);
    ours.on("end", () => connection.isClosed = true);
    ours.on("close", () => connection.isClosed = true);
    server.accept(theirs, { host: host(i), port: i }, { host: "127.0.0.1", port: 2 });
    return connection;
  });
}

const fewStartups: Partial<ServerLimits> = { maxStartups: 10, maxStartupsPerAddress: 2 };

Deno.test("34: half-open connections of one address are bounded and do not hurt others", async () => {
  const server = testServer({ limits: fewStartups });
  const flood = silentConnections(server, 1000, () => "10.0.0.1");
  await until(() => flood.filter(({ said }) => said !== "").length === 980);
  // 2 talk to the server, 20 wait, 978 are turned away.
  assert.equal(flood.filter(({ said }) => said.startsWith("SSH-2.0-")).length, 2);
  assert.equal(flood.filter(({ said }) => said.startsWith("Exceeded MaxStartups")).length, 978);
  assert.equal(server.connectionCount, 22);
  const client = await connectTo(server);
  client.close();
  await client.closed;
  const [ours, theirs] = streamPair();
  server.accept(theirs, { host: "10.0.0.1", port: 1 }, { host: "127.0.0.1", port: 2 });
  await assert.rejects(
    connectSsh({ stream: ours, ...clientOptions() }),
    /^ConnectionProblem: The connection was closed: Exceeded MaxStartups: .*try again$/,
  );
  for (const { stream } of flood) stream.destroy();
  await until(() => server.connectionCount === 0);
  assert.equal(server.connectionCount, 0);
  await server.close();
});

Deno.test("34: half-open connections of one IPv6 network count as one address", async () => {
  const server = testServer({ limits: fewStartups });
  const flood = silentConnections(server, 50, (i) => `2001:db8:0:1::${i.toString(16)}`);
  const others = silentConnections(server, 2, () => "2001:db8:0:2::1");
  await until(() => others.every(({ said }) => said !== ""));
  assert.equal(flood.filter(({ said }) => said.startsWith("SSH-2.0-")).length, 2);
  assert.ok(others.every(({ said }) => said.startsWith("SSH-2.0-")));
  for (const { stream } of [...flood, ...others]) stream.destroy();
  await until(() => server.connectionCount === 0);
  await server.close();
});

Deno.test("34: connections of many addresses are bounded, too", async () => {
  const server = testServer({ limits: fewStartups });
  const flood = silentConnections(server, 1000, (i) => `10.0.${i >> 8}.${i & 255}`);
  await until(() => flood.filter(({ said }) => said !== "").length === 900);
  assert.equal(flood.filter(({ said }) => said.startsWith("SSH-2.0-")).length, 10);
  assert.equal(server.connectionCount, 110);
  for (const { stream } of flood) stream.destroy();
  await until(() => server.connectionCount === 0);
  await server.close();
});

Deno.test("34: who waits for a turn is cut off at the grace time as well", async () => {
  const server = testServer({ limits: { ...fewStartups, graceMs: 80 } });
  const flood = silentConnections(server, 15, () => "10.0.0.1");
  await until(() => flood.every(({ isClosed }) => isClosed));
  assert.ok(flood.every(({ isClosed }) => isClosed));
  for (const { stream } of flood) stream.destroy();
  await until(() => server.connectionCount === 0);
  assert.equal(server.connectionCount, 0);
  await server.close();
});

Deno.test("clients beyond the limit wait for their turn and are served", async () => {
  const server = testServer({ limits: fewStartups });
  const outputs = await Promise.all(Array.from({ length: 20 }, async () => {
    const [ours, theirs] = streamPair();
    server.accept(theirs, { host: "10.0.0.1", port: 1 }, { host: "127.0.0.1", port: 2 });
    const client = await connectSsh({ stream: ours, ...clientOptions() });
    const channel = await client.exec("stderr");
    const output = await text(channel.stream);
    client.close();
    await client.closed;
    return output;
  }));
  assert.deepEqual(outputs, Array(20).fill("to stdout\n"));
  await server.close();
});
