import assert from "node:assert/strict";
import fc from "fast-check";
import { toBase64, toHex } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import {
  buildCertificate,
  certificateAlgorithm,
  type CertificateFields,
  forever,
  formatCertificateLine,
  isCertificateAlgorithm,
  parseCertificate,
  parseCertificateLine,
} from "./certificate.ts";
import { WireReader, WireWriter } from "./codec.ts";
import {
  equalKeys,
  formatAuthorizedKey,
  generatePrivateKey,
  type KeyType,
  parseAuthorizedKey,
  type PrivateKey,
  verifySignature,
} from "./keys.ts";
import { encodePrivateKey } from "./private_key.ts";
import {
  damaged,
  inTempDir,
  keyTypes,
  makeKey,
  onlyBadParameter,
  sshKeygen,
  testKey,
} from "./test_openssh.ts";

const keys = Object.fromEntries(keyTypes.map((type) => [type, testKey(type)])) as Record<
  KeyType,
  PrivateKey
>;
const ca = generatePrivateKey();
const user = generatePrivateKey();

const fields: CertificateFields = {
  key: user.publicKey,
  serial: 42n,
  type: "user",
  keyId: "joe",
  principals: ["root", "deploy"],
  validAfter: 1_700_000_000n,
  validBefore: 1_700_003_600n,
  criticalOptions: new Map([["source-address", "10.0.0.0/8"]]),
  extensions: new Map([["teleport-roles", '{"version":"v1","roles":["admin"]}'], [
    "permit-pty",
    "",
  ]]),
};

for (const type of keyTypes) {
  Deno.test(`parseCertificate() reads the user certificates of ssh-keygen: ${type}`, () =>
    inTempDir(async (dir) => {
      await makeKey(`${dir}/user`, type);
      for (const caType of keyTypes) {
        await Deno.writeTextFile(`${dir}/ca`, encodePrivateKey(keys[caType]), { mode: 0o600 });
        await sshKeygen([
          ...["-q", "-s", `${dir}/ca`, "-I", "joe's id", "-n", "root,deploy", "-z", "123456789"],
          ...["-V", "20240101000000Z:20300101000000Z", "-O", "clear", "-O", "permit-pty"],
          ...["-O", "force-command=/bin/date -u", "-O", "source-address=10.0.0.0/8,::1/128"],
          ...["-O", "extension:teleport-roles={}", `${dir}/user.pub`],
        ]);
        const line = await Deno.readTextFile(`${dir}/user-cert.pub`);
        const certificate = parseCertificateLine(line);
        assert.equal(certificate.algorithm, certificateAlgorithm(type));
        assert(equalKeys(
          certificate.key,
          parseAuthorizedKey(await Deno.readTextFile(`${dir}/user.pub`)).key,
        ));
        assert.equal(certificate.type, "user");
        assert.equal(certificate.serial, 123456789n);
        assert.equal(certificate.keyId, "joe's id");
        assert.deepEqual(certificate.principals, ["root", "deploy"]);
        assert.equal(certificate.validAfter, BigInt(Date.UTC(2024, 0, 1) / 1000));
        assert.equal(certificate.validBefore, BigInt(Date.UTC(2030, 0, 1) / 1000));
        assert.deepEqual([...certificate.criticalOptions], [
          ["force-command", "/bin/date -u"],
          ["source-address", "10.0.0.0/8,::1/128"],
        ]);
        assert.deepEqual([...certificate.extensions], [["permit-pty", ""], [
          "teleport-roles",
          "{}",
        ]]);
        assert(equalKeys(certificate.signatureKey, keys[caType].publicKey));
        const { signatureKey, signedData, signature } = certificate;
        assert(verifySignature(signatureKey, signedData, signature));
        assert.equal(formatCertificateLine(certificate, "a comment"), line.trim());
      }
    }));

  Deno.test(`parseCertificate() reads the host certificates of ssh-keygen: ${type}`, () =>
    inTempDir(async (dir) => {
      await makeKey(`${dir}/host`, type);
      await Deno.writeTextFile(`${dir}/ca`, encodePrivateKey(ca), { mode: 0o600 });
      await sshKeygen([
        "-q",
        "-h",
        "-s",
        `${dir}/ca`,
        "-I",
        "h",
        "-n",
        "a.example.com",
        `${dir}/host.pub`,
      ]);
      const certificate = parseCertificateLine(await Deno.readTextFile(`${dir}/host-cert.pub`));
      assert.equal(certificate.type, "host");
      assert.equal(certificate.validBefore, forever);
      assert.equal(certificate.criticalOptions.size + certificate.extensions.size, 0);
    }));

  Deno.test(`ssh-keygen -L shows what buildCertificate() made: ${type}`, () =>
    inTempDir(async (dir) => {
      for (const caType of keyTypes) {
        const certificate = buildCertificate(
          { ...fields, key: keys[type].publicKey },
          keys[caType],
        );
        await Deno.writeTextFile(`${dir}/cert.pub`, `${formatCertificateLine(certificate)}\n`);
        const shown = await sshKeygen(["-Lf", `${dir}/cert.pub`]);
        const using = caType === "ssh-rsa" ? "rsa-sha2-512" : caType;
        for (
          const expected of [
            `Type: ${certificateAlgorithm(type)} user certificate`,
            `(using ${using})`,
            'Key ID: "joe"',
            "Serial: 42",
            "Valid: from 2023-11-14T22:13:20 to 2023-11-14T23:13:20",
            "source-address 10.0.0.0/8",
            "permit-pty",
            "teleport-roles",
          ]
        ) {
          assert(shown.includes(expected), `${expected} in ${shown}`);
        }
        assert.match(shown, /Principals:\s+root\s+deploy\s+Critical/);
      }
    }));

  Deno.test(`parseCertificate() throws nothing but BadParameter, and no damage goes unseen: ${type}`, () => {
    const certificate = buildCertificate({ ...fields, key: keys[type].publicKey }, ca);
    fc.assert(fc.property(damaged(certificate.blob), fc.uint8Array(), (bad, random) => {
      fc.pre(toHex(bad) !== toHex(certificate.blob));
      const parsed = onlyBadParameter(() => parseCertificate(bad));
      if (parsed) {
        const { signatureKey, signedData, signature } = parsed;
        assert(!verifySignature(signatureKey, signedData, signature));
      }
      assert.equal(onlyBadParameter(() => parseCertificate(random)), undefined);
    }));
  });
}

Deno.test("parseCertificate() gives back what buildCertificate() was given", () => {
  const options = fc.dictionary(fc.string(), fc.string({ unit: "grapheme" }), { maxKeys: 5 })
    .map((record) => new Map(Object.entries(record)));
  const u64 = fc.bigInt({ min: 0n, max: forever });
  const anyFields = fc.record<CertificateFields>({
    key: fc.constantFrom(...keyTypes.map((type) => keys[type].publicKey)),
    serial: u64,
    type: fc.constantFrom("user", "host"),
    keyId: fc.string({ unit: "grapheme" }),
    principals: fc.array(fc.string({ unit: "grapheme" }), { maxLength: 5 }),
    validAfter: u64,
    validBefore: u64,
    criticalOptions: options,
    extensions: options,
  });
  fc.assert(fc.property(anyFields, (wanted) => {
    const built = buildCertificate(wanted, ca);
    const { blob, signature, signedData, signatureKey, algorithm, key, ...rest } = parseCertificate(
      built.blob,
    );
    const { key: wantedKey, criticalOptions, extensions, ...wantedRest } = wanted;
    const sorted = (map: ReadonlyMap<string, string>) =>
      [...map].sort(([a], [b]) => a < b ? -1 : 1);
    assert.deepEqual({
      ...rest,
      criticalOptions: sorted(rest.criticalOptions),
      extensions: sorted(rest.extensions),
    }, { ...wantedRest, criticalOptions: sorted(criticalOptions), extensions: sorted(extensions) });
    assert(equalKeys(key, wantedKey) && equalKeys(signatureKey, ca.publicKey));
    assert.equal(algorithm, certificateAlgorithm(wantedKey.type));
    assert(verifySignature(ca.publicKey, signedData, signature));
    assert.equal(toHex(blob), toHex(built.blob));
  }));
});

Deno.test("buildCertificate() makes a new nonce each time", () => {
  assert.notEqual(
    toHex(buildCertificate(fields, ca).signedData),
    toHex(buildCertificate(fields, ca).signedData),
  );
});

Deno.test("parseCertificate() keeps no reference to the buffer that it was given", () => {
  const blob = Uint8Array.from(buildCertificate(fields, ca).blob);
  const certificate = parseCertificate(blob);
  const before = toHex(certificate.signedData);
  blob.fill(0);
  assert.equal(toHex(certificate.signedData), before);
  assert(verifySignature(ca.publicKey, certificate.signedData, certificate.signature));
});

/** A certificate written field by field, so that every field can be wrong; rightly signed. */
function craft(change: {
  algorithm?: string;
  key?: Uint8Array;
  type?: number;
  principals?: Uint8Array;
  criticalOptions?: Uint8Array;
  extensions?: Uint8Array;
  reserved?: string;
  signatureKey?: Uint8Array;
  tail?: Uint8Array;
}): Uint8Array {
  const signed = new WireWriter()
    .string(change.algorithm ?? certificateAlgorithm("ssh-ed25519"))
    .string("nonce")
    .raw(change.key ?? new WireWriter().string(user.publicKey.blob.slice(-32)).bytes())
    .u64(1n)
    .u32(change.type ?? 1)
    .string("joe")
    .string(change.principals ?? new WireWriter().string("root").bytes())
    .u64(0n)
    .u64(100n)
    .string(change.criticalOptions ?? "")
    .string(change.extensions ?? "")
    .string(change.reserved ?? "")
    .string(change.signatureKey ?? ca.publicKey.blob)
    .bytes();
  return new WireWriter().raw(signed).string(ca.sign(signed)).raw(change.tail ?? new Uint8Array())
    .bytes();
}

function optionsOf(...options: [string, Uint8Array | string][]): Uint8Array {
  const writer = new WireWriter();
  for (const [name, value] of options) writer.string(name).string(value);
  return writer.bytes();
}

Deno.test("parseCertificate() ignores the reserved field, as the format says", () => {
  assert.equal(parseCertificate(craft({ reserved: "future" })).keyId, "joe");
});

Deno.test("attack 3: parseCertificate() refuses a signature key that is itself a certificate", () => {
  const authority = buildCertificate({ ...fields, key: ca.publicKey }, generatePrivateKey());
  assert.throws(
    () => parseCertificate(craft({ signatureKey: authority.blob })),
    /got a certificate/,
  );
});

Deno.test("attack 11: parseCertificate() refuses options that are repeated or not sorted", () => {
  for (const field of ["criticalOptions", "extensions"] as const) {
    for (
      const names of [["b", "a"], ["a", "a"], ["permit-pty", "permit-X11"], ["aa", "a"], [
        "a",
        "b",
        "a",
      ]]
    ) {
      const packed = optionsOf(...names.map((name) => [name, ""] as [string, string]));
      assert.throws(() => parseCertificate(craft({ [field]: packed })), /repeated or not sorted/);
    }
    const sorted = optionsOf(["permit-X11", ""], ["permit-pty", ""], ["é", ""]);
    assert.equal(parseCertificate(craft({ [field]: sorted }))[field].size, 3);
  }
});

Deno.test("attack 15: parseCertificate() refuses trailing bytes and wrong inner lengths", () => {
  const wrapped = new WireWriter().string("value").bytes();
  const cases: Parameters<typeof craft>[0][] = [
    { tail: Uint8Array.of(0) },
    { principals: Uint8Array.of(0, 0, 0, 9, 1) },
    { principals: Uint8Array.of(0, 0, 0) },
    { criticalOptions: Uint8Array.of(0, 0, 0, 1) },
    { criticalOptions: optionsOf(["force-command", "not wrapped"]) },
    { criticalOptions: optionsOf(["force-command", Uint8Array.from([...wrapped, 0])]) },
    { extensions: optionsOf(["x", wrapped.slice(0, -1)]) },
    { extensions: new WireWriter().string("name without value").bytes() },
    { extensions: optionsOf(["x", new WireWriter().string(Uint8Array.of(0xff)).bytes()]) },
    { extensions: optionsOf(["x", ""], ["\ud800", ""]).slice(0, -5) },
    { principals: new WireWriter().string(Uint8Array.of(0xc3, 0x28)).bytes() },
    { signatureKey: new Uint8Array() },
    { signatureKey: Uint8Array.from([...ca.publicKey.blob, 0]) },
    { key: new WireWriter().string(user.publicKey.blob.slice(-31)).bytes() },
    {
      key: new WireWriter().string(Uint8Array.from([...user.publicKey.blob.slice(-32), 0])).bytes(),
    },
    { key: new WireWriter().string(new Uint8Array(32)).bytes() },
    { type: 0 },
    { type: 3 },
  ];
  for (const change of cases) {
    assert.throws(() => parseCertificate(craft(change)), BadParameter, JSON.stringify(change));
  }
  assert.throws(() => parseCertificate(new Uint8Array(70_000)), /too long/);
});

Deno.test("attack 15: parseCertificate() refuses weak keys, certified or certifying", () => {
  const rsa1024 = new WireWriter().mpint(Uint8Array.of(1, 0, 1))
    .mpint(new Uint8Array(128).fill(0xff)).bytes();
  const algorithm = certificateAlgorithm("ssh-rsa");
  assert.throws(() => parseCertificate(craft({ algorithm, key: rsa1024 })), /2048/);
  const signatureKey = new WireWriter().string("ssh-rsa").raw(rsa1024).bytes();
  assert.throws(() => parseCertificate(craft({ signatureKey })), /2048/);
});

Deno.test("parseCertificate() refuses more principals than OpenSSH reads", () => {
  const principals = (count: number) => {
    const writer = new WireWriter();
    for (let i = 0; i < count; i++) writer.string(`p${i}`);
    return writer.bytes();
  };
  assert.equal(parseCertificate(craft({ principals: principals(256) })).principals.length, 256);
  assert.throws(() => parseCertificate(craft({ principals: principals(257) })), /at most 256/);
});

Deno.test("attack 16: parseCertificate() refuses an algorithm that is not the key's", () => {
  for (const type of keyTypes.filter((each) => each !== "ssh-ed25519")) {
    assert.throws(
      () => parseCertificate(craft({ algorithm: certificateAlgorithm(type) })),
      BadParameter,
    );
  }
  for (
    const algorithm of [
      "ssh-ed25519",
      "ssh-ed25519-cert-v00@openssh.com",
      "ssh-dss-cert-v01@openssh.com",
      "rsa-sha2-512-cert-v01@openssh.com",
      "sk-ssh-ed25519-cert-v01@openssh.com",
      "-cert-v01@openssh.com",
    ]
  ) {
    assert.equal(isCertificateAlgorithm(algorithm), false);
    assert.throws(() => parseCertificate(craft({ algorithm })), BadParameter, algorithm);
  }
});

Deno.test("attack 16: parseCertificateLine() refuses a name that is not the blob's", () => {
  const certificate = buildCertificate(fields, ca);
  const base64 = toBase64(certificate.blob);
  for (const name of ["ssh-rsa-cert-v01@openssh.com", "ssh-ed25519", "", "toString"]) {
    assert.throws(() => parseCertificateLine(`${name} ${base64}`), BadParameter, name);
  }
  assert.throws(() => parseCertificateLine(formatAuthorizedKey(user.publicKey)), BadParameter);
  assert.throws(() => parseCertificateLine(certificate.algorithm), BadParameter);
});

Deno.test("buildCertificate() signs with an RSA authority by SHA-2 only", () => {
  const { signature } = buildCertificate(fields, keys["ssh-rsa"]);
  assert.equal(new WireReader(signature).utf8(), "rsa-sha2-512");
});
