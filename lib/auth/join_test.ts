import assert from "node:assert/strict";
import type { ApiParams } from "../api/contract.ts";
import type { Caller } from "../api/types.ts";
import { AccessDenied, BadParameter, LimitExceeded, NotFound } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { describeCertificate, verifyPinnedAuthority } from "../cert/x509.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import { equalKeys, generatePrivateKey, type PublicKey } from "../sshwire/keys.ts";
import {
  ADMIN,
  CLUSTER,
  NODE_ID,
  nodeCaller,
  OTHER_ID,
  REMOTE,
  type TestAuth,
  testNode,
  withAuth,
} from "./testing.ts";

configureLog({ level: "off", format: "text" });

const STATIC = "static-token-of-the-configuration";
const SETTINGS = { staticTokens: [{ value: STATIC, roles: ["Node" as const, "Proxy" as const] }] };

function withTokens(body: (auth: TestAuth) => Promise<void>): Promise<void> {
  return withAuth(body, SETTINGS);
}

function joining(remote = REMOTE) {
  const key = generatePrivateKey().publicKey;
  return { kind: "joining", key, remote } satisfies Caller;
}

function join(auth: TestAuth, caller: Caller, over: Partial<ApiParams<"join">> = {}) {
  return auth.call(caller, "join", {
    token: STATIC,
    host_id: NODE_ID,
    node_name: "db-1",
    role: "Node",
    ...over,
  });
}

async function spki(): Promise<string> {
  const { publicKey } = await crypto.subtle.generateKey(
    { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign"],
  );
  return btoa(
    String.fromCharCode(...new Uint8Array(await crypto.subtle.exportKey("spki", publicKey))),
  );
}

Deno.test("a host that joins gets a certificate for its own key, id, names and role", () =>
  withTokens(async (auth) => {
    const host = joining();
    const answer = await join(auth, host, {
      node_name: "DB-1",
      additional_principals: ["192.0.2.7", "db.example.org"],
      dns_names: ["db.example.org", "192.0.2.7"],
      tls_public_key: await spki(),
    });
    assert.equal(answer.host_id, NODE_ID);
    assert.equal(answer.cluster_name, CLUSTER);
    const certificate = parseCertificateLine(answer.certificate);
    assert.ok(equalKeys(certificate.key, host.key));
    const identity = hostIdentityOf(checkCertificate(certificate, {
      type: "host",
      authorities: auth.service.parts.authorities.trusted("host"),
      principal: `${NODE_ID}.${CLUSTER}`,
      nowMs: auth.clock.now(),
    }));
    assert.deepEqual(identity.roles, ["Node"]);
    assert.deepEqual(certificate.principals, [
      `${NODE_ID}.${CLUSTER}`,
      NODE_ID,
      `db-1.${CLUSTER}`,
      "db-1",
      "localhost",
      "127.0.0.1",
      "::1",
      "192.0.2.7",
      "db.example.org",
    ]);
    const tls = describeCertificate(answer.tls_certificate!);
    assert.ok(tls.sans.includes("db.example.org") && tls.sans.includes("192.0.2.7"));
    assert.ok(answer.authorities.every(({ spec }) => spec.signing_keys === undefined));
  }));

Deno.test("the CA pin vouches for the SSH key of the host authority", () =>
  withTokens(async ({ call, service, clock }) => {
    const { ca_pins: [pin] } = await call(ADMIN, "status", {});
    const { authorities } = await call(joining(), "authorities", {});
    const host = authorities.find(({ spec }) => spec.type === "host")!;
    const { sshCaKey } = await verifyPinnedAuthority(
      host.spec.tls_key_pairs[0]!.cert,
      pin!,
      clock.now(),
    );
    assert.ok(equalKeys(sshCaKey, service.parts.authorities.host.sshKey.publicKey));
  }));

Deno.test("a wrong, expired or deleted token does not join, with the words of the reference (attack 52)", () =>
  withTokens(async (auth) => {
    const { token } = await auth.call(ADMIN, "tokens.create", { roles: ["node"], ttl_ms: 60_000 });
    const invalid = (e: Error) => {
      assert.ok(e instanceof AccessDenied);
      assert.equal(
        e.message,
        `"db-1" [${NODE_ID}] can not join the cluster with role Node, the token is not valid`,
      );
      return true;
    };
    await assert.rejects(join(auth, joining(), { token: "guess" }), invalid);
    await join(auth, joining(), { token });
    auth.clock.advance(60_000);
    await assert.rejects(join(auth, joining(), { token }), invalid);

    const { token: second } = await auth.call(ADMIN, "tokens.create", { roles: ["node"] });
    await auth.call(ADMIN, "tokens.delete", { token: second });
    await assert.rejects(join(auth, joining(), { token: second }), invalid);
  }));

Deno.test("a token gives only the roles that it names (attack 52)", () =>
  withTokens(async (auth) => {
    const { token } = await auth.call(ADMIN, "tokens.create", { roles: ["node"] });
    await assert.rejects(join(auth, joining(), { token, role: "Proxy" }), (e: Error) => {
      assert.ok(e instanceof AccessDenied);
      assert.match(e.message, /the token does not allow "Proxy" role$/);
      return true;
    });
    for (const role of ["Auth", "Admin", "node"]) {
      await assert.rejects(join(auth, joining(), { token, role: role as "Node" }));
    }
  }));

Deno.test("a token serves any number of hosts until it expires", () =>
  withTokens(async (auth) => {
    const { token } = await auth.call(ADMIN, "tokens.create", { roles: ["node", "proxy"] });
    await join(auth, joining(), { token });
    await join(auth, joining(), { token, host_id: OTHER_ID });
  }));

Deno.test("a node cannot take the id of another one (attack 52)", () =>
  withTokens(async (auth) => {
    const first = joining();
    await join(auth, first);
    await auth.call({ ...nodeCaller(), key: first.key } as Caller, "nodes.heartbeat", {
      node: testNode(NODE_ID),
    });
    await assert.rejects(join(auth, joining()), /belongs to another host/);
    await assert.rejects(
      join(auth, joining({ host: "203.0.113.9", port: 1 })),
      /belongs to another host/,
    );
    await assert.rejects(
      join(auth, joining({ host: "203.0.113.9", port: 1 }), { role: "Proxy" }),
      /belongs to another host/,
      "nor by another role from elsewhere",
    );
    await join(auth, first);
    await join(auth, joining(), { role: "Proxy" });
    await auth.call(ADMIN, "resources.delete", { kind: "node", name: NODE_ID });
    await join(auth, joining());
  }));

Deno.test("a join that broke off may be repeated with a new key from the same address only", () =>
  withTokens(async (auth) => {
    await join(auth, joining());
    await join(auth, joining());
    await assert.rejects(join(auth, joining({ host: "203.0.113.9", port: 1 })), AccessDenied);
  }));

Deno.test("of two hosts that claim one id at the same moment one gets it", () =>
  withTokens(async (auth) => {
    const hosts = [joining(), joining({ host: "203.0.113.9", port: 1 })];
    const results = await Promise.allSettled(hosts.map((host) => join(auth, host)));
    assert.equal(results.filter((r) => r.status === "fulfilled").length, 1);
  }));

Deno.test("the id of the auth server's own machine cannot be taken with a token (attack 52)", () =>
  withTokens(async (auth) => {
    await auth.service.parts.joins.issue({
      hostId: NODE_ID,
      nodeName: "auth",
      role: "Admin",
      key: generatePrivateKey().publicKey,
      additionalPrincipals: [],
      dnsNames: [],
    });
    await assert.rejects(join(auth, joining()), /belongs to another host/);
  }));

Deno.test("a host cannot be called by another host's id, a wildcard or what is no name (attack 22)", () =>
  withTokens(async (auth) => {
    const bad = [
      OTHER_ID,
      `${OTHER_ID}.${CLUSTER}`,
      "*",
      "*.example.com",
      "a b",
      "a,b",
      "-x",
      "a/b",
    ];
    for (const name of bad) {
      await assert.rejects(
        join(auth, joining(), { additional_principals: [name] }),
        BadParameter,
        name,
      );
      await assert.rejects(join(auth, joining(), { node_name: name }), BadParameter, name);
      await assert.rejects(join(auth, joining(), { dns_names: [name] }), BadParameter, name);
    }
    assert.deepEqual(await auth.backend.range("/hosts/"), [], "and leaves no claim behind");
  }));

Deno.test("host.renew keeps key, id and role and takes new names", () =>
  withTokens(async (auth) => {
    const answer = await auth.call(nodeCaller(), "host.renew", {
      node_name: "db-2",
      additional_principals: ["db.example.net"],
    });
    const certificate = parseCertificateLine(answer.certificate);
    assert.ok(equalKeys(certificate.key, (nodeCaller() as { key: PublicKey }).key));
    assert.ok(certificate.principals.includes("db-2"));
    assert.ok(certificate.principals.includes(`${NODE_ID}.${CLUSTER}`));
    assert.equal(certificate.extensions.get("x-teleport-role"), "Node");
    await assert.rejects(
      auth.call(nodeCaller(), "host.renew", { additional_principals: [OTHER_ID] }),
      BadParameter,
    );
  }));

Deno.test("after ten wrong tokens an address has to wait, others do not (attack 52)", () =>
  withTokens(async (auth) => {
    for (let i = 0; i < 10; i++) {
      await assert.rejects(join(auth, joining(), { token: `guess${i}` }), AccessDenied);
    }
    await assert.rejects(join(auth, joining(), { token: STATIC }), LimitExceeded);
    await join(auth, joining({ host: "203.0.113.9", port: 1 }));
    auth.clock.advance(60_000);
    await join(auth, joining(), { host_id: OTHER_ID });
  }));

Deno.test("tokens.list and resources.list show ids, not tokens; both delete", () =>
  withTokens(async (auth) => {
    const { call, backend } = auth;
    const { token, expires } = await call(ADMIN, "tokens.create", { roles: ["Proxy", "node"] });
    assert.match(token, /^[0-9a-f]{32}$/);
    const { tokens } = await call(ADMIN, "tokens.list", {});
    assert.deepEqual(tokens.map((t) => [t.roles, t.static, t.expires]), [
      [["Node", "Proxy"], true, undefined],
      [["Proxy", "Node"], false, expires],
    ]);
    const shown = JSON.stringify([tokens, await call(ADMIN, "resources.list", { kind: "token" })]);
    assert.ok(!shown.includes(token) && !shown.includes(STATIC));
    assert.ok(!JSON.stringify(await backend.range("/")).includes(token), "hashed at rest");

    await call(ADMIN, "resources.delete", { kind: "token", name: tokens[1]!.id });
    await assert.rejects(call(ADMIN, "tokens.delete", { token }), NotFound);
    await assert.rejects(call(ADMIN, "tokens.delete", { token: STATIC }), /static/);
    await assert.rejects(call(ADMIN, "tokens.create", { roles: ["auth"] }), BadParameter);
    await assert.rejects(
      call(ADMIN, "tokens.create", { roles: ["node"], ttl_ms: 49 * 3600_000 }),
      BadParameter,
    );
    await assert.rejects(
      call(ADMIN, "tokens.create", { roles: ["node"], value: STATIC }),
      BadParameter,
    );
  }));

Deno.test("tctl create makes a token of a resource, with its own value and end", () =>
  withTokens(async (auth) => {
    const resource = {
      kind: "token",
      version: "v2",
      metadata: {
        name: "my-own-token",
        expires: new Date(auth.clock.now() + 60_000).toISOString(),
      },
      spec: { roles: ["Node"] },
    };
    await auth.call(ADMIN, "resources.create", { resource });
    await join(auth, joining(), { token: "my-own-token" });
    auth.clock.advance(60_000);
    await assert.rejects(join(auth, joining(), { token: "my-own-token" }), AccessDenied);
    await assert.rejects(auth.call(ADMIN, "resources.create", { resource }), /expired already/);
  }));
