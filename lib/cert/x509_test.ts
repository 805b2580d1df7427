import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { equalKeys } from "../sshwire/keys.ts";
import {
  damaged,
  inTempDir,
  keyTypes,
  onlyBadParameter,
  testKey,
  tryCommand,
} from "../sshwire/test_openssh.ts";
import {
  caPin,
  createTlsAuthority,
  describeCertificate,
  spkiFingerprint,
  sshKeyOfAuthority,
  type TlsAuthority,
  tlsServerCertificate,
  tlsUserCertificate,
  verifyPinnedAuthority,
} from "./x509.ts";

const hourMs = 3_600_000;
const sshCaKey = testKey("ssh-ed25519").publicKey;
const authority = await createTlsAuthority({ cluster: "main", type: "host", sshCaKey });
const signer = { caKeyPem: authority.keyPem, caCertPem: authority.certPem };
const names = {
  commonName: "id.main",
  dnsNames: ["localhost", "*.teleport.cluster.local"],
  ips: ["127.0.0.1", "::1"],
};
const spki = spkiOf(generateKeyPairSync("ed25519").publicKey);

function spkiOf(key: ReturnType<typeof generateKeyPairSync>["publicKey"] | unknown): Uint8Array {
  return (key as { export(o: unknown): Uint8Array }).export({ format: "der", type: "spki" });
}

async function openssl(args: string[]): Promise<string> {
  const { success, output } = await tryCommand("openssl", args);
  assert(success, output);
  return output;
}

Deno.test("openssl takes the authority and the server's certificate, for its names only", () =>
  inTempDir(async (dir) => {
    const { certPem, keyPem } = await tlsServerCertificate({ ...signer, ...names, ttlMs: hourMs });
    await Deno.writeTextFile(`${dir}/ca.pem`, authority.certPem);
    await Deno.writeTextFile(`${dir}/server.pem`, certPem);
    await Deno.writeTextFile(`${dir}/server.key`, keyPem!);
    const verify = ["verify", "-x509_strict", "-CAfile", `${dir}/ca.pem`];
    await openssl([...verify, `${dir}/ca.pem`]);
    for (const name of ["localhost", "main.teleport.cluster.local"]) {
      const strict = [...verify, "-purpose", "sslserver", "-verify_hostname", name];
      await openssl([...strict, `${dir}/server.pem`]);
    }
    for (const ip of ["127.0.0.1", "::1"]) {
      await openssl([...verify, "-verify_ip", ip, `${dir}/server.pem`]);
    }
    const other = [...verify, "-verify_hostname", "example.com", `${dir}/server.pem`];
    assert.equal((await tryCommand("openssl", other)).success, false);
    const key = await openssl(["pkey", "-in", `${dir}/server.key`, "-pubout"]);
    assert.equal(key, await openssl(["x509", "-in", `${dir}/server.pem`, "-noout", "-pubkey"]));
  }));

Deno.test("openssl reads the names in a user's certificate, whatever is in them", () =>
  inTempDir(async (dir) => {
    const { certPem } = await tlsUserCertificate({
      ...signer,
      user: "#0500",
      roles: ["admin", "a, CN=root"],
      logins: ["root"],
      traits: { logins: ["root"] },
      routeToCluster: "main",
      publicKeySpki: spki,
      ttlMs: hourMs,
    });
    await Deno.writeTextFile(`${dir}/ca.pem`, authority.certPem);
    await Deno.writeTextFile(`${dir}/user.pem`, certPem);
    const verify = ["verify", "-x509_strict", "-CAfile", `${dir}/ca.pem`];
    await openssl([...verify, "-purpose", "sslclient", `${dir}/user.pem`]);
    const server = [...verify, "-purpose", "sslserver", `${dir}/user.pem`];
    assert.equal((await tryCommand("openssl", server)).success, false);
    const shown = await openssl(
      ["x509", "-in", `${dir}/user.pem`, "-noout", "-subject", "-nameopt", "sep_multiline,utf8"],
    );
    assert.deepEqual(shown.trim().split("\n").slice(1).map((line) => line.trim()), [
      "O=admin",
      "O=a, CN=root",
      "L=root",
      "street=main",
      'postalCode={"logins":["root"]}',
      "CN=#0500",
    ]);
  }));

Deno.test("a TLS client of this runtime takes the server's certificate", async () => {
  const { certPem, keyPem } = await tlsServerCertificate({ ...signer, ...names, ttlMs: hourMs });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem!, onListen: () => {} },
    () => new Response("hello"),
  );
  const client = Deno.createHttpClient({ caCerts: [authority.certPem] });
  try {
    for (const host of ["localhost", "127.0.0.1"]) {
      const response = await fetch(`https://${host}:${server.addr.port}/`, { client });
      assert.equal(await response.text(), "hello");
    }
  } finally {
    client.close();
    await server.shutdown();
  }
});

Deno.test("tlsServerCertificate() and tlsUserCertificate() certify keys of every common type", async () => {
  const pairs = [
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("ec", { namedCurve: "P-384" }),
    generateKeyPairSync("ed25519"),
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ];
  for (const { publicKey } of pairs) {
    const certified = await tlsServerCertificate({
      ...signer,
      ...names,
      publicKeySpki: spkiOf(publicKey),
      ttlMs: hourMs,
    });
    assert.equal(certified.keyPem, undefined);
    assert.equal(describeCertificate(certified.certPem).issuer, "O=main, CN=main host CA");
  }
});

Deno.test("attack 15: certificates for weak and malformed TLS keys are refused", async () => {
  const weak = spkiOf(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey);
  const noSignatures = spkiOf(generateKeyPairSync("x25519").publicKey);
  for (const publicKeySpki of [weak, noSignatures, new Uint8Array(), spki.slice(0, -1)]) {
    await assert.rejects(
      tlsServerCertificate({ ...signer, ...names, publicKeySpki, ttlMs: hourMs }),
      BadParameter,
    );
  }
});

Deno.test("tlsServerCertificate() refuses impossible names, addresses and times", async () => {
  for (
    const change of [
      { dnsNames: [], ips: [] },
      { dnsNames: ["*"] },
      { dnsNames: ["a.*.b"] },
      { dnsNames: ["a b"] },
      { dnsNames: ["a\0.main"] },
      { dnsNames: ["10.0.0.1"] },
      { dnsNames: ["-a"] },
      { ips: ["localhost"] },
      { ips: ["10.1"] },
      { ttlMs: 0 },
      { ttlMs: -1 },
      { ttlMs: NaN },
      { caCertPem: "" },
      { caKeyPem: "" },
    ]
  ) {
    await assert.rejects(
      tlsServerCertificate({ ...signer, ...names, ttlMs: hourMs, ...change }),
      BadParameter,
      JSON.stringify(change),
    );
  }
});

Deno.test("tlsServerCertificate() never outlives its authority", async () => {
  const { certPem } = await tlsServerCertificate({
    ...signer,
    ...names,
    ttlMs: 100 * 365 * 24 * hourMs,
  });
  assert.deepEqual(
    describeCertificate(certPem).notAfter,
    describeCertificate(authority.certPem).notAfter,
  );
  const tooLate = {
    ...signer,
    ...names,
    ttlMs: hourMs,
    nowMs: Date.now() + 11 * 365 * 24 * hourMs,
  };
  await assert.rejects(tlsServerCertificate(tooLate), /expired/);
});

Deno.test("caPin() is the hash of the public key that openssl sees", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/ca.pem`, authority.certPem);
    const pem = await openssl(["x509", "-in", `${dir}/ca.pem`, "-noout", "-pubkey"]);
    await Deno.writeTextFile(`${dir}/key.pem`, pem);
    await openssl([
      "pkey",
      "-pubin",
      "-in",
      `${dir}/key.pem`,
      "-outform",
      "DER",
      "-out",
      `${dir}/der`,
    ]);
    const [digest] = (await openssl(["dgst", "-sha256", "-r", `${dir}/der`])).split(" ");
    assert.equal(caPin(authority.certPem), `sha256:${digest}`);
    assert.equal(spkiFingerprint(authority.certPem), digest);
  }));

Deno.test("describeCertificate() agrees with openssl", () =>
  inTempDir(async (dir) => {
    const { certPem } = await tlsServerCertificate({
      ...signer,
      ...names,
      organizations: ["Proxy"],
      ttlMs: hourMs,
    });
    await Deno.writeTextFile(`${dir}/cert.pem`, certPem);
    const shown = await openssl(
      ["x509", "-in", `${dir}/cert.pem`, "-noout", "-fingerprint", "-sha256", "-enddate"],
    );
    const description = describeCertificate(certPem);
    assert(shown.replaceAll(":", "").toLowerCase().includes(description.fingerprintSha256));
    assert.equal(Date.parse(/notAfter=(.*)/.exec(shown)![1]!), description.notAfter.getTime());
    assert.equal(description.subject, "O=Proxy, CN=id.main");
    assert.deepEqual(description.sans, [
      "localhost",
      "*.teleport.cluster.local",
      "127.0.0.1",
      "::1",
    ]);
  }));

for (const type of keyTypes) {
  Deno.test(`verifyPinnedAuthority() gives the SSH key that the pin vouches for: ${type}`, async () => {
    const { publicKey } = testKey(type);
    const made = await createTlsAuthority({ cluster: "main", type: "user", sshCaKey: publicKey });
    const verified = await verifyPinnedAuthority(made.certPem, caPin(made.certPem));
    assert(equalKeys(verified.sshCaKey, publicKey));
    assert.equal(verified.certPem, made.certPem);
    assert(equalKeys(sshKeyOfAuthority(made.certPem), publicKey));
  });
}

Deno.test("attack 54: verifyPinnedAuthority() refuses every other authority", async () => {
  const other = await createTlsAuthority({ cluster: "main", type: "host", sshCaKey });
  await assert.rejects(
    verifyPinnedAuthority(other.certPem, caPin(authority.certPem)),
    AccessDenied,
  );
});

Deno.test("attack 54: verifyPinnedAuthority() refuses malformed pins", async () => {
  const pin = caPin(authority.certPem);
  for (
    const bad of [
      "",
      "sha256:",
      pin.slice(0, -1),
      `${pin}0`,
      pin.slice(7),
      pin.replace("256", "512"),
      `${pin}\n`,
    ]
  ) {
    await assert.rejects(verifyPinnedAuthority(authority.certPem, bad), BadParameter, bad);
  }
  await verifyPinnedAuthority(authority.certPem, pin.toUpperCase().replace("SHA", "sha"));
});

Deno.test("attack 54: verifyPinnedAuthority() refuses another SSH key under the same TLS key", () =>
  inTempDir(async (dir) => {
    // The attacker knows the public certificate and writes a new one with their own SSH key, which
    // they cannot sign: with a signature of another key, and with the old one.
    const mallory = await createTlsAuthority({
      cluster: "main",
      type: "host",
      sshCaKey: testKey("ssh-ed25519", "other").publicKey,
    });
    const pin = caPin(authority.certPem);
    const der = (made: TlsAuthority) =>
      Uint8Array.from(
        atob(made.certPem.replace(/-----[^-]+-----|\s/g, "")),
        (c) => c.charCodeAt(0),
      );
    const swap = replaceBytes(
      der(authority),
      sshCaKey.blob,
      testKey("ssh-ed25519", "other").publicKey.blob,
    );
    await assert.rejects(verifyPinnedAuthority(pemOf(swap), pin), /not signed by its own key/);
    await assert.rejects(verifyPinnedAuthority(mallory.certPem, pin), AccessDenied);
    await Deno.writeTextFile(`${dir}/swap.pem`, pemOf(swap));
    const check = ["verify", "-check_ss_sig", "-CAfile", `${dir}/swap.pem`, `${dir}/swap.pem`];
    assert.equal((await tryCommand("openssl", check)).success, false);
  }));

Deno.test("attack 54: verifyPinnedAuthority() refuses a server's certificate in the authority's place", async () => {
  const { certPem } = await tlsServerCertificate({ ...signer, ...names, ttlMs: hourMs });
  await assert.rejects(verifyPinnedAuthority(certPem, caPin(certPem)), /not that of an authority/);
});

Deno.test("attack 9: verifyPinnedAuthority() refuses an authority that has expired or is not valid yet", async () => {
  const { certPem } = authority;
  const { notBefore, notAfter } = describeCertificate(certPem);
  const pin = caPin(certPem);
  await verifyPinnedAuthority(certPem, pin, notBefore.getTime());
  for (const nowMs of [notBefore.getTime() - 1, notAfter.getTime(), NaN]) {
    await assert.rejects(verifyPinnedAuthority(certPem, pin, nowMs), AccessDenied, `${nowMs}`);
  }
});

Deno.test("verifyPinnedAuthority() returns only the certificate that it verified", async () => {
  const other = await createTlsAuthority({ cluster: "evil", type: "host", sshCaKey });
  const both = authority.certPem + other.certPem;
  const verified = await verifyPinnedAuthority(both, caPin(authority.certPem));
  assert.equal(verified.certPem, authority.certPem);
});

Deno.test("sshKeyOfAuthority() refuses a certificate without such a key", async () => {
  const { certPem } = await tlsServerCertificate({ ...signer, ...names, ttlMs: hourMs });
  assert.throws(() => sshKeyOfAuthority(certPem), BadParameter);
});

Deno.test("the readers of X.509 throw nothing but BadParameter and AccessDenied", async () => {
  const der = Uint8Array.from(
    atob(authority.certPem.replace(/-----[^-]+-----|\s/g, "")),
    (c) => c.charCodeAt(0),
  );
  const damagedPem = fc.oneof(damaged(der).map(pemOf), fc.uint8Array().map(pemOf), fc.string());
  const pin = caPin(authority.certPem);
  await fc.assert(fc.asyncProperty(damagedPem, async (pem) => {
    for (const read of [describeCertificate, caPin, sshKeyOfAuthority]) {
      onlyBadParameter(() => read(pem));
    }
    try {
      // Outside of what is signed some bits do not matter; what the pin vouches for stays the same.
      const { sshCaKey: found } = await verifyPinnedAuthority(pem, pin);
      assert(equalKeys(found, sshCaKey));
    } catch (e) {
      assert(e instanceof BadParameter || e instanceof AccessDenied, String(e));
    }
  }));
});

function pemOf(der: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...der)).match(/.{1,64}/g)?.join("\n") ?? "";
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
}

function replaceBytes(all: Uint8Array, old: Uint8Array, by: Uint8Array): Uint8Array {
  const text = (bytes: Uint8Array) => String.fromCharCode(...bytes);
  assert(text(all).includes(text(old)) && old.length === by.length);
  return Uint8Array.from(text(all).replace(text(old), text(by)), (c) => c.charCodeAt(0));
}
