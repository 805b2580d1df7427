import assert from "node:assert/strict";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { fingerprint, generatePrivateKey } from "../sshwire/keys.ts";
import {
  formatIdentityFile,
  parseIdentityFile,
  readIdentityFile,
  writeIdentityFile,
  writeOpenSshFiles,
} from "./identity_file.ts";
import { TestAuthority } from "./test_identity.ts";

const pem = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;

Deno.test("an identity file holds all of an identity", () => {
  const identity = { ...new TestAuthority().identity(), tlsAuthorities: [pem("CAAA")] };
  const read = parseIdentityFile(formatIdentityFile(identity, pem("USER")), "id");
  assert.deepEqual(read.certificate.blob, identity.certificate.blob);
  assert.equal(read.cluster, "main");
  assert.deepEqual(read.hostKeys.map(fingerprint), identity.hostKeys.map(fingerprint));
  assert.ok(read.tlsAuthorities.includes(pem("CAAA")));
});

Deno.test("parseIdentityFile() names the part that is missing", () => {
  const text = formatIdentityFile(new TestAuthority().identity());
  const without = (pattern: RegExp) => () => parseIdentityFile(text.replace(pattern, ""), "ci-id");
  assert.throws(without(/-----BEGIN[^]*PRIVATE KEY-----\n/), /ci-id .*no private key/);
  assert.throws(without(/^ssh-ed25519-cert.*$/m), /no SSH certificate/);
  assert.throws(without(/^@cert-authority.*$/m), /no host CA/);
  assert.throws(() => readIdentityFile("/nowhere/id"), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /no identity file \/nowhere\/id/);
    return true;
  });
});

Deno.test("parseIdentityFile() refuses the key of somebody else", () => {
  const identity = new TestAuthority().identity();
  const mixed = formatIdentityFile({ ...identity, key: generatePrivateKey() });
  assert.throws(() => parseIdentityFile(mixed, "id"), AccessDenied);
});

Deno.test("identity files are private; ssh-keygen reads the OpenSSH ones", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const identity = new TestAuthority().identity();
    await writeIdentityFile(`${dir}/id`, identity);
    assert.equal(Deno.statSync(`${dir}/id`).mode! & 0o777, 0o600);
    assert.deepEqual(await writeOpenSshFiles(`${dir}/x`, identity), [
      `${dir}/x`,
      `${dir}/x-cert.pub`,
    ]);
    const { success } = await new Deno.Command("ssh-keygen", {
      args: ["-L", "-f", `${dir}/x-cert.pub`],
    }).output();
    assert.ok(success);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
