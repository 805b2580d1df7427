import assert from "node:assert/strict";
import fc from "fast-check";
import { AccessDenied } from "../base/errors.ts";
import { onlyBadParameter } from "../sshwire/test_openssh.ts";
import { checkCertificate } from "./check.ts";
import { hostIdentityOf, hostPrincipal, userIdentityOf } from "./identity.ts";
import { formatRoles, formatTraits, parseHostRoles, parseRoles, parseTraits } from "./options.ts";
import {
  cluster,
  hostCertificate,
  nowSeconds,
  userCertificate,
  wantHost,
  wantUser,
} from "./test_certificates.ts";

const hostId = "0d6f3b5e-1f5c-4f6a-9b59-2d4b7c1f8a10";
const otherId = "7a1de7a4-27d6-4be1-8b0d-0d4d0f1f9c55";

function userWith(extensions: Record<string, string>, keyId = "joe") {
  const certificate = userCertificate({ keyId, extensions: new Map(Object.entries(extensions)) });
  return checkCertificate(certificate, wantUser);
}

function hostWith(
  extensions: Record<string, string>,
  principals = [hostPrincipal(hostId, cluster)],
) {
  const certificate = hostCertificate({
    principals,
    extensions: new Map(Object.entries(extensions)),
  });
  return checkCertificate(certificate, { ...wantHost, principal: principals[0]! });
}

Deno.test("userIdentityOf() reads all that the certificate says about a user", () => {
  const checked = userWith({
    "permit-pty": "",
    "permit-port-forwarding": "",
    "permit-agent-forwarding": "",
    "permit-X11-forwarding": "",
    "teleport-roles": formatRoles(["admin", "dev"]),
    "teleport-traits": formatTraits({ logins: ["root"], groups: [] }),
    "teleport-route-to-cluster": "leaf",
  });
  assert.deepEqual(userIdentityOf(checked), {
    user: "joe",
    cluster,
    principals: ["root", "deploy"],
    roles: ["admin", "dev"],
    traits: { logins: ["root"], groups: [] },
    routeToCluster: "leaf",
    permitPty: true,
    permitPortForwarding: true,
    permitAgentForwarding: true,
    permitX11Forwarding: true,
    validBeforeMs: Number(nowSeconds + 3600n) * 1000,
    certificate: checked.certificate,
  });
});

Deno.test("attack 14: userIdentityOf() permits nothing that the certificate does not say", () => {
  const identity = userIdentityOf(userWith({ "Permit-pty": "", "permit-x11-forwarding": "" }));
  assert.deepEqual([
    identity.permitPty,
    identity.permitPortForwarding,
    identity.permitAgentForwarding,
    identity.permitX11Forwarding,
  ], [false, false, false, false]);
  assert.deepEqual([identity.roles, identity.traits], [[], {}]);
});

Deno.test("attack 13: userIdentityOf() carries the forced command", () => {
  const criticalOptions = new Map([["force-command", "/bin/date"]]);
  const checked = checkCertificate(userCertificate({ criticalOptions }), {
    ...wantUser,
    understood: { forceCommand: true },
  });
  assert.equal(userIdentityOf(checked).forceCommand, "/bin/date");
});

Deno.test("userIdentityOf() refuses malformed roles and traits instead of reading over them", () => {
  for (
    const extensions of [
      { "teleport-roles": "admin" },
      { "teleport-roles": "" },
      { "teleport-roles": '{"version":"v9","roles":["admin"]}' },
      { "teleport-roles": '{"version":"v1","roles":"admin"}' },
      { "teleport-roles": '{"version":"v1"}' },
      { "teleport-traits": "null" },
      { "teleport-traits": '{"logins":[1]}' },
    ] as Record<string, string>[]
  ) {
    assert.throws(
      () => userIdentityOf(userWith(extensions)),
      AccessDenied,
      JSON.stringify(extensions),
    );
  }
});

Deno.test("userIdentityOf() refuses names that no user can have", () => {
  for (const keyId of ["", "a b", "a/b", "-x", "joe\n"]) {
    assert.throws(() => userIdentityOf(userWith({}, keyId)), AccessDenied);
  }
});

Deno.test("userIdentityOf() reads traits that are null, and is not fooled by __proto__", () => {
  const text = '{"logins":null,"__proto__":["evil"],"constructor":["x"]}';
  const { traits } = userIdentityOf(userWith({ "teleport-traits": text }));
  assert.deepEqual(Object.keys(traits), ["logins", "__proto__", "constructor"]);
  assert.equal(Object.getPrototypeOf(traits), Object.prototype);
  assert.deepEqual(traits["logins"], []);
});

Deno.test("hostIdentityOf() reads the host's id and roles", () => {
  const checked = hostWith({ "x-teleport-role": "Proxy,Node", "x-teleport-authority": cluster }, [
    hostPrincipal(hostId, cluster),
    hostId,
    "node-1.main",
    "127.0.0.1",
  ]);
  assert.deepEqual(hostIdentityOf(checked), {
    hostId,
    cluster,
    roles: ["Proxy", "Node"],
    certificate: checked.certificate,
  });
});

Deno.test("attack 19: hostIdentityOf() refuses the claim of another cluster", () => {
  assert.throws(
    () => hostIdentityOf(hostWith({ "x-teleport-role": "Node", "x-teleport-authority": "root" })),
    AccessDenied,
  );
  const foreign = hostWith({ "x-teleport-role": "Auth" }, [hostPrincipal(hostId, "other")]);
  assert.throws(() => hostIdentityOf(foreign), AccessDenied);
});

Deno.test("attack 22, 52: hostIdentityOf() refuses a certificate with two hosts or none", () => {
  const role = { "x-teleport-role": "Node" };
  const two = [hostPrincipal(hostId, cluster), hostPrincipal(otherId, cluster)];
  assert.throws(() => hostIdentityOf(hostWith(role, two)), AccessDenied);
  for (const none of ["node-1.main", hostId, `x${hostId}.main`, `${hostId}.main.evil`]) {
    assert.throws(() => hostIdentityOf(hostWith(role, [none])), AccessDenied);
  }
});

Deno.test("attack 52: hostIdentityOf() refuses a certificate without a role, or with one unknown", () => {
  assert.throws(() => hostIdentityOf(hostWith({})), AccessDenied);
  for (const role of ["", "node", "Node,", "Node,Root", "Node, Proxy", "toString"]) {
    assert.throws(() => hostIdentityOf(hostWith({ "x-teleport-role": role })), AccessDenied);
  }
});

Deno.test("attack 5: a user is no host and a host is no user, also after the check", () => {
  assert.throws(() => hostIdentityOf(userWith({ "x-teleport-role": "Admin" })), AccessDenied);
  assert.throws(() => userIdentityOf(hostWith({ "x-teleport-role": "Node" })), AccessDenied);
});

Deno.test("the parsers of extensions throw nothing but BadParameter", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    for (const parse of [parseRoles, parseTraits, parseHostRoles]) {
      onlyBadParameter(() => parse(text));
    }
  }));
});

Deno.test("parseRoles() and parseTraits() give back what was formatted", () => {
  const texts = fc.array(fc.string({ unit: "grapheme" }));
  fc.assert(fc.property(texts, fc.dictionary(fc.string(), texts), (roles, traits) => {
    assert.deepEqual(parseRoles(formatRoles(roles)), roles);
    assert.deepEqual(Object.entries(parseTraits(formatTraits(traits))), Object.entries(traits));
  }));
});
