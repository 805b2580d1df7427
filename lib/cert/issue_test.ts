import assert from "node:assert/strict";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { forever, formatCertificateLine, parseCertificateLine } from "../sshwire/certificate.ts";
import { formatAuthorizedKey } from "../sshwire/keys.ts";
import { encodePrivateKey } from "../sshwire/private_key.ts";
import { inTempDir, keyTypes, sshKeygen, testKey } from "../sshwire/test_openssh.ts";
import { checkCertificate } from "./check.ts";
import { userIdentityOf } from "./identity.ts";
import {
  type HostIssueOptions,
  issueHostCertificate,
  issueUserCertificate,
  type UserIssueOptions,
} from "./issue.ts";
import { nologinPrincipal } from "./names.ts";
import { formatRoles, formatTraits } from "./options.ts";
import {
  authorities,
  cluster,
  hostCa,
  hostKey,
  nowMs,
  nowSeconds,
  userCa,
  userKey,
  wantHost,
  wantUser,
} from "./test_certificates.ts";

const extensions = {
  "permit-pty": "",
  "permit-port-forwarding": "",
  "teleport-roles": formatRoles(["admin"]),
  "teleport-traits": formatTraits({ logins: ["root"] }),
  "teleport-route-to-cluster": cluster,
};

const user: UserIssueOptions = {
  ca: userCa,
  key: userKey.publicKey,
  keyId: "joe",
  principals: ["root", "deploy"],
  validAfterMs: nowMs - 60_000,
  validBeforeMs: nowMs + 3_600_000,
  extensions,
};

const host: HostIssueOptions = {
  ca: hostCa,
  key: hostKey.publicKey,
  keyId: "node-1",
  principals: ["node-1.main", "127.0.0.1", "::1"],
  validAfterMs: nowMs,
  extensions: { "x-teleport-role": "Proxy,Node", "x-teleport-authority": cluster },
};

Deno.test("issueUserCertificate() makes what checkCertificate() takes", () => {
  const certificate = issueUserCertificate(user);
  assert.equal(certificate.type, "user");
  assert.equal(certificate.validAfter, nowSeconds - 60n);
  assert.equal(certificate.validBefore, nowSeconds + 3600n);
  const identity = userIdentityOf(checkCertificate(certificate, wantUser));
  assert.deepEqual(
    [
      identity.user,
      identity.roles,
      identity.traits,
      identity.permitPty,
      identity.permitX11Forwarding,
    ],
    ["joe", ["admin"], { logins: ["root"] }, true, false],
  );
});

Deno.test("issueHostCertificate() makes what checkCertificate() takes, for ever unless told", () => {
  const certificate = issueHostCertificate({ ...host, principals: ["Node-1.Main"] });
  assert.deepEqual(certificate.principals, ["node-1.main"]);
  assert.equal(certificate.validBefore, forever);
  assert.equal(checkCertificate(certificate, wantHost).cluster, cluster);
  const short = issueHostCertificate({ ...host, validBeforeMs: nowMs + 1000 });
  assert.equal(short.validBefore, nowSeconds + 1n);
});

Deno.test("issueUserCertificate() takes one principal once and gives every certificate a serial", () => {
  const certificate = issueUserCertificate({ ...user, principals: ["root", "root"] });
  assert.deepEqual(certificate.principals, ["root"]);
  assert.notEqual(certificate.serial, issueUserCertificate(user).serial);
  assert.equal(issueUserCertificate({ ...user, serial: 7n }).serial, 7n);
});

Deno.test("issueUserCertificate() takes the principal that means no login", () => {
  const principal = nologinPrincipal(crypto.randomUUID());
  assert.deepEqual(issueUserCertificate({ ...user, principals: [principal] }).principals, [
    principal,
  ]);
});

function refused(change: Partial<UserIssueOptions>): void {
  assert.throws(() => issueUserCertificate({ ...user, ...change }), BadParameter);
}

function refusedHost(change: Partial<HostIssueOptions>): void {
  assert.throws(() => issueHostCertificate({ ...host, ...change }), BadParameter);
}

Deno.test("attack 2: issuing refuses to certify the authority's own key", () => {
  refused({ key: userCa.publicKey });
  refusedHost({ key: hostCa.publicKey });
});

Deno.test("attack 6: issuing refuses an empty list of principals", () => {
  refused({ principals: [] });
  refusedHost({ principals: [] });
});

Deno.test("attack 7: issuing refuses malformed principals", () => {
  for (
    const principal of [
      "",
      "deploy,root",
      "a b",
      "a\0",
      "a\n",
      "é",
      "-oProxyCommand=x",
      "*",
      "a".repeat(256),
    ]
  ) {
    refused({ principals: ["root", principal] });
    refusedHost({ principals: [principal] });
  }
  refused({ keyId: "" });
  refused({ keyId: "joe\nroot" });
  refused({ keyId: "a/b" });
});

Deno.test("attack 9: issuing refuses times that make no sense", () => {
  refused({ validBeforeMs: user.validAfterMs });
  refused({ validBeforeMs: user.validAfterMs - 1 });
  refused({ validBeforeMs: Infinity });
  refused({ validBeforeMs: NaN });
  refused({ validAfterMs: -1 });
  refused({ validBeforeMs: Number(forever) * 1000 });
  refusedHost({ validBeforeMs: host.validAfterMs });
});

Deno.test("attack 24: issueUserCertificate() refuses to live longer than the roles allow", () => {
  const latestEndMs = nowMs + 3_600_000;
  issueUserCertificate({ ...user, limits: { latestEndMs } });
  refused({ validBeforeMs: latestEndMs + 1000, limits: { latestEndMs } });
});

Deno.test("attack 24: issueUserCertificate() refuses logins that the roles do not allow", () => {
  issueUserCertificate({ ...user, limits: { principals: ["root", "deploy", "www"] } });
  refused({ limits: { principals: ["deploy"] } });
  refused({ limits: { principals: [] } });
});

Deno.test("attack 24: issuing refuses extensions and options that were smuggled in", () => {
  for (
    const smuggled of [
      { "permit-user-rc": "" },
      { "no-touch-required": "" },
      { "x-teleport-role": "Admin" },
      { "x-teleport-authority": cluster },
      { "teleport-active-requests": "{}" },
      { "": "" },
      { "permit-pty": "value" },
      { "teleport-roles": "admin" },
      { "teleport-roles": '{"version":"v2","roles":[]}' },
      { "teleport-roles": '{"version":"v1","roles":[1]}' },
      { "teleport-traits": "[]" },
      { "teleport-traits": '{"logins":"root"}' },
      { "teleport-route-to-cluster": "a b" },
      JSON.parse('{"__proto__":""}'),
    ]
  ) {
    refused({ extensions: smuggled });
  }
  for (
    const criticalOptions of [
      { "verify-required": "" },
      { "force-command": "" },
      { "source-address": "" },
      { "source-address": "10.0.0.1/8" },
    ]
  ) {
    refused({ criticalOptions });
  }
  for (
    const smuggled of [
      { "permit-pty": "" },
      { "teleport-roles": formatRoles(["admin"]) },
      { "x-teleport-role": "Node,Root" },
      { "x-teleport-role": "" },
      { "x-teleport-role": "admin" },
      { "x-teleport-authority": "" },
    ] as Record<string, string>[]
  ) {
    refusedHost({ extensions: smuggled });
  }
});

Deno.test("attack 12, 13: issueUserCertificate() writes restrictions that checkCertificate() honours", () => {
  const certificate = issueUserCertificate({
    ...user,
    criticalOptions: { "force-command": "/bin/date", "source-address": "10.0.0.0/8" },
  });
  const checked = checkCertificate(certificate, {
    ...wantUser,
    understood: { forceCommand: true },
  });
  assert.equal(checked.forceCommand, "/bin/date");
  assert.throws(
    () => checkCertificate(certificate, { ...wantUser, address: "11.0.0.1" }),
    AccessDenied,
  );
});

for (const type of keyTypes) {
  Deno.test(`ssh-keygen reads what an authority of every type issued, and agrees: ${type}`, () =>
    inTempDir(async (dir) => {
      const ca = testKey(type);
      const certificate = issueUserCertificate({ ...user, ca });
      await Deno.writeTextFile(`${dir}/cert.pub`, `${formatCertificateLine(certificate)}\n`);
      const shown = await sshKeygen(["-Lf", `${dir}/cert.pub`]);
      for (const part of ["user certificate", '"joe"', "root", "deploy", "permit-pty"]) {
        assert(shown.includes(part), shown);
      }
      assert(!shown.includes("permit-X11-forwarding"));
    }));

  Deno.test(`checkCertificate() takes what ssh-keygen signs for a cluster's user: ${type}`, () =>
    inTempDir(async (dir) => {
      const ca = testKey(type);
      await Deno.writeTextFile(`${dir}/ca`, encodePrivateKey(ca), { mode: 0o600 });
      await Deno.writeTextFile(`${dir}/user.pub`, formatAuthorizedKey(userKey.publicKey));
      await sshKeygen([
        ...["-q", "-s", `${dir}/ca`, "-I", "joe", "-n", "root"],
        ...["-V", "20250101:20260101", `${dir}/user.pub`],
      ]);

      const certificate = parseCertificateLine(await Deno.readTextFile(`${dir}/user-cert.pub`));
      const trusted = [...authorities, { cluster, type: "user" as const, keys: [ca.publicKey] }];
      const identity = userIdentityOf(
        checkCertificate(certificate, { ...wantUser, authorities: trusted }),
      );
      assert.deepEqual([identity.user, identity.roles, identity.permitPty], ["joe", [], true]);
    }));
}
