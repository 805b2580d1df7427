/** What this module uses of ssh2's insides, and must still be there after an update. */
import assert from "node:assert/strict";
import Protocol from "ssh2/lib/protocol/Protocol.js";
import manifest from "ssh2/package.json" with { type: "json" };
import { kexAlgorithms } from "./algorithms.ts";
import { rawClient } from "./test_raw_peer.ts";
import { testServer } from "./testing.ts";

function make(isServer: boolean) {
  const lists = { cipher: ["aes128-gcm@openssh.com"], mac: [], compress: ["none"], lang: [] };
  return new Protocol({
    server: isServer,
    hostKeys: {},
    ident: "x",
    offer: { kex: ["curve25519-sha256"], serverHostKey: ["ssh-ed25519"], cs: lists, sc: lists },
    onWrite: () => {},
    onError: () => {},
  });
}

Deno.test("ssh2 is the version whose insides are known", () => {
  assert.equal(manifest.version, "1.17.0");
});

for (const isServer of [true, false]) {
  Deno.test(`ssh2's Protocol has the parts that are used (server: ${isServer})`, () => {
    const protocol = make(isServer);
    for (const method of ["start", "parse", "rekey", "cleanup", "_destruct", "_onPayload"]) {
      assert.equal(typeof protocol[method], "function", method);
    }
    for (
      const property of [
        "_kex",
        "_kexinit",
        "_offer",
        "_strictMode",
        "_skipNextInboundPacket",
        "_cipher",
        "_decipher",
        "_hostKeys",
        "_packetRW",
        "_remoteIdentRaw",
        "_server",
      ]
    ) assert.ok(property in protocol, property);
    assert.deepEqual(protocol._offer.lists.kex.array, [
      "curve25519-sha256",
      ...(isServer
        ? ["kex-strict-s-v00@openssh.com"]
        : ["ext-info-c", "kex-strict-c-v00@openssh.com"]),
    ]);
    assert.deepEqual(protocol._offer.lists.serverHostKey.array, ["ssh-ed25519"]);
    for (const property of ["outSeqno", "allocPacket", "encrypt", "free"]) {
      assert.ok(property in protocol._cipher, property);
    }
    protocol.cleanup();
  });
}

Deno.test("ssh2's key exchange has the parts that are used", async () => {
  const server = testServer();
  const peer = rawClient(server);
  await peer.ready;
  const { negotiated } = peer.engine;
  assert.equal(negotiated?.kex, kexAlgorithms[0]);
  assert.equal(negotiated?.serverHostKey, "ssh-ed25519");
  assert.equal(negotiated?.cs.cipher, "aes128-gcm@openssh.com");
  assert.equal(negotiated?.sc.cipher, "aes128-gcm@openssh.com");
  assert.equal(peer.engine.sessionId.length, 32);
  peer.close();
  await server.close();
});
