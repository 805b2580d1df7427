import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBase64, toBase64, utf8Encode } from "../base/bytes.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { equalKeys, formatAuthorizedKey, generatePrivateKey } from "./keys.ts";
import { encodePrivateKey } from "./private_key.ts";
import { signSshsig, verifySshsig } from "./sshsig.ts";
import {
  damaged,
  inTempDir,
  keyTypes,
  onlyBadParameter,
  sshKeygen,
  testKey,
} from "./test_openssh.ts";

const data = utf8Encode("the signed text\n");
const namespace = "file@teleport";

for (const type of keyTypes) {
  const key = testKey(type);

  Deno.test(`ssh-keygen -Y verify takes what signSshsig() made: ${type}`, () =>
    inTempDir(async (dir) => {
      await Deno.writeTextFile(`${dir}/sig`, signSshsig(key, namespace, data));
      await Deno.writeTextFile(`${dir}/allowed`, `joe ${formatAuthorizedKey(key.publicKey)}\n`);
      const output = await sshKeygen([
        ...["-Y", "verify", "-f", `${dir}/allowed`, "-I", "joe", "-n", namespace],
        ...["-s", `${dir}/sig`],
      ], data);
      assert.match(output, /^Good "file@teleport" signature for joe/);
    }));

  Deno.test(`verifySshsig() takes what ssh-keygen -Y sign made: ${type}`, () =>
    inTempDir(async (dir) => {
      await Deno.writeTextFile(`${dir}/key`, encodePrivateKey(key), { mode: 0o600 });
      for (const hash of ["sha256", "sha512"]) {
        const armoured = await sshKeygen(
          ["-q", "-Y", "sign", "-f", `${dir}/key`, "-n", namespace, "-O", `hashalg=${hash}`],
          data,
        );
        assert(equalKeys(verifySshsig(armoured, namespace, data), key.publicKey));
      }
    }));
}

const key = generatePrivateKey();

Deno.test("verifySshsig() refuses other data and another namespace", () => {
  const armoured = signSshsig(key, namespace, data);
  assert.throws(() => verifySshsig(armoured, namespace, utf8Encode("other")), AccessDenied);
  assert.throws(() => verifySshsig(armoured, "git", data), AccessDenied);
  assert.throws(() => verifySshsig(armoured, "", data), BadParameter);
  assert.throws(() => signSshsig(key, "", data), BadParameter);
});

Deno.test("verifySshsig() throws nothing but BadParameter and AccessDenied, and sees all damage", () => {
  const lines = signSshsig(key, namespace, data).trim().split("\n");
  const blob = fromBase64(lines.slice(1, -1).join(""));
  const armour = (bytes: Uint8Array) => [lines[0], toBase64(bytes), lines.at(-1)].join("\n");
  assert(equalKeys(verifySshsig(armour(blob), namespace, data), key.publicKey));
  fc.assert(fc.property(damaged(blob), fc.string(), (bad, text) => {
    fc.pre(toBase64(bad) !== toBase64(blob));
    for (const armoured of [armour(bad), text]) {
      onlyBadParameter(() => {
        try {
          const signer = verifySshsig(armoured, namespace, data);
          assert.fail(`taken as the signature of ${formatAuthorizedKey(signer)}`);
        } catch (e) {
          if (!(e instanceof AccessDenied)) throw e;
        }
      });
    }
  }));
});

Deno.test("verifySshsig() refuses a signature without its armour", () => {
  const armoured = signSshsig(key, namespace, data);
  for (
    const text of ["", armoured.replace("BEGIN", "START"), armoured.replace("-----END", "----")]
  ) {
    assert.throws(() => verifySshsig(text, namespace, data), BadParameter);
  }
  verifySshsig(armoured.replaceAll("\n", "\r\n"), namespace, data);
});
