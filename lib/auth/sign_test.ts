import assert from "node:assert/strict";
import { AccessDenied, BadParameter, NotFound } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { describeCertificate } from "../cert/x509.ts";
import type { Role } from "../resources/types.ts";
import { forever, parseCertificateLine } from "../sshwire/certificate.ts";
import { formatAuthorizedKey, generatePrivateKey } from "../sshwire/keys.ts";
import { ADMIN, CLUSTER, type TestAuth, testRole, userKeyLine, withAuth } from "./testing.ts";

configureLog({ level: "off", format: "text" });

const HOUR = 3600_000;

async function loggedIn(
  auth: TestAuth,
  change: (role: Role) => void,
  ttl_ms?: number,
  name = "joe",
) {
  await auth.call(ADMIN, "resources.create", { resource: testRole("dev", change), force: true });
  const joe = await auth.enrol(name, ["dev"]);
  const { cert } = await joe.login(ttl_ms === undefined ? {} : { ttl_ms });
  const certificate = parseCertificateLine(cert);
  return {
    certificate,
    ttlMs: Number(certificate.validBefore) * 1000 - auth.clock.now(),
    fromMs: Number(certificate.validAfter) * 1000 - auth.clock.now(),
    extensions: Object.fromEntries(certificate.extensions),
  };
}

const anything = () => {};

Deno.test("a user certificate lives 12 hours by default, from one minute ago", () =>
  withAuth(async (auth) => {
    const { ttlMs, fromMs } = await loggedIn(auth, anything);
    assert.equal(ttlMs, 12 * HOUR);
    assert.equal(fromMs, -60_000);
  }));

Deno.test("its life is capped by the roles, and at 30 hours (attack 24)", async () => {
  for (
    const [max, asked, given] of [
      ["2h0m0s", undefined, 2 * HOUR],
      ["2h0m0s", 5 * HOUR, 2 * HOUR],
      ["2h0m0s", HOUR, HOUR],
      ["30h0m0s", 20 * HOUR, 20 * HOUR],
      ["100h0m0s", 100 * HOUR, 30 * HOUR],
    ] as const
  ) {
    await withAuth(async (auth) => {
      const change = (role: Role) => role.spec.options.max_session_ttl = max;
      assert.equal((await loggedIn(auth, change, asked)).ttlMs, given);
    }, { secondFactor: "off" });
  }
});

Deno.test("principals are what the roles allow and do not deny (attack 8)", () =>
  withAuth(async (auth) => {
    const { certificate } = await loggedIn(auth, (role) => {
      role.spec.allow.logins = ["{{internal.logins}}", "deploy", "root"];
      role.spec.deny.logins = ["root"];
    });
    assert.deepEqual([...certificate.principals].sort(), ["deploy", "joe"]);
  }));

Deno.test("a user with no login gets a principal that no account can have (attack 6)", () =>
  withAuth(async (auth) => {
    const { certificate } = await loggedIn(auth, (role) => role.spec.allow.logins = []);
    assert.equal(certificate.principals.length, 1);
    assert.match(certificate.principals[0]!, /^-teleport-nologin-[0-9a-f-]{36}$/);
  }));

Deno.test("extensions are what the roles' options give (attack 14)", () =>
  withAuth(async (auth) => {
    const all = await loggedIn(auth, anything);
    assert.deepEqual(all.extensions, {
      "permit-X11-forwarding": "",
      "permit-agent-forwarding": "",
      "permit-port-forwarding": "",
      "permit-pty": "",
      "teleport-roles": '{"version":"v1","roles":["dev"]}',
      "teleport-traits": '{"logins":["joe"]}',
    });
    const few = await loggedIn(
      auth,
      ({ spec: { options } }) => {
        options.forward_agent = options.port_forwarding = options.permit_x11_forwarding = false;
      },
      undefined,
      "ann",
    );
    assert.deepEqual(Object.keys(few.extensions), [
      "permit-pty",
      "teleport-roles",
      "teleport-traits",
    ]);
    const old = await loggedIn(
      auth,
      ({ spec: { options } }) => options.cert_format = "oldssh",
      undefined,
      "bob",
    );
    assert.ok(!Object.keys(old.extensions).some((name) => name.startsWith("teleport-")));
    assert.equal(all.certificate.criticalOptions.size, 0);
  }));

Deno.test("sign.user is for administrators, and not capped by the roles", () =>
  withAuth(async (auth) => {
    await auth.call(ADMIN, "users.create", { name: "ci", logins: ["deploy"] });
    const { cert } = await auth.call(ADMIN, "sign.user", {
      user: "ci",
      ttl_ms: 1000 * HOUR,
      public_key: userKeyLine,
    });
    const certificate = parseCertificateLine(cert);
    assert.deepEqual(certificate.principals, ["deploy"]);
    assert.equal(Number(certificate.validBefore) * 1000, auth.clock.now() + 1000 * HOUR);
    await assert.rejects(
      auth.call(ADMIN, "sign.user", { user: "nobody", public_key: userKeyLine }),
      NotFound,
    );
  }));

Deno.test("the key of an authority and what is no key are not certified (attack 4, 23)", () =>
  withAuth(async (auth) => {
    await auth.call(ADMIN, "users.create", { name: "ci" });
    const { user, host } = auth.service.parts.authorities;
    const { cert } = await auth.call(ADMIN, "sign.user", { user: "ci", public_key: userKeyLine });
    for (
      const public_key of [
        formatAuthorizedKey(user.sshKey.publicKey),
        formatAuthorizedKey(host.sshKey.publicKey),
        cert,
        "",
        "ssh-dss AAAA",
        `command="x" ${userKeyLine}`,
      ]
    ) {
      await assert.rejects(auth.call(ADMIN, "sign.user", { user: "ci", public_key }));
      await assert.rejects(auth.call(ADMIN, "sign.host", { principals: ["a"], public_key }));
    }
  }));

Deno.test("an X.509 certificate comes with the SSH one when a TLS key is given", () =>
  withAuth(async (auth) => {
    await auth.call(ADMIN, "users.create", { name: "ci" });
    const { publicKey } = await crypto.subtle.generateKey(
      { name: "ECDSA", namedCurve: "P-256" },
      true,
      ["sign"],
    );
    const spki = btoa(
      String.fromCharCode(...new Uint8Array(await crypto.subtle.exportKey("spki", publicKey))),
    );
    const { tls_cert } = await auth.call(ADMIN, "sign.user", {
      user: "ci",
      public_key: userKeyLine,
      tls_public_key: spki,
    });
    const { subject, notAfter } = describeCertificate(tls_cert!);
    assert.match(subject, /CN=ci/);
    assert.match(subject, /O=admin/);
    assert.equal(notAfter.getTime(), auth.clock.now() + 12 * HOUR);
    await assert.rejects(
      auth.call(ADMIN, "sign.user", {
        user: "ci",
        public_key: userKeyLine,
        tls_public_key: btoa("nonsense"),
      }),
      BadParameter,
    );
  }));

Deno.test("sign.host certifies exactly the names, without a role in the cluster", () =>
  withAuth(async (auth) => {
    const public_key = formatAuthorizedKey(generatePrivateKey("ecdsa-sha2-nistp256").publicKey);
    const { cert } = await auth.call(ADMIN, "sign.host", {
      principals: ["api.example.com", "10.0.0.1"],
      public_key,
    });
    const certificate = parseCertificateLine(cert);
    assert.deepEqual(certificate.principals, ["api.example.com", "10.0.0.1"]);
    assert.equal(certificate.validBefore, forever);
    const checked = checkCertificate(certificate, {
      type: "host",
      authorities: auth.service.parts.authorities.trusted("host"),
      principal: "api.example.com",
      nowMs: auth.clock.now(),
    });
    assert.throws(() => hostIdentityOf(checked), AccessDenied, "it cannot call the auth API");
    for (const principals of [["a,b"], ["a b"], ["*"], ["-x"]]) {
      await assert.rejects(auth.call(ADMIN, "sign.host", { principals, public_key }), BadParameter);
    }
    // Nobody's identity in the cluster: names of that form are for those who joined.
    assert.equal(certificate.extensions.get("x-teleport-authority"), CLUSTER);
  }));
