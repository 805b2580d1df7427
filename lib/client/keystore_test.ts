import assert from "node:assert/strict";
import { AccessDenied, NotFound } from "../base/errors.ts";
import { fingerprint, generatePrivateKey } from "../sshwire/keys.ts";
import { encodePrivateKey } from "../sshwire/private_key.ts";
import { keyPaths, readIdentity, removeIdentity, splitPem, writeIdentity } from "./keystore.ts";
import { formatPlainKey, lookUpPlainKey, readHostAuthorities } from "./known_hosts.ts";
import type { Profile } from "./profile.ts";
import { TestAuthority } from "./test_identity.ts";

const profile: Profile = {
  name: "proxy.example.com",
  web: { host: "proxy.example.com", port: 3080 },
  ssh: { host: "proxy.example.com", port: 3023 },
  user: "joe",
  cluster: "main",
};
const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

async function inDirectory(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("an identity is read back as it was written; the key is its owner's alone", () =>
  inDirectory(async (dir) => {
    const identity = { ...new TestAuthority().identity(), tlsAuthorities: [pem, pem] };
    await writeIdentity(dir, profile, identity, pem);
    const read = readIdentity(dir, profile);
    assert.deepEqual(read.certificate.blob, identity.certificate.blob);
    assert.deepEqual(read.hostKeys.map(fingerprint), identity.hostKeys.map(fingerprint));
    assert.deepEqual(read.tlsAuthorities, [pem, pem]);
    assert.equal(Deno.statSync(keyPaths(dir, profile).key).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(`${dir}/keys`).mode! & 0o777, 0o700);
    assert.equal(Deno.readTextFileSync(keyPaths(dir, profile).tlsCertificate), pem);
  }));

Deno.test("ssh-keygen reads the files of the key store", () =>
  inDirectory(async (dir) => {
    await writeIdentity(dir, profile, new TestAuthority().identity());
    const paths = keyPaths(dir, profile);
    for (const args of [["-L", "-f", paths.certificate], ["-y", "-f", paths.key]]) {
      const { success, stderr } = await new Deno.Command("ssh-keygen", { args }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
    }
  }));

Deno.test("host authorities are believed only for the proxy that told them", () =>
  inDirectory(async (dir) => {
    await writeIdentity(dir, profile, new TestAuthority().identity());
    const text = Deno.readTextFileSync(`${dir}/known_hosts`);
    assert.match(
      text,
      /^@cert-authority \*\.main,proxy\.example\.com,\[proxy\.example\.com\]:3023 /,
    );
    assert.equal(readHostAuthorities(text, profile).length, 1);
    assert.deepEqual(readHostAuthorities(text, { ...profile, name: "evil" }), []);
    assert.deepEqual(readHostAuthorities(text, { ...profile, cluster: "leaf" }), []);
  }));

Deno.test("a new login replaces the cluster's authorities and leaves other lines alone", () =>
  inDirectory(async (dir) => {
    const other = formatPlainKey("sshd.example.com", 22, generatePrivateKey().publicKey);
    await Deno.writeTextFile(`${dir}/known_hosts`, `# mine\n${other}\n`);
    await writeIdentity(dir, profile, new TestAuthority().identity());
    const second = new TestAuthority().identity();
    await writeIdentity(dir, profile, second);
    const text = Deno.readTextFileSync(`${dir}/known_hosts`);
    assert.ok(text.startsWith(`# mine\n${other}\n`));
    assert.deepEqual(
      readHostAuthorities(text, profile).map(fingerprint),
      second.hostKeys.map(fingerprint),
    );
  }));

Deno.test("logging out removes a user's files, and the directory with the last user", () =>
  inDirectory(async (dir) => {
    const authority = new TestAuthority();
    const ann = { ...profile, user: "ann" };
    await writeIdentity(dir, profile, authority.identity());
    await writeIdentity(dir, ann, authority.identity({ user: "ann" }));
    await removeIdentity(dir, profile);
    assert.throws(() => readIdentity(dir, profile), NotFound);
    assert.equal(readIdentity(dir, ann).certificate.keyId, "ann");
    await removeIdentity(dir, ann);
    assert.throws(() => Deno.statSync(keyPaths(dir, profile).directory), Deno.errors.NotFound);
    assert.equal(Deno.readTextFileSync(`${dir}/known_hosts`), "");
  }));

Deno.test("a key and a certificate that do not match are refused", () =>
  inDirectory(async (dir) => {
    await writeIdentity(dir, profile, new TestAuthority().identity());
    await Deno.writeTextFile(keyPaths(dir, profile).key, encodePrivateKey(generatePrivateKey()));
    assert.throws(() => readIdentity(dir, profile), AccessDenied);
  }));

Deno.test("lookUpPlainKey() knows an accepted key by host and port, and a changed one", () => {
  const key = generatePrivateKey().publicKey;
  const text = `${formatPlainKey("sshd", 2222, key)}\n`;
  assert.equal(lookUpPlainKey(text, "sshd", 2222, key), "known");
  assert.equal(lookUpPlainKey(text, "sshd", 22, key), "unknown");
  assert.equal(lookUpPlainKey(text, "other", 2222, key), "unknown");
  assert.equal(
    lookUpPlainKey(text, "sshd", 2222, generatePrivateKey().publicKey),
    "different",
  );
});

Deno.test("splitPem() finds each certificate", () => {
  assert.deepEqual(splitPem(`noise\n${pem}${pem}`), [pem, pem]);
});
