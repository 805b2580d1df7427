import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, toHex } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import {
  type AgentAnswer,
  AgentFrames,
  type AgentKey,
  type AgentRequest,
  decodeAgentAnswer,
  decodeAgentRequest,
  encodeAgentAnswer,
  encodeAgentRequest,
  frameAgentMessage,
  rsaAlgorithmOf,
  signFlags,
} from "./agent.ts";
import { buildCertificate, forever } from "./certificate.ts";
import {
  equalKeys,
  generatePrivateKey,
  type PrivateKey,
  signatureAlgorithms,
  verifySignature,
} from "./keys.ts";
import { damaged, inTempDir, keyTypes, onlyBadParameter, testKey } from "./test_openssh.ts";

const data = new TextEncoder().encode("data");
const ca = generatePrivateKey();

function certified(key: PrivateKey): AgentKey {
  const certificate = buildCertificate({
    key: key.publicKey,
    serial: 1n,
    type: "user",
    keyId: "joe",
    principals: ["root"],
    validAfter: 0n,
    validBefore: forever,
    criticalOptions: new Map(),
    extensions: new Map(),
  }, ca);
  return { key, certificate, comment: "teleport:joe" };
}

/** Runs `body` with a real ssh-agent. */
function withAgent(body: (ask: (r: AgentRequest) => Promise<AgentAnswer>) => Promise<void>) {
  return inTempDir(async (dir) => {
    const agent = new Deno.Command("ssh-agent", {
      args: ["-D", "-a", `${dir}/agent`],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const conn = await connect(`${dir}/agent`);
      try {
        const frames = new AgentFrames();
        await body(async (request) => {
          await conn.write(frameAgentMessage(encodeAgentRequest(request)));
          const buffer = new Uint8Array(64 * 1024);
          while (true) {
            const length = await conn.read(buffer);
            assert(length !== null, "the agent hung up");
            const [answer] = frames.push(buffer.slice(0, length));
            if (answer) return decodeAgentAnswer(answer);
          }
        });
      } finally {
        conn.close();
      }
    } finally {
      agent.kill("SIGKILL");
      await agent.status;
    }
  });
}

async function connect(path: string): Promise<Deno.UnixConn> {
  for (let tries = 0;; tries++) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (e) {
      if (tries > 500) throw e;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

for (const type of keyTypes) {
  Deno.test(`ssh-agent takes our keys and certificates, and signs with them: ${type}`, () =>
    withAgent(async (ask) => {
      const plain: AgentKey = { key: testKey(type), comment: "plain key" };
      const { certificate, ...rest } = certified(testKey(type, "other"));
      const withCertificate = { ...rest, certificate: certificate!, lifetimeSeconds: 3600 };
      for (const identity of [plain, withCertificate]) {
        assert.deepEqual(await ask({ kind: "add", identity }), { kind: "success" });
      }
      const held = await ask({ kind: "identities" });
      assert(held.kind === "identities");
      assert.deepEqual(held.identities.map((each) => [toHex(each.blob), each.comment]), [
        [toHex(plain.key.publicKey.blob), "plain key"],
        [toHex(withCertificate.certificate.blob), "teleport:joe"],
      ]);
      for (const algorithm of signatureAlgorithms[type]) {
        const flags = signFlags(algorithm);
        const blob = withCertificate.certificate.blob;
        const answer = await ask({ kind: "sign", blob, data, flags });
        assert(answer.kind === "signature");
        const { publicKey } = withCertificate.key;
        assert(verifySignature(publicKey, data, answer.signature, [algorithm]));
      }
      assert.equal((await ask({ kind: "remove", blob: plain.key.publicKey.blob })).kind, "success");
      assert.equal((await ask({ kind: "remove", blob: plain.key.publicKey.blob })).kind, "failure");
      assert.equal((await ask({ kind: "remove-all" })).kind, "success");
      assert.deepEqual(await ask({ kind: "identities" }), { kind: "identities", identities: [] });
    }));

  Deno.test(`decodeAgentRequest() gives back the keys that were added: ${type}`, () => {
    const key = testKey(type);
    for (
      const identity of [
        { key, comment: "plain" },
        { key, comment: "", lifetimeSeconds: 60, confirm: true },
        certified(key),
      ] as AgentKey[]
    ) {
      const request = decodeAgentRequest(encodeAgentRequest({ kind: "add", identity }));
      assert(request.kind === "add");
      const { key: again, certificate, ...rest } = request.identity;
      const { key: _key, certificate: wanted, ...wantedRest } = identity;
      assert.deepEqual(rest, wantedRest);
      assert(equalKeys(again.publicKey, key.publicKey));
      assert(verifySignature(key.publicKey, data, again.sign(data)));
      assert.equal(certificate && toHex(certificate.blob), wanted && toHex(wanted.blob));
    }
  });

  Deno.test(`decodeAgentRequest() throws nothing but BadParameter: ${type}`, () => {
    const key = testKey(type);
    const messages = [certified(key), { key, comment: "x" }].map((identity) =>
      encodeAgentRequest({ kind: "add", identity })
    );
    for (const message of messages) {
      fc.assert(
        fc.property(damaged(message), (bad) => {
          onlyBadParameter(() => decodeAgentRequest(bad));
        }),
        { numRuns: 50 },
      );
    }
  });
}

Deno.test("decodeAgentRequest() refuses a private key that is not the certificate's", () => {
  for (const type of keyTypes) {
    const { certificate } = certified(testKey(type, "other"));
    const identity = { key: testKey(type), certificate: certificate!, comment: "" };
    const message = encodeAgentRequest({ kind: "add", identity });
    assert.throws(() => decodeAgentRequest(message), BadParameter);
  }
});

const bytes = fc.uint8Array();
const answers: fc.Arbitrary<AgentAnswer> = fc.oneof(
  fc.constant({ kind: "success" } as const),
  fc.constant({ kind: "failure" } as const),
  fc.record({ kind: fc.constant("signature" as const), signature: bytes }),
  fc.record({
    kind: fc.constant("identities" as const),
    identities: fc.array(fc.record({ blob: bytes, comment: fc.string({ unit: "grapheme" }) })),
  }),
);
const requests: fc.Arbitrary<AgentRequest> = fc.oneof(
  fc.constant({ kind: "identities" } as const),
  fc.constant({ kind: "remove-all" } as const),
  fc.record({ kind: fc.constant("remove" as const), blob: bytes }),
  fc.record({ kind: fc.constant("unknown" as const), type: fc.integer({ min: 100, max: 255 }) }),
  fc.record({
    kind: fc.constant("sign" as const),
    blob: bytes,
    data: bytes,
    flags: fc.nat(0xffffffff),
  }),
);

Deno.test("agent messages are read back as they were written", () => {
  const plain = (value: unknown) =>
    JSON.stringify(value, (_, v) => v instanceof Uint8Array ? toHex(v) : v);
  fc.assert(fc.property(answers, requests, (answer, request) => {
    assert.equal(
      plain(sorted(decodeAgentAnswer(encodeAgentAnswer(answer)))),
      plain(sorted(answer)),
    );
    assert.equal(
      plain(sorted(decodeAgentRequest(encodeAgentRequest(request)))),
      plain(sorted(request)),
    );
  }));
});

function sorted(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, each]) => [
    name,
    Array.isArray(each) ? each.map(sorted) : each,
  ]);
}

Deno.test("the decoders of agent messages throw nothing but BadParameter", () => {
  const tagged = fc.tuple(fc.constantFrom(5, 6, 11, 12, 13, 14, 17, 18, 19, 25), bytes)
    .map(([type, rest]) => concat(Uint8Array.of(type), rest));
  fc.assert(fc.property(fc.oneof(bytes, tagged), (message) => {
    onlyBadParameter(() => decodeAgentAnswer(message));
    onlyBadParameter(() => decodeAgentRequest(message));
  }));
});

Deno.test("AgentFrames finds the same messages, however the stream is cut", () => {
  const messages = fc.array(fc.uint8Array({ minLength: 1 }), { maxLength: 5 });
  fc.assert(fc.property(messages, fc.array(fc.nat(20)), (wanted, cuts) => {
    const stream = concat(...wanted.map(frameAgentMessage));
    const frames = new AgentFrames();
    const found: Uint8Array[] = [];
    let at = 0;
    for (const cut of [...cuts, stream.length]) {
      found.push(...frames.push(stream.slice(at, at + cut)));
      at += cut;
    }
    assert.deepEqual(found.map(toHex), wanted.map(toHex));
  }));
});

Deno.test("AgentFrames refuses impossible lengths before it has read them", () => {
  for (const head of [[0, 0, 0, 0], [0, 4, 0, 1], [255, 255, 255, 255]]) {
    assert.throws(() => new AgentFrames().push(Uint8Array.from(head)), BadParameter);
  }
});

Deno.test("attack 16: rsaAlgorithmOf() has nothing for a request that wants SHA-1", () => {
  assert.equal(rsaAlgorithmOf(0), undefined);
  assert.equal(rsaAlgorithmOf(signFlags("rsa-sha2-256")), "rsa-sha2-256");
  assert.equal(rsaAlgorithmOf(signFlags("rsa-sha2-512")), "rsa-sha2-512");
  assert.equal(signFlags("ssh-ed25519"), 0);
});
