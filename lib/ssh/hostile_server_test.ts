/** What the client makes of servers that lie, and of what comes in the wrong order. */
import assert from "node:assert/strict";
import { AccessDenied, ConnectionProblem } from "../base/errors.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import type { PrivateKey } from "../sshwire/keys.ts";
import { connectSsh, type SshClient } from "./client.ts";
import type { EngineHostKey } from "./internals.ts";
import { channelOpen, channelOpenConfirmation } from "./messages.ts";
import { PlainPeer, RawPeer } from "./test_raw_peer.ts";
import {
  clientOptions,
  connectTo,
  hostCertificate,
  streamPair,
  testKey,
  testServer,
  userCa,
} from "./testing.ts";

const host = testKey("host");
const hostAlgorithm = "ssh-ed25519-cert-v01@openssh.com";

/** The offer of a host with a certificate, signed by `signer`. */
function offer(
  certificate: Certificate = hostCertificate(host),
  signer: PrivateKey = host,
): Map<string, EngineHostKey> {
  const sign = (data: Uint8Array) => {
    const reader = new WireReader(signer.sign(data));
    reader.string();
    return reader.string();
  };
  const key = { blob: certificate.blob, signatureAlgorithm: "ssh-ed25519", sign };
  return new Map([[hostAlgorithm, key]]);
}

function hostile(hostKeys = offer()): { client: Promise<SshClient>; peer: RawPeer } {
  const [ours, theirs] = streamPair();
  const peer = new RawPeer(theirs, { hostKeys });
  const client = connectSsh({ stream: ours, ...clientOptions() });
  client.catch(() => {});
  return { client, peer };
}

/** Until the client is authenticated. */
async function accept(peer: RawPeer): Promise<void> {
  await peer.wait(5);
  peer.send(new WireWriter().u8(6).string("ssh-userauth").bytes());
  await peer.wait(50);
  peer.send(Uint8Array.of(52));
}

const success = Uint8Array.of(52);

for (
  const [what, hostKeys] of [
    ["of another CA", offer(hostCertificate(host, ["node1"], userCa))],
    ["for another name", offer(hostCertificate(host, ["node2"]))],
    ["without names for this one", offer(hostCertificate(host, ["node1.elsewhere"]))],
    ["that belongs to another private key", offer(hostCertificate(host), testKey("thief"))],
  ] as const
) {
  Deno.test(`connectSsh() refuses a host certificate ${what} before it says who the user is`, async () => {
    const { client, peer } = hostile(new Map(hostKeys));
    await assert.rejects(client, (error) => {
      assert.ok(error instanceof AccessDenied || error instanceof ConnectionProblem);
      return true;
    });
    for (const type of await peer.rest()) assert.equal(type, 1);
    peer.close();
  });
}

Deno.test("connectSsh() passes on what verifyHost threw", async () => {
  const server = testServer();
  const reason = new AccessDenied("I do not like this host");
  await assert.rejects(
    connectTo(server, {
      verifyHost() {
        throw reason;
      },
    }),
    (error) => error === reason,
  );
  await server.close();
});

Deno.test("connectSsh() shows a plain key as such, and a certificate with its key", async () => {
  const server = testServer({ hostKeys: () => [{ key: host }] });
  let seen;
  const client = await connectTo(server, { verifyHost: (offered) => seen = offered });
  assert.deepEqual(Object.keys(seen!), ["key"]);
  assert.equal(client.hostCertificate, undefined);
  client.close();
  await client.closed;
  await server.close();
});

for (
  const [what, message] of [
    ["USERAUTH_SUCCESS", success],
    ["USERAUTH_FAILURE", new WireWriter().u8(51).string("publickey").bool(false).bytes()],
    ["CHANNEL_OPEN", channelOpen("session", { id: 0, window: 1, maxPacket: 32768 }).bytes()],
    ["GLOBAL_REQUEST", new WireWriter().u8(80).string("x").bool(true).bytes()],
    ["SERVICE_REQUEST", new WireWriter().u8(5).string("ssh-userauth").bytes()],
  ] as const
) {
  Deno.test(`27: ${what} before the client asked for anything ends the connection`, async () => {
    const { client, peer } = hostile();
    await peer.ready;
    peer.send(message);
    await assert.rejects(client, ConnectionProblem);
    peer.close();
  });
}

Deno.test("27: USERAUTH_SUCCESS after the service and before a request is not success", async () => {
  // The agent takes its time to sign: nothing was asked for yet.
  const signing = Promise.withResolvers<Uint8Array>();
  const key = testKey("alice");
  const [ours, theirs] = streamPair();
  const peer = new RawPeer(theirs, { hostKeys: offer() });
  const client = connectSsh({
    ...clientOptions(),
    stream: ours,
    credentials: [{ key: { publicKey: key.publicKey, sign: () => signing.promise } }],
  });
  client.catch(() => {});
  await peer.wait(5);
  peer.send(new WireWriter().u8(6).string("ssh-userauth").bytes());
  peer.send(success);
  await assert.rejects(client, ConnectionProblem);
  assert.ok(await peer.wait(1));
  signing.resolve(new Uint8Array());
  peer.close();
});

for (const type of [2, 4, 19]) {
  Deno.test(`28: message ${type} in strict key exchange ends the client's connection`, async () => {
    const [ours, theirs] = streamPair();
    const client = connectSsh({ stream: ours, ...clientOptions() });
    client.catch(() => {});
    const peer = new PlainPeer(theirs);
    await peer.wait(20);
    const kexInit = new WireWriter().u8(20).raw(new Uint8Array(16));
    for (const list of ["curve25519-sha256,kex-strict-s-v00@openssh.com", hostAlgorithm]) {
      kexInit.string(list);
    }
    for (const list of ["aes128-gcm@openssh.com", "hmac-sha2-512-etm@openssh.com", "none", ""]) {
      kexInit.string(list).string(list);
    }
    peer.send(kexInit.bool(false).u32(0).bytes());
    peer.send(new WireWriter().u8(type).string("").bool(false).string("").bytes());
    await assert.rejects(client, ConnectionProblem);
    peer.close();
  });
}

for (
  const [what, attack] of [
    ["opens a channel", (peer: RawPeer) => {
      peer.send(channelOpen("x11", { id: 5, window: 100, maxPacket: 32768 }).bytes());
      return 92;
    }],
    ["asks for something unknown", (peer: RawPeer) => {
      peer.send(new WireWriter().u8(80).string("hostkeys-00@openssh.com").bool(true).bytes());
      return 82;
    }],
    ["sends an unknown message", (peer: RawPeer) => {
      peer.send(Uint8Array.of(200));
      return 3;
    }],
  ] as const
) {
  Deno.test(`a server that ${what} is told no`, async () => {
    const { client, peer } = hostile();
    await accept(peer);
    const connected = await client;
    assert.equal((await peer.wait(attack(peer)))?.[0], attack(peer));
    connected.close();
    peer.close();
    await connected.closed;
  });
}

for (
  const [what, messages] of [
    ["data for no channel", [new WireWriter().u8(94).u32(9).string("x").bytes()]],
    ["more data than the window", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      ...Array.from(
        { length: 30 },
        () => new WireWriter().u8(94).u32(0).string("x".repeat(100_000)).bytes(),
      ),
    ]],
    ["data after EOF", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      new WireWriter().u8(96).u32(0).bytes(),
      new WireWriter().u8(94).u32(0).string("x").bytes(),
    ]],
    ["a second confirmation", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      channelOpenConfirmation(0, { id: 1, window: 1000, maxPacket: 32768 }),
    ]],
    ["a packet size of zero", [channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 0 })]],
    ["a window over 2^32-1", [
      channelOpenConfirmation(0, { id: 0, window: 0xffffffff, maxPacket: 32768 }),
      new WireWriter().u8(93).u32(0).u32(1).bytes(),
    ]],
    ["a lying length", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      new WireWriter().u8(94).u32(0).u32(500).raw(new Uint8Array(4)).bytes(),
    ]],
    ["CLOSE instead of an answer", [new WireWriter().u8(97).u32(0).bytes()]],
    ["an answer to no request", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      new WireWriter().u8(99).u32(0).bytes(),
      new WireWriter().u8(99).u32(0).bytes(),
      new WireWriter().u8(99).u32(0).bytes(),
    ]],
    ["a malformed exit status", [
      channelOpenConfirmation(0, { id: 0, window: 1000, maxPacket: 32768 }),
      new WireWriter().u8(98).u32(0).string("exit-status").bool(false).u8(1).bytes(),
    ]],
  ] as const
) {
  Deno.test(`a server that sends ${what} is left`, async () => {
    const { client, peer } = hostile();
    await accept(peer);
    const connected = await client;
    const exec = connected.exec("x");
    exec.then((channel) => channel.stream.pause(), () => {});
    await peer.wait(90);
    for (const [i, message] of messages.entries()) {
      peer.send(message);
      if (i === 0 && message[0] === 91 && messages.length > 1) await peer.wait(98);
    }
    assert.ok(await peer.wait(1));
    peer.close();
    assert.ok(await connected.closed instanceof ConnectionProblem);
  });
}

Deno.test("a server that closes the connection ends what waits for it", async () => {
  const { client, peer } = hostile();
  await accept(peer);
  const connected = await client;
  const exec = connected.exec("x");
  await peer.wait(90);
  peer.close();
  await assert.rejects(exec, ConnectionProblem);
  await connected.closed;
  await assert.rejects(connected.exec("y"), ConnectionProblem);
});

Deno.test("connectSsh() gives up when the server says nothing", async () => {
  const [ours] = streamPair();
  const connecting = connectSsh({ stream: ours, ...clientOptions(), readyTimeoutMs: 30 });
  await assert.rejects(connecting, /did not answer in 0.03 s/);
});

Deno.test("connectSsh() stops when it is told to", async () => {
  const [ours] = streamPair();
  const abort = new AbortController();
  const connecting = connectSsh({ stream: ours, ...clientOptions(), signal: abort.signal });
  abort.abort(new Error("never mind"));
  await assert.rejects(connecting, /never mind/);
});

for (
  const [what, text] of [
    ["HTTP", "HTTP/1.1 400 Bad Request\r\n".repeat(4000)],
    ["SSH 1", "SSH-1.5-old\r\n"],
    ["a line that does not end", "SSH-2.0-" + "x".repeat(1000)],
    ["an endless greeting", "x".repeat(70_000)],
  ] as const
) {
  Deno.test(`connectSsh() leaves a server that speaks ${what}`, async () => {
    const [ours, theirs] = streamPair();
    const connecting = connectSsh({ stream: ours, ...clientOptions() });
    theirs.resume();
    theirs.write(text);
    await assert.rejects(connecting, /does not speak SSH 2/);
    theirs.destroy();
  });
}

Deno.test("connectSsh() reads over a greeting, and an identification line byte by byte", async () => {
  const server = testServer();
  const [ours, theirs] = streamPair();
  const [inner, serverEnd] = streamPair();
  server.accept(serverEnd, { host: "127.0.0.1", port: 1 }, { host: "127.0.0.1", port: 2 });
  theirs.write("Welcome\r\nto this\n");
  inner.once("data", (line) => {
    for (const byte of line) theirs.write(Uint8Array.of(byte));
    inner.pipe(theirs);
  });
  theirs.pipe(inner);
  const client = await connectSsh({ stream: ours, ...clientOptions() });
  assert.equal(client.serverVersion, "Teleport");
  client.close();
  await client.closed;
  await server.close();
});

Deno.test("what the server says is safe to show", async () => {
  const { client, peer } = hostile();
  await peer.wait(5);
  peer.send(new WireWriter().u8(6).string("ssh-userauth").bytes());
  await peer.wait(50);
  peer.send(new WireWriter().u8(53).string("\x1b]0;owned\x07Go away\r\n").string("").bytes());
  peer.send(new WireWriter().u8(51).string("publickey").bool(false).bytes());
  await assert.rejects(client, (error: Error) => {
    assert.ok(error instanceof AccessDenied);
    assert.equal(error.message, "\\x1b]0;owned\\x07Go away");
    return true;
  });
  peer.close();
});
