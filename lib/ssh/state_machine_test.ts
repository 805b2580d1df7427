/**
 * Attacks 25 to 36 of the check list on the server's state machine: everything here must fail
 * closed. The client's side is in hostile_server_test.ts, floods are in flood_test.ts.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { KeyType, SignatureAlgorithm } from "../sshwire/keys.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { channelOpen, channelRequest, publicKeyRequest, serviceRequest } from "./messages.ts";
import type { ServerConnection } from "./server.ts";
import {
  ecdhInit,
  kexInit,
  plainClient,
  rawClient,
  type RawPeer,
  type RawRequest,
  readDisconnect,
} from "./test_raw_peer.ts";
import {
  authenticateTestUser,
  connectTo,
  testHandlers,
  type TestIdentity,
  testKey,
  testServer,
  userCertificate,
} from "./testing.ts";

const alice = testKey("alice");
const certificate = userCertificate(alice);
const certified: RawRequest = {
  key: alice,
  blob: certificate.blob,
  algorithm: "ssh-ed25519-cert-v01@openssh.com",
};
const sessionOpen = channelOpen("session", { id: 0, window: 65536, maxPacket: 32768 }).bytes();
const globalRequest = new WireWriter().u8(80).string("keepalive@openssh.com").bool(true).bytes();
const query = publicKeyRequest("alice", certified.algorithm!, certificate.blob, false).bytes();
const noneRequest = (user: string, service = "ssh-connection") =>
  new WireWriter().u8(50).string(user).string(service).string("none").bytes();

/** A server that notes how often it was asked, and who got in. */
function watchedServer(options: Parameters<typeof testServer>[0] = {}) {
  const seen = { asked: 0, connections: [] as ServerConnection<TestIdentity>[] };
  const server = testServer({
    authenticate: (attempt) => {
      seen.asked++;
      return authenticateTestUser(attempt);
    },
    onConnection: (connection) => {
      seen.connections.push(connection);
      connection.handle(testHandlers());
    },
    ...options,
  });
  return { server, seen };
}

/** Runs an attack and expects that the server closes without having let anybody in. */
async function mustBeCutOff(
  attack: (peer: RawPeer) => void | Promise<void>,
): Promise<ReturnType<typeof readDisconnect>> {
  const { server, seen } = watchedServer();
  const peer = rawClient(server);
  await attack(peer);
  const goodbye = readDisconnect(await peer.wait(1));
  assert.deepEqual(await peer.rest(), []);
  assert.equal(seen.asked, 0);
  assert.equal(seen.connections.length, 0);
  peer.close();
  await server.close();
  return goodbye;
}

/** Runs attempts at authentication and expects that each fails. */
async function mustBeRefused(...requests: RawRequest[]): Promise<void> {
  const { server, seen } = watchedServer();
  const peer = rawClient(server);
  await peer.service();
  for (const request of requests) {
    peer.authenticate(request);
    assert.equal((await peer.next())?.[0], 51);
  }
  peer.send(sessionOpen);
  assert.equal((await peer.next())?.[0], 1);
  assert.equal(seen.connections.length, 0);
  peer.close();
  await server.close();
}

for (
  const [what, message] of [
    ["SERVICE_REQUEST", serviceRequest("ssh-userauth")],
    ["USERAUTH_REQUEST", noneRequest("alice")],
    ["CHANNEL_OPEN", sessionOpen],
    ["GLOBAL_REQUEST", globalRequest],
    ["USERAUTH_SUCCESS", Uint8Array.of(52)],
    ["NEWKEYS", Uint8Array.of(21)],
    ["KEX_ECDH_INIT", ecdhInit()],
  ] as const
) {
  Deno.test(`25: ${what} before the key exchange ends the connection`, async () => {
    await mustBeCutOff((peer) => peer.send(message));
  });

  Deno.test(`25: ${what} during the key exchange ends the connection`, async () => {
    const { server, seen } = watchedServer();
    const peer = plainClient(server);
    peer.send(kexInit());
    await peer.wait(20);
    peer.send(message);
    // The exchange itself may go on after its own message; nothing else may.
    if (what === "KEX_ECDH_INIT") peer.send(message);
    assert.ok(await peer.wait(1));
    assert.equal(seen.asked, 0);
    peer.close();
    await server.close();
  });
}

for (
  const [what, message] of [
    ["CHANNEL_OPEN", sessionOpen],
    ["GLOBAL_REQUEST", globalRequest],
    ["CHANNEL_DATA", new WireWriter().u8(94).u32(0).string("x").bytes()],
    ["CHANNEL_REQUEST", channelRequest(0, "exec", true).string("id").bytes()],
  ] as const
) {
  Deno.test(`26: ${what} before authentication ends the connection`, async () => {
    await mustBeCutOff(async (peer) => {
      await peer.ready;
      peer.send(message);
    });
    await mustBeCutOff(async (peer) => {
      await peer.service();
      peer.send(message);
    });
  });
}

for (
  const [what, message] of [
    ["USERAUTH_SUCCESS", Uint8Array.of(52)],
    ["USERAUTH_FAILURE", new WireWriter().u8(51).string("publickey").bool(true).bytes()],
    ["USERAUTH_BANNER", new WireWriter().u8(53).string("hi").string("").bytes()],
    ["USERAUTH_PK_OK", new WireWriter().u8(60).string("ssh-ed25519").string("").bytes()],
    ["SERVICE_ACCEPT", new WireWriter().u8(6).string("ssh-userauth").bytes()],
    ["EXT_INFO", new WireWriter().u8(7).u32(0).bytes()],
  ] as const
) {
  Deno.test(`27: ${what} from a client ends the connection`, async () => {
    await mustBeCutOff(async (peer) => {
      await peer.ready;
      peer.send(message);
    });
    await mustBeCutOff(async (peer) => {
      await peer.service();
      peer.send(message);
    });
  });
}

Deno.test("27: a second SERVICE_REQUEST, and one for another service, end the connection", async () => {
  await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(serviceRequest("ssh-userauth"));
  });
  await mustBeCutOff(async (peer) => {
    await peer.ready;
    peer.send(serviceRequest("ssh-connection"));
  });
});

for (
  const [what, message] of [
    ["IGNORE", new WireWriter().u8(2).string("x").bytes()],
    ["DEBUG", new WireWriter().u8(4).bool(true).string("x").string("").bytes()],
    ["UNIMPLEMENTED", new WireWriter().u8(3).u32(0).bytes()],
    ["an unknown message", Uint8Array.of(19)],
  ] as const
) {
  Deno.test(`28: ${what} in strict key exchange ends the connection`, async () => {
    const { server } = watchedServer();
    const before = plainClient(server);
    before.send(message);
    before.send(kexInit());
    assert.ok(await before.wait(1));
    before.close();
    const between = plainClient(server);
    between.send(kexInit());
    between.send(message);
    assert.ok(await between.wait(1));
    between.close();
    const after = plainClient(server);
    after.send(kexInit());
    after.send(ecdhInit());
    await after.wait(31);
    after.send(message);
    assert.ok(await after.wait(1));
    after.close();
    await server.close();
  });
}

Deno.test("28: strict key exchange is agreed on by our own ends", async () => {
  const { server } = watchedServer();
  const peer = rawClient(server);
  await peer.ready;
  assert.ok(peer.engine.strict);
  peer.close();
  await server.close();
});

Deno.test("28: a second KEXINIT before the keys are there ends the connection", async () => {
  const { server } = watchedServer();
  const peer = plainClient(server);
  peer.send(kexInit());
  peer.send(kexInit());
  assert.ok(await peer.wait(1));
  peer.close();
  await server.close();
});

Deno.test("a guessed key exchange packet is skipped when the guess was wrong", async () => {
  const { server } = watchedServer();
  for (
    const wrong of [
      { kex: "ecdh-sha2-nistp256,curve25519-sha256", follows: true },
      { hostKey: "rsa-sha2-512,ssh-ed25519-cert-v01@openssh.com", follows: true },
    ]
  ) {
    const peer = plainClient(server);
    peer.send(kexInit(wrong));
    peer.send(ecdhInit(new Uint8Array(5)));
    peer.send(ecdhInit(wrong.kex ? nistPoint() : undefined));
    assert.ok(await peer.wait(31), JSON.stringify(wrong));
    peer.close();
  }
  await server.close();
});

for (
  const [what, kex, key] of [
    ["zero", "curve25519-sha256", new Uint8Array(32)],
    ["a point of low order", "curve25519-sha256", Uint8Array.of(1, ...new Uint8Array(31))],
    ["a short key", "curve25519-sha256", new Uint8Array(31).fill(9)],
    ["a long key", "curve25519-sha256", new Uint8Array(33).fill(9)],
    ["a point off the curve", "ecdh-sha2-nistp256", Uint8Array.of(4, ...Array(64).fill(7))],
    ["a point off the curve", "ecdh-sha2-nistp384", Uint8Array.of(4, ...Array(96).fill(7))],
    ["a compressed point", "ecdh-sha2-nistp256", Uint8Array.of(2, ...Array(32).fill(7))],
    ["the point at infinity", "ecdh-sha2-nistp256", Uint8Array.of(0)],
    ["nothing", "ecdh-sha2-nistp256", new Uint8Array()],
  ] as const
) {
  Deno.test(`${kex} with ${what} as public key ends the connection and nothing else`, async () => {
    const { server } = watchedServer();
    const peer = plainClient(server);
    peer.send(kexInit({ kex }));
    await peer.wait(20);
    peer.send(ecdhInit(key));
    assert.equal((await peer.next())?.[0], 1);
    peer.close();
    const client = await connectTo(server);
    client.close();
    await client.closed;
    await server.close();
  });
}

for (
  const [what, fields] of [
    ["SHA-1 key exchange", { kex: "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1" }],
    ["group exchange", { kex: "diffie-hellman-group-exchange-sha256" }],
    ["ssh-rsa host keys", { hostKey: "ssh-rsa,ssh-dss" }],
    ["CBC", { cipher: "aes128-cbc,3des-cbc" }],
    ["no encryption", { cipher: "none" }],
    ["compression only", { compress: "zlib,zlib@openssh.com" }],
    ["strict key exchange as the only method", { kex: "kex-strict-c-v00@openssh.com" }],
    ["ext-info as the only method", { kex: "ext-info-c,kex-strict-s-v00@openssh.com" }],
  ] as const
) {
  Deno.test(`a client that offers ${what} is refused`, async () => {
    const { server } = watchedServer();
    const peer = plainClient(server);
    peer.send(kexInit(fields));
    assert.equal(readDisconnect(await peer.wait(1))?.reason, 3);
    peer.close();
    await server.close();
  });
}

Deno.test("29: a key query is answered and never authenticates", async () => {
  const { server, seen } = watchedServer();
  const peer = rawClient(server);
  await peer.service();
  for (let i = 0; i < 3; i++) {
    peer.send(query);
    assert.equal((await peer.next())?.[0], 60);
  }
  assert.equal(seen.asked, 0);
  peer.send(sessionOpen);
  assert.ok(await peer.wait(1));
  assert.equal(seen.connections.length, 0);
  peer.close();
  await server.close();
});

Deno.test("30: offering one key and signing with another grants what the other may", async () => {
  const { server, seen } = watchedServer();
  const bob = testKey("bob");
  const peer = rawClient(server);
  await peer.service();
  peer.send(query);
  await peer.wait(60);
  const other = userCertificate(bob, ["alice"], testKey("user CA"), "bob");
  peer.authenticate({ ...certified, key: bob, blob: other.blob });
  assert.ok(await peer.wait(52));
  assert.equal(seen.connections[0]?.identity.keyId, "bob");
  peer.close();
  await server.close();
});

Deno.test("30: a certificate with the signature of another key is refused", async () => {
  await mustBeRefused({ ...certified, signer: testKey("bob") });
});

Deno.test("31: changing the user name during authentication ends the connection", async () => {
  const goodbye = await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(noneRequest("bob"));
    assert.equal((await peer.next())?.[0], 51);
    peer.authenticate(certified);
  });
  assert.match(goodbye?.text ?? "", /user name/);
});

Deno.test("31: another service than ssh-connection ends the connection", async () => {
  await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(noneRequest("alice", "ssh-userauth"));
  });
});

Deno.test("31: a request that follows while one is being decided does not overtake it", async () => {
  const decisions: string[] = [];
  const decided = Promise.withResolvers<void>();
  const { server, seen } = watchedServer({
    authenticate: async ({ certificate, username }) => {
      decisions.push(certificate!.keyId);
      await decided.promise;
      return { username, keyId: certificate!.keyId, keyType: "" };
    },
  });
  const peer = rawClient(server);
  await peer.service();
  const other = userCertificate(alice, ["alice"], testKey("user CA"), "second");
  peer.authenticate(certified);
  peer.authenticate({ ...certified, blob: other.blob });
  peer.send(noneRequest("alice"));
  decided.resolve();
  assert.ok(await peer.wait(52));
  assert.deepEqual(decisions, ["alice"]);
  assert.equal(seen.connections.length, 1);
  assert.equal(seen.connections[0]!.identity.keyId, "alice");
  peer.close();
  await server.close();
});

Deno.test("31: a channel opened while the decision is pending ends the connection", async () => {
  const pending = Promise.withResolvers<TestIdentity>();
  const { server, seen } = watchedServer({ authenticate: () => pending.promise });
  const peer = rawClient(server);
  await peer.service();
  peer.authenticate(certified);
  peer.send(sessionOpen);
  assert.ok(await peer.wait(1));
  pending.resolve({ username: "alice", keyId: "", keyType: "" });
  await pending.promise;
  assert.equal(seen.connections.length, 0);
  peer.close();
  await server.close();
});

Deno.test("32: algorithm names that do not fit the key are refused", async () => {
  const ecdsa = testKey("alice", "ecdsa-sha2-nistp256");
  const ecdsaCertificate = userCertificate(ecdsa);
  await mustBeRefused(
    // A certificate under a plain name, a plain key under a certificate's name.
    { ...certified, algorithm: "ssh-ed25519" },
    { ...certified, blob: alice.publicKey.blob },
    // One type under another's name.
    { key: ecdsa, blob: ecdsaCertificate.blob, algorithm: certified.algorithm! },
    { ...certified, algorithm: "ecdsa-sha2-nistp256-cert-v01@openssh.com" },
    { ...certified, algorithm: "ssh-ed25519-cert-v02@openssh.com" },
  );
});

Deno.test("32: RSA with SHA-1, and under names that hide it, is refused", async () => {
  const rsa = testKey("alice", "ssh-rsa");
  const blob = userCertificate(rsa).blob;
  const request = (algorithm: string, signatureAlgorithm?: SignatureAlgorithm): RawRequest => ({
    key: rsa,
    blob,
    algorithm,
    ...(signatureAlgorithm && { signatureAlgorithm }),
  });
  await mustBeRefused(
    request("ssh-rsa-cert-v01@openssh.com"),
    request("ssh-rsa"),
    // Signed with SHA-512 where SHA-256 was said, and the other way round.
    request("rsa-sha2-256-cert-v01@openssh.com", "rsa-sha2-512"),
    request("rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256"),
  );
});

Deno.test("32: signatures of another name, length or form are refused", async () => {
  const signature = (name: string, bytes: Uint8Array) =>
    new WireWriter().string(name).string(bytes).bytes();
  await mustBeRefused(
    { ...certified, signature: signature("ssh-ed25519", new Uint8Array(64)) },
    { ...certified, signature: signature("ssh-ed25519-cert-v01@openssh.com", new Uint8Array(64)) },
    { ...certified, signature: signature("ssh-ed25519", new Uint8Array()) },
    { ...certified, signature: new Uint8Array() },
    { ...certified, signature: signature("none", new Uint8Array(64)) },
  );
});

Deno.test("33: a signature over another user, key, session or service is refused", async () => {
  const other = userCertificate(alice, ["bob"]);
  await mustBeRefused(
    { ...certified, signedAs: { user: "bob" } },
    { ...certified, signedAs: { blob: other.blob } },
    { ...certified, signedAs: { blob: alice.publicKey.blob } },
    { ...certified, signedAs: { sessionId: new Uint8Array(32) } },
  );
});

Deno.test("33: a signature of one connection is of no use in another", async () => {
  const { server, seen } = watchedServer();
  const first = rawClient(server);
  await first.service();
  const second = rawClient(server);
  await second.service();
  second.authenticate({ ...certified, signedAs: { sessionId: first.engine.sessionId } });
  assert.equal((await second.next())?.[0], 51);
  assert.equal(seen.asked, 0);
  first.close();
  second.close();
  await server.close();
});

Deno.test("trailing bytes and cut-off requests end the connection", async () => {
  await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(Buffer.concat([query, Buffer.from("x")]));
  });
  await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(query.subarray(0, query.length - 1));
  });
  await mustBeCutOff(async (peer) => {
    await peer.service();
    peer.send(Uint8Array.of(50));
  });
});

Deno.test("user names that no account can have end the connection", async () => {
  for (const user of ["", "a\0b", "a\nb", "\x1b[2J", "x".repeat(256)]) {
    await mustBeCutOff(async (peer) => {
      await peer.service();
      peer.send(noneRequest(user));
    });
  }
});

for (const method of ["none", "password", "keyboard-interactive", "hostbased"]) {
  Deno.test(`method ${method} is refused and not asked for`, async () => {
    const { server, seen } = watchedServer();
    const peer = rawClient(server);
    await peer.service();
    const request = new WireWriter().u8(50).string("alice").string("ssh-connection").string(method)
      .bool(false).string("secret").bytes();
    peer.send(request);
    const answer = new WireReader((await peer.next())!);
    assert.equal(answer.u8(), 51);
    assert.equal(answer.utf8(), "publickey");
    assert.equal(answer.bool(), false);
    assert.equal(seen.asked, 0);
    peer.close();
    await server.close();
  });
}

Deno.test("34: the sixth failed attempt ends the connection", async () => {
  const failures: string[] = [];
  const { server } = watchedServer({ onAuthFailure: ({ message }) => failures.push(message) });
  const peer = rawClient(server);
  await peer.service();
  peer.send(noneRequest("alice")); // is free
  await peer.wait(51);
  for (let i = 1; i <= 5; i++) {
    peer.authenticate({ ...certified, signature: new Uint8Array(8) });
    assert.equal((await peer.next())?.[0], 51, `attempt ${i}`);
  }
  peer.authenticate({ ...certified, signature: new Uint8Array(8) });
  assert.match(readDisconnect(await peer.next())?.text ?? "", /Too many authentication failures/);
  assert.equal(await peer.next(), undefined);
  assert.equal(failures.length, 6);
  peer.close();
  await server.close();
});

Deno.test("34: keys cannot be offered for ever", async () => {
  const { server } = watchedServer();
  const peer = rawClient(server);
  await peer.service();
  const offer = publicKeyRequest("alice", "ssh-ed25519", alice.publicKey.blob, false).bytes();
  for (let i = 0; i < 30; i++) peer.send(offer);
  assert.deepEqual(await peer.rest(), [...Array(24).fill(51), 1]);
  peer.close();
  await server.close();
});

Deno.test("34: who does not authenticate within the grace time is cut off", async () => {
  const { server } = watchedServer({ limits: { graceMs: 50 } });
  const silent = plainClient(server, "");
  const halfway = rawClient(server);
  await halfway.service();
  assert.deepEqual(await silent.rest(), []);
  assert.match(readDisconnect(await halfway.next())?.text ?? "", /Login timeout/);
  silent.close();
  halfway.close();
  await server.close();
});

Deno.test("34: the grace time does not touch who is authenticated", async () => {
  const { server } = watchedServer({ limits: { graceMs: 200 } });
  const client = await connectTo(server);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(await (await client.exec("exit 5")).exited, { code: 5 });
  client.close();
  await client.closed;
  await server.close();
});

for (const keyType of ["ecdsa-sha2-nistp256", "ssh-rsa"] satisfies KeyType[]) {
  Deno.test(`a plain ${keyType} key is judged by authenticate(), not by its type`, async () => {
    const { server, seen } = watchedServer({ offered: () => true });
    const peer = rawClient(server);
    await peer.service();
    const key = testKey("alice", keyType);
    peer.authenticate({ key, algorithm: keyType === "ssh-rsa" ? "rsa-sha2-512" : keyType });
    const banner = new WireReader((await peer.next())!);
    assert.equal(banner.u8(), 53);
    assert.equal(banner.utf8(), "A certificate is needed\r\n");
    assert.equal((await peer.next())?.[0], 51);
    assert.equal(seen.asked, 1);
    peer.close();
    await server.close();
  });
}

Deno.test("what authenticate() throws other than AccessDenied does not reach the client", async () => {
  const { server } = watchedServer({
    authenticate: () => {
      throw new Error("password of the database is hunter2");
    },
  });
  const peer = rawClient(server);
  await peer.service();
  peer.authenticate(certified);
  const banner = new WireReader((await peer.next())!);
  banner.u8();
  assert.doesNotMatch(banner.utf8(), /hunter2/);
  assert.equal((await peer.next())?.[0], 51);
  peer.close();
  await server.close();
});

function nistPoint(): Uint8Array {
  const hex = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
  return Buffer.from(hex, "hex");
}
