import assert from "node:assert/strict";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { equalKeys, formatAuthorizedKey, generatePrivateKey } from "../sshwire/keys.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import {
  CLUSTER,
  NODE_ID,
  nodeCaller,
  OTHER_ID,
  PROXY,
  PROXY_ID,
  type TestAuth,
  testNode,
  withAuth,
} from "./testing.ts";

configureLog({ level: "off", format: "text" });

const AUTH_ID = "55555555-5555-4555-8555-555555555555";
const key = generatePrivateKey().publicKey;

function recording(
  body: (auth: TestAuth) => Promise<void>,
  mode: "node" | "proxy" | "proxy-sync" | "off" = "proxy",
): Promise<void> {
  return withAuth(body, {
    clusterConfig: { session_recording: mode },
    ownNames: [AUTH_ID, "auth-1", "auth.example.com", "192.0.2.1", "127.0.0.1"],
  });
}

async function sign(auth: TestAuth, host: string) {
  const public_key = formatAuthorizedKey(key);
  const { cert } = await auth.call(PROXY, "sign.proxied_host", { host, public_key });
  return parseCertificateLine(cert);
}

/** Announced, and known to all who ask. */
async function announced(auth: TestAuth): Promise<void> {
  const proxy = (id: string, hostname: string, addr: string) =>
    auth.call({ ...PROXY, hostId: id } as typeof PROXY, "proxies.heartbeat", {
      proxy: {
        ...testNode(id, { hostname, addr, public_addr: `${hostname}.example.com:3080` }),
        kind: "proxy",
      },
    });
  await proxy(PROXY_ID, "proxy-1", "192.0.2.20:3023");
  await proxy(OTHER_ID, "proxy-2", "192.0.2.21:3023");
  await auth.call(nodeCaller(), "nodes.heartbeat", {
    node: testNode(NODE_ID, { hostname: "node-1", addr: "192.0.2.30:3022" }),
  });
  const { hub } = auth.service.parts;
  await until(() => hub.nodes().length === 1 && hub.list("proxy").length === 2);
}

/** The hub hears of changes a little later. */
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 1000, "the hub has not heard of it");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test("a proxied host's certificate is for its name, for a day, and has no role", () =>
  recording(async (auth) => {
    const certificate = await sign(auth, "Web-1.Example.COM");
    assert.deepEqual(certificate.principals, ["web-1.example.com"]);
    assert.ok(equalKeys(certificate.key, key));
    const lifeMs = Number(certificate.validBefore) * 1000 - auth.clock.now();
    assert.ok(lifeMs > 0 && lifeMs <= 24 * 3_600_000, `${lifeMs}`);
    const hostCa = auth.service.parts.authorities.host.sshKey.publicKey;
    const checked = checkCertificate(certificate, {
      type: "host",
      authorities: [{ cluster: CLUSTER, type: "host", keys: [hostCa] }],
      principal: "web-1.example.com",
      nowMs: auth.clock.now(),
    });
    // Whoever looks for a service of the cluster looks for its role.
    assert.throws(() => hostIdentityOf(checked), AccessDenied);
  }));

Deno.test("while the cluster does not record at the proxy, no proxy gets one", async () => {
  for (const mode of ["node", "off"] as const) {
    await recording(async (auth) => {
      await assert.rejects(sign(auth, "web-1"), (e: Error) => {
        assert.ok(e instanceof AccessDenied);
        assert.match(e.message, new RegExp(`session_recording is "${mode}"`));
        return true;
      });
    }, mode);
  }
  await withAuth((auth) => assert.rejects(sign(auth, "web-1"), /session_recording is "node"/));
  await recording(async (auth) => void await sign(auth, "web-1"), "proxy-sync");
});

Deno.test("nodes by id, name and address, loopback, the proxy's own and foreign names are given", () =>
  recording(async (auth) => {
    await announced(auth);
    for (
      const host of [
        ...[NODE_ID, `${NODE_ID}.${CLUSTER}`, "node-1", `NODE-1.${CLUSTER}`, "192.0.2.30"],
        ...["localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "proxy-1", "192.0.2.20"],
        ...["web-1", "web.example.com", "192.0.2.99", "2001:db8::1"],
      ]
    ) {
      const { principals } = await sign(auth, host);
      assert.ok(principals.includes(host.toLowerCase().replace("::ffff:", "")), host);
    }
  }));

Deno.test("a node's certificate has all its names, whichever is asked for; twins' only the one", () =>
  recording(async (auth) => {
    await announced(auth);
    const all = [NODE_ID, `${NODE_ID}.${CLUSTER}`, "node-1", `node-1.${CLUSTER}`].sort();
    for (const host of all) assert.deepEqual((await sign(auth, host)).principals.toSorted(), all);
    assert.deepEqual((await sign(auth, "192.0.2.30")).principals, ["192.0.2.30"]);
    const twin = "77777777-7777-4777-8777-777777777777";
    await auth.call(nodeCaller(twin), "nodes.heartbeat", {
      node: testNode(twin, { hostname: "node-1", addr: "192.0.2.31:3022" }),
    });
    await until(() => auth.service.parts.hub.nodes().length === 2);
    assert.deepEqual((await sign(auth, "node-1")).principals, ["node-1"]);
  }));

Deno.test("names of auth, of other proxies, of the cluster and of unknown ids are refused", () =>
  recording(async (auth) => {
    await announced(auth);
    for (
      const host of [
        ...["auth-1", "AUTH-1", `auth-1.${CLUSTER}`, "auth.example.com", "192.0.2.1"],
        ...["::ffff:192.0.2.1", AUTH_ID, `${AUTH_ID}.${CLUSTER}`],
        ...["proxy-2", `proxy-2.${CLUSTER}`, "proxy-2.example.com", "192.0.2.21", OTHER_ID],
        ...[CLUSTER, "66666666-6666-4666-8666-666666666666"],
      ]
    ) {
      await assert.rejects(sign(auth, host), (e: Error) => {
        assert.ok(e instanceof AccessDenied, `${host}: ${e.message}`);
        assert.match(e.message, /a proxy may not stand in for/);
        return true;
      }, host);
    }
  }));

Deno.test("names of another cluster's hosts are refused", () =>
  recording(async (auth) => {
    const { store, hub, authorities } = auth.service.parts;
    const [own] = authorities.publicResources();
    await store.put({
      ...own!,
      metadata: { ...own!.metadata, name: "leaf" },
      spec: { ...own!.spec, cluster_name: "leaf" },
    });
    await until(() => hub.list("cert_authority").some((ca) => ca.spec.cluster_name === "leaf"));
    for (const host of ["leaf", "node-1.leaf"]) {
      await assert.rejects(sign(auth, host), /belongs to the cluster "leaf"/);
    }
  }));

Deno.test("what is no host's name is refused", () =>
  recording(async (auth) => {
    for (const host of ["*", "a,b", "-oProxyCommand=x", "a b", "a/b", "a\nb", "env=prod", ".a"]) {
      await assert.rejects(sign(auth, host), BadParameter, host);
    }
  }));
