import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { concat, toHex } from "../base/bytes.ts";
import { AccessDenied, InternalError } from "../base/errors.ts";
import { type Certificate, forever, parseCertificate } from "../sshwire/certificate.ts";
import { WireWriter } from "../sshwire/codec.ts";
import { generatePrivateKey, type PrivateKey, privateKeyFromObject } from "../sshwire/keys.ts";
import { damaged, keyTypes, onlyBadParameter, testKey } from "../sshwire/test_openssh.ts";
import { checkCertificate, type WantedCertificate } from "./check.ts";
import {
  authorities,
  cluster,
  hostCa,
  hostCertificate,
  nowMs,
  nowSeconds,
  userCa,
  userCertificate,
  userKey,
  wantHost,
  wantUser,
} from "./test_certificates.ts";

function refuses(certificate: Certificate, want: WantedCertificate, why: RegExp): void {
  assert.throws(() => checkCertificate(certificate, want), (e) => {
    assert(e instanceof AccessDenied, String(e));
    assert.match(e.message, why);
    return true;
  });
}

/** The blob with another signature than the authority's. */
function resigned(certificate: Certificate, signature: Uint8Array): Certificate {
  return parseCertificate(
    concat(certificate.signedData, new WireWriter().string(signature).bytes()),
  );
}

Deno.test("checkCertificate() takes a good user certificate and says whose cluster it is", () => {
  const certificate = userCertificate();
  assert.deepEqual(checkCertificate(certificate, wantUser), { certificate, cluster });
});

Deno.test("checkCertificate() takes a good host certificate, in whatever case the name is", () => {
  const certificate = hostCertificate({ validBefore: forever });
  for (const principal of ["node-1.main", "NODE-1.Main"]) {
    assert.equal(checkCertificate(certificate, { ...wantHost, principal }).cluster, cluster);
  }
});

for (const type of keyTypes) {
  Deno.test(`checkCertificate() takes certificates by and for every type of key: ${type}`, () => {
    const ca = testKey(type, "other");
    const key = testKey(type).publicKey;
    const trusted = [{ cluster, type: "user" as const, keys: [ca.publicKey] }];
    checkCertificate(userCertificate({ key }, ca), { ...wantUser, authorities: trusted });
  });

  Deno.test(`checkCertificate() refuses every damaged certificate: ${type}`, () => {
    const ca = testKey(type, "other");
    const certificate = userCertificate({ key: testKey(type).publicKey }, ca);
    const trusted = [{ cluster, type: "user" as const, keys: [ca.publicKey] }];
    fc.assert(
      fc.property(damaged(certificate.blob), (bad) => {
        fc.pre(toHex(bad) !== toHex(certificate.blob));
        const parsed = onlyBadParameter(() => parseCertificate(bad));
        if (parsed) refuses(parsed, { ...wantUser, authorities: trusted }, /is refused/);
      }),
      { numRuns: 200 },
    );
  });
}

Deno.test("attack 1: checkCertificate() refuses an unknown authority", () => {
  refuses(userCertificate({}, generatePrivateKey()), wantUser, /unknown authority \(SHA256:/);
  refuses(userCertificate(), { ...wantUser, authorities: [] }, /unknown authority/);
});

Deno.test("attack 1: checkCertificate() refuses the name of a known authority with another's signature", () => {
  const certificate = userCertificate();
  refuses(
    resigned(certificate, generatePrivateKey().sign(certificate.signedData)),
    wantUser,
    /signature is wrong/,
  );
});

Deno.test("attack 2: checkCertificate() refuses a certificate that its own key signed", () => {
  refuses(userCertificate({ key: userKey.publicKey }, userKey), wantUser, /unknown authority/);
  refuses(userCertificate({ key: userCa.publicKey }, userCa), wantUser, /key of an authority/);
});

Deno.test("attack 4: checkCertificate() refuses to let an authority's key log in", () => {
  for (const ca of [userCa, hostCa]) {
    refuses(userCertificate({ key: ca.publicKey }), wantUser, /certifies the key of an authority/);
  }
});

Deno.test("attack 5: checkCertificate() refuses a host certificate offered by a user", () => {
  refuses(hostCertificate({ principals: ["root"] }), wantUser, /it is a host certificate/);
  refuses(userCertificate({ type: "host" }), wantUser, /it is a host certificate/);
});

Deno.test("attack 5: checkCertificate() refuses a user certificate offered by a host", () => {
  refuses(userCertificate({ principals: ["node-1.main"] }), wantHost, /it is a user certificate/);
  refuses(hostCertificate({ type: "user" }), wantHost, /it is a user certificate/);
});

Deno.test("attack 5: checkCertificate() refuses the other authority's signature", () => {
  refuses(userCertificate({}, hostCa), wantUser, /unknown authority/);
  refuses(hostCertificate({}, userCa), wantHost, /unknown authority/);
});

Deno.test("attack 6: checkCertificate() refuses an empty list of principals, for any principal too", () => {
  const certificate = userCertificate({ principals: [] });
  refuses(certificate, wantUser, /names no principals/);
  const { principal: _, ...rest } = wantUser;
  refuses(certificate, { ...rest, anyPrincipal: true }, /names no principals/);
});

Deno.test("attack 7: checkCertificate() refuses a certificate with a malformed principal in it", () => {
  const { principal: _, ...rest } = wantUser;
  for (
    const principal of [
      "deploy,root",
      "root ",
      "ro\0ot",
      "root\n",
      "*",
      "-oProxyCommand=x",
      "rооt",
      "",
      "a".repeat(256),
    ]
  ) {
    const certificate = userCertificate({ principals: ["root", principal] });
    refuses(certificate, wantUser, /malformed/);
    refuses(certificate, { ...rest, anyPrincipal: true }, /malformed/);
  }
});

Deno.test("attack 8: checkCertificate() refuses a login that is not in the principals", () => {
  for (const principal of ["joe", "Root", "roo", "root,deploy", "", "root\0", "*"]) {
    refuses(userCertificate(), { ...wantUser, principal }, /not for the login/);
  }
});

Deno.test("attack 8: checkCertificate() fails closed when the caller forgets the principal", () => {
  const { principal: _, ...rest } = wantUser;
  assert.throws(() => checkCertificate(userCertificate(), rest), InternalError);
});

Deno.test("attack 9: checkCertificate() refuses expired certificates, from the second on", () => {
  const certificate = userCertificate({ validBefore: nowSeconds });
  refuses(certificate, wantUser, /it expired at 2025-06-01T00:00:00Z/);
  checkCertificate(certificate, { ...wantUser, nowMs: nowMs - 1 });
});

Deno.test("attack 9: checkCertificate() refuses certificates that are not valid yet", () => {
  const certificate = userCertificate({ validAfter: nowSeconds + 1n });
  refuses(certificate, wantUser, /valid from 2025-06-01T00:00:01Z on/);
  checkCertificate(certificate, { ...wantUser, nowMs: nowMs + 1000 });
});

Deno.test("attack 9: checkCertificate() refuses valid_after at or past valid_before", () => {
  for (
    const [validAfter, validBefore] of [[5n, 5n], [6n, 5n], [forever, 0n], [
      forever,
      forever,
    ]] as const
  ) {
    refuses(userCertificate({ validAfter, validBefore }), wantUser, /never valid/);
    refuses(hostCertificate({ validAfter, validBefore }), wantHost, /never valid/);
  }
});

Deno.test("attack 9: checkCertificate() refuses a user certificate without an end, not a host's", () => {
  refuses(userCertificate({ validBefore: forever }), wantUser, /never expires/);
  refuses(userCertificate({ validAfter: forever - 1n, validBefore: forever }), wantUser, /never/);
  refuses(
    hostCertificate({ validAfter: forever - 1n, validBefore: forever }),
    wantHost,
    /valid from/,
  );
  checkCertificate(hostCertificate({ validBefore: forever }), wantHost);
  checkCertificate(userCertificate({ validBefore: forever - 1n }), wantUser);
});

Deno.test("attack 9: checkCertificate() never takes a broken clock for a valid time", () => {
  for (const broken of [NaN, Infinity, -Infinity]) {
    assert.throws(() => checkCertificate(userCertificate(), { ...wantUser, nowMs: broken }));
  }
  refuses(userCertificate(), { ...wantUser, nowMs: -1 }, /valid from/);
});

Deno.test("attack 10: checkCertificate() refuses critical options that it does not know", () => {
  for (const name of ["verify-required", "no-touch-required", "unknown", "Force-Command", ""]) {
    const criticalOptions = new Map([[name, ""]]);
    refuses(userCertificate({ criticalOptions }), wantUser, /cannot be honoured here/);
  }
});

Deno.test("attack 10: checkCertificate() refuses every critical option of a host", () => {
  for (const [name, value] of [["source-address", "0.0.0.0/0"], ["force-command", "x"]] as const) {
    const want = { ...wantHost, address: "10.1.2.3", understood: { forceCommand: true } };
    const certificate = hostCertificate({ criticalOptions: new Map([[name, value]]) });
    refuses(certificate, want, /cannot be honoured here/);
  }
});

Deno.test("attack 11: checkCertificate() never sees repeated options, because they do not parse", () => {
  const { signedData } = userCertificate({
    criticalOptions: new Map([["aaaa", ""], ["bbbb", ""]]),
  });
  const text = toHex(signedData).replace(toHex(new TextEncoder().encode("bbbb")), "61".repeat(4));
  const changed = Uint8Array.from(text.match(/../g)!, (byte) => parseInt(byte, 16));
  const blob = concat(changed, new WireWriter().string(userCa.sign(changed)).bytes());
  assert.throws(() => parseCertificate(blob), /repeated or not sorted/);
});

function boundTo(ranges: string): Certificate {
  return userCertificate({ criticalOptions: new Map([["source-address", ranges]]) });
}

Deno.test("attack 12: checkCertificate() honours source-address, IPv4-mapped peers included", () => {
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"]) {
    const checked = checkCertificate(boundTo("192.0.2.1,10.0.0.0/8"), { ...wantUser, address });
    assert.deepEqual(checked.sourceAddresses, ["192.0.2.1", "10.0.0.0/8"]);
  }
  checkCertificate(boundTo("2001:db8::/32"), { ...wantUser, address: "2001:db8::7" });
});

Deno.test("attack 12: checkCertificate() refuses another source address", () => {
  for (const address of ["11.0.0.1", "::ffff:11.0.0.1", "::1", "2001:db8::1"]) {
    refuses(boundTo("10.0.0.0/8"), { ...wantUser, address }, /may not be used from/);
  }
});

Deno.test("attack 12: checkCertificate() refuses malformed and empty source addresses", () => {
  for (
    const ranges of [
      "",
      ",",
      "10.0.0.0/8,",
      "10.0.0.0/33",
      "10.1.2.3/8",
      "10.1",
      "any",
      "0x0a.1.2.3",
      "*",
    ]
  ) {
    refuses(boundTo(ranges), wantUser, /source-address is malformed/);
  }
  refuses(boundTo(Array(65).fill("10.1.2.3").join()), wantUser, /source-address is malformed/);
});

Deno.test("attack 12: checkCertificate() refuses source-address where the peer's is not known", () => {
  const { address: _, ...rest } = wantUser;
  refuses(boundTo("0.0.0.0/0"), rest, /the peer's is not known/);
  refuses(boundTo("0.0.0.0/0"), { ...wantUser, address: "somewhere" }, /malformed/);
  refuses(boundTo("0.0.0.0/0"), { ...wantUser, address: "" }, /malformed/);
});

Deno.test("attack 13: checkCertificate() hands force-command only to those who will enforce it", () => {
  const certificate = userCertificate({
    criticalOptions: new Map([["force-command", "/bin/date"]]),
  });
  const checked = checkCertificate(certificate, {
    ...wantUser,
    understood: { forceCommand: true },
  });
  assert.equal(checked.forceCommand, "/bin/date");
  for (const understood of [undefined, {}, { forceCommand: false }]) {
    const want = understood ? { ...wantUser, understood } : wantUser;
    refuses(certificate, want, /force-command cannot be honoured here/);
  }
  const empty = userCertificate({ criticalOptions: new Map([["force-command", ""]]) });
  refuses(empty, { ...wantUser, understood: { forceCommand: true } }, /force-command/);
});

Deno.test("attack 16: checkCertificate() refuses an RSA authority's SHA-1 signature", () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ca = privateKeyFromObject(privateKey);
  const trusted = [{ cluster, type: "user" as const, keys: [ca.publicKey] }];
  const want = { ...wantUser, authorities: trusted };
  const certificate = userCertificate({}, ca);
  checkCertificate(certificate, want);
  for (const name of ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"]) {
    const signature = new WireWriter().string(name)
      .string(sign("sha1", certificate.signedData, privateKey)).bytes();
    refuses(resigned(certificate, signature), want, /signature is wrong/);
  }
});

Deno.test("attack 16: checkCertificate() refuses a signature of an algorithm that is not the authority's", () => {
  const certificate = userCertificate();
  const others: PrivateKey[] = keyTypes.map((type) => testKey(type));
  for (const other of others) {
    refuses(
      resigned(certificate, other.sign(certificate.signedData)),
      wantUser,
      /signature is wrong/,
    );
  }
});

Deno.test("attack 17: checkCertificate() refuses an ECDSA authority's zero signature", () => {
  const ca = testKey("ecdsa-sha2-nistp256");
  const trusted = [{ cluster, type: "user" as const, keys: [ca.publicKey] }];
  for (const rs of [new Uint8Array(8), new WireWriter().string("").string("").bytes()]) {
    const signature = new WireWriter().string("ecdsa-sha2-nistp256").string(rs).bytes();
    const certificate = resigned(userCertificate({}, ca), signature);
    refuses(certificate, { ...wantUser, authorities: trusted }, /signature is wrong/);
  }
});

Deno.test("attack 18, 19: checkCertificate() gives the cluster of the authority, whatever is claimed", () => {
  const leafCa = generatePrivateKey();
  const trusted = [...authorities, {
    cluster: "leaf",
    type: "user" as const,
    keys: [leafCa.publicKey],
  }];
  const certificate = userCertificate({
    extensions: new Map([
      ["teleport-roles", '{"version":"v1","roles":["admin"]}'],
      ["teleport-route-to-cluster", cluster],
      ["x-teleport-authority", cluster],
    ]),
  }, leafCa);
  assert.equal(
    checkCertificate(certificate, { ...wantUser, authorities: trusted }).cluster,
    "leaf",
  );
});

Deno.test("attack 18: checkCertificate() refuses a leaf cluster's claim on the root's authority", () => {
  for (const order of [0, authorities.length]) {
    const trusted = authorities.toSpliced(order, 0, {
      cluster: "leaf",
      type: "user",
      keys: [generatePrivateKey().publicKey, userCa.publicKey],
    });
    refuses(userCertificate(), { ...wantUser, authorities: trusted }, /several clusters claim/);
  }
});

Deno.test("attack 21: checkCertificate() follows a rotation: both keys, then only the new one", () => {
  const newCa = generatePrivateKey();
  const during = [{ cluster, type: "user" as const, keys: [newCa.publicKey, userCa.publicKey] }];
  const after = [{ cluster, type: "user" as const, keys: [newCa.publicKey] }];
  for (const ca of [userCa, newCa]) {
    checkCertificate(userCertificate({}, ca), { ...wantUser, authorities: during });
  }
  checkCertificate(userCertificate({}, newCa), { ...wantUser, authorities: after });
  refuses(userCertificate(), { ...wantUser, authorities: after }, /unknown authority/);
});

Deno.test("attack 22: checkCertificate() refuses the certificate of another host, and wildcards", () => {
  for (const principal of ["node-2.main", "node-1.main.evil.com", "node-1.mai", "", "*"]) {
    refuses(hostCertificate(), { ...wantHost, principal }, /not for the host/);
  }
  for (const principals of [["*"], ["*.main"], ["node-1.main", "*"], ["node-?.main"]]) {
    refuses(hostCertificate({ principals }), wantHost, /malformed/);
  }
});

Deno.test("attack 23: checkCertificate() refuses a certificate whose key was replaced", () => {
  const certificate = userCertificate();
  const mine = generatePrivateKey().publicKey.blob.slice(-32);
  const blob = Uint8Array.from(certificate.blob);
  const hex = toHex(blob).replace(toHex(userKey.publicKey.blob.slice(-32)), toHex(mine));
  const replaced = parseCertificate(
    Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16)),
  );
  refuses(replaced, wantUser, /signature is wrong/);
});

Deno.test("attack 44: checkCertificate() shows names in its errors without their escape sequences", () => {
  const certificate = userCertificate({ keyId: "joe\x1b]0;evil\x07\n", principals: ["root"] });
  assert.throws(
    () => checkCertificate(certificate, { ...wantUser, principal: "x\x1b[2J" }),
    (e) => e instanceof AccessDenied && !["\x1b", "\x07", "\n"].some((c) => e.message.includes(c)),
  );
});

Deno.test("checkCertificate() looks at keys as bytes, not as objects", () => {
  const copy = { ...userCa.publicKey, blob: Uint8Array.from(userCa.publicKey.blob) };
  checkCertificate(userCertificate(), {
    ...wantUser,
    authorities: [{ cluster, type: "user", keys: [copy] }],
  });
});

Deno.test("checkCertificate() takes any principal where the caller decides about it", () => {
  const { principal: _, ...rest } = wantUser;
  const checked = checkCertificate(userCertificate(), { ...rest, anyPrincipal: true });
  assert.deepEqual(checked.certificate.principals, ["root", "deploy"]);
});
