import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { fromBase64, toBase64, toHex } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import {
  equalKeys,
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
  privateKeyFromObject,
  verifySignature,
} from "./keys.ts";
import { decodePrivateKey, encodePrivateKey } from "./private_key.ts";
import {
  damaged,
  inTempDir,
  keygenArguments,
  keyTypes,
  makeKey,
  onlyBadParameter,
  sshKeygen,
  testKey,
} from "./test_openssh.ts";

const data = new TextEncoder().encode("data");

for (const type of keyTypes) {
  Deno.test(`decodePrivateKey() reads the key files of ssh-keygen: ${type}`, () =>
    inTempDir(async (dir) => {
      for (
        const [name, format] of [["openssh", []], ["pem", ["-m", "PEM"]], ["pkcs8", [
          "-m",
          "PKCS8",
        ]]] as const
      ) {
        const path = `${dir}/${name}`;
        await sshKeygen([
          "-q",
          "-N",
          "",
          "-C",
          "joe's key",
          "-f",
          path,
          ...format,
          ...keygenArguments[type],
        ]);
        const { key, comment } = decodePrivateKey(await Deno.readTextFile(path));
        const wanted = parseAuthorizedKey(await Deno.readTextFile(`${path}.pub`));
        assert(equalKeys(key.publicKey, wanted.key));
        assert(verifySignature(wanted.key, data, key.sign(data)));
        const openssh = (await Deno.readTextFile(path)).includes("OPENSSH");
        assert.equal(comment, openssh ? "joe's key" : "");
      }
    }));

  Deno.test(`ssh-keygen reads what encodePrivateKey() writes: ${type}`, () =>
    inTempDir(async (dir) => {
      const key = testKey(type);
      for (const comment of ["", "x", "joe@laptop", "ünïcode comment"]) {
        const path = `${dir}/key${comment.length}`;
        await Deno.writeTextFile(path, encodePrivateKey(key, comment), { mode: 0o600 });
        const line = await sshKeygen(["-y", "-f", path]);
        assert.equal(line.trim(), formatAuthorizedKey(key.publicKey, comment));
      }
    }));

  Deno.test(`decodePrivateKey() gives back what encodePrivateKey() was given: ${type}`, () => {
    const key = testKey(type);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (comment) => {
        const decoded = decodePrivateKey(encodePrivateKey(key, comment));
        assert.equal(decoded.comment, comment);
        assert(equalKeys(decoded.key.publicKey, key.publicKey));
      }),
      { numRuns: 20 },
    );
  });

  Deno.test(`decodePrivateKey() throws nothing but BadParameter, and gives no other key: ${type}`, () => {
    const key = testKey(type);
    const [begin, ...lines] = encodePrivateKey(key, "c").trim().split("\n");
    const end = lines.pop();
    const blob = fromBase64(lines.join(""));
    fc.assert(fc.property(damaged(blob), (bad) => {
      const decoded = onlyBadParameter(() =>
        decodePrivateKey(`${begin}\n${toBase64(bad)}\n${end}`)
      );
      if (decoded) assert(verifySignature(decoded.key.publicKey, data, decoded.key.sign(data)));
    }));
  });
}

for (const crv of ["P-256", "P-384"] as const) {
  const size = crv === "P-256" ? 32 : 48;

  Deno.test(`encodePrivateKey() pads and cuts ecdsa scalars as OpenSSH wants them: ${crv}`, () =>
    inTempDir(async (dir) => {
      // Half of all scalars start with a high bit (33 or 49 bytes as an mpint), one in 256 is short.
      const seen = new Set<string>();
      for (let i = 0; i < 2000 && seen.size < 3; i++) {
        const { privateKey } = generateKeyPairSync("ec", { namedCurve: crv });
        const d = Buffer.from(privateKey.export({ format: "jwk" }).d!, "base64url");
        const kind = d[0] === 0 ? "short" : d[0]! & 0x80 ? "high" : "plain";
        if (seen.has(kind)) continue;
        seen.add(kind);
        const key = privateKeyFromObject(privateKey);
        const pem = encodePrivateKey(key);
        const { d: again } = decodePrivateKey(pem).key.keyObject.export({ format: "jwk" });
        assert.equal(Buffer.from(again!, "base64url").length, size);
        assert.equal(toHex(Buffer.from(again!, "base64url")), toHex(d));
        await Deno.writeTextFile(`${dir}/${kind}`, pem, { mode: 0o600 });
        const line = await sshKeygen(["-y", "-f", `${dir}/${kind}`]);
        assert.equal(line.trim(), formatAuthorizedKey(key.publicKey));
      }
      assert(seen.has("plain") && seen.has("high"));
    }));
}

Deno.test("decodePrivateKey() says so when the key is encrypted", () =>
  inTempDir(async (dir) => {
    for (
      const [name, format] of [["openssh", []], ["pem", ["-m", "PEM"]], ["pkcs8", [
        "-m",
        "PKCS8",
      ]]] as const
    ) {
      await sshKeygen([
        "-q",
        "-N",
        "a passphrase",
        "-f",
        `${dir}/${name}`,
        "-t",
        "ecdsa",
        ...format,
      ]);
      const pem = await Deno.readTextFile(`${dir}/${name}`);
      assert.throws(
        () => decodePrivateKey(pem),
        (e) => e instanceof BadParameter && /encrypted with a passphrase/.test(e.message),
        name,
      );
    }
  }));

Deno.test("decodePrivateKey() refuses the types that are not supported", () =>
  inTempDir(async (dir) => {
    await sshKeygen(["-q", "-N", "", "-t", "ecdsa", "-b", "521", "-f", `${dir}/p521`]);
    const pem = await Deno.readTextFile(`${dir}/p521`);
    assert.throws(() => decodePrivateKey(pem), /not supported/);
  }));

Deno.test("decodePrivateKey() refuses texts that are no private key", () =>
  inTempDir(async (dir) => {
    await makeKey(`${dir}/key`, "ssh-ed25519");
    const publicKey = await Deno.readTextFile(`${dir}/key.pub`);
    const pem = await Deno.readTextFile(`${dir}/key`);
    const { publicKey: spki } = generateKeyPairSync("ed25519");
    for (
      const text of [
        "",
        publicKey,
        spki.export({ format: "pem", type: "spki" }) as string,
        pem.slice(0, -20),
        pem.replace("END", "ENDE"),
        pem.split("\n").slice(1).join("\n"),
        `${pem}${"x".repeat(70_000)}`,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
      ]
    ) {
      assert.throws(() => decodePrivateKey(text), BadParameter, text.slice(0, 60));
    }
    fc.assert(fc.property(fc.string(), (text) => {
      onlyBadParameter(() => decodePrivateKey(text));
    }));
  }));

Deno.test("decodePrivateKey() refuses halves of different keys", () => {
  const a = generatePrivateKey();
  const b = generatePrivateKey();
  const lines = encodePrivateKey(a).trim().split("\n");
  const hex = toHex(fromBase64(lines.slice(1, -1).join("")));
  const points = [a, b].map((key) => toHex(key.publicKey.blob.slice(-32)));
  const swap = (text: string) => {
    const bytes = Uint8Array.from(Buffer.from(text, "hex"));
    return [lines[0], toBase64(bytes), lines.at(-1)].join("\n");
  };
  // Only in the public half; and in all places, so that just the seed is another's.
  assert.throws(() => decodePrivateKey(swap(hex.replace(points[0]!, points[1]!))), BadParameter);
  assert.throws(() => decodePrivateKey(swap(hex.replaceAll(points[0]!, points[1]!))), BadParameter);
});

Deno.test("decodePrivateKey() takes Windows line ends and blank lines around", () => {
  const key = generatePrivateKey();
  const pem = `\r\n${encodePrivateKey(key).replaceAll("\n", "\r\n")}\r\n`;
  assert(equalKeys(decodePrivateKey(pem).key.publicKey, key.publicKey));
});

Deno.test("node:crypto reads what it is given by decodePrivateKey()", () => {
  for (const type of keyTypes) {
    const { keyObject } = decodePrivateKey(encodePrivateKey(testKey(type))).key;
    const pem = keyObject.export({ format: "pem", type: "pkcs8" }) as string;
    assert.equal(createPrivateKey(pem).asymmetricKeyType, keyObject.asymmetricKeyType);
  }
});
