import assert from "node:assert/strict";
import { fromBase64, toBase64 } from "../base/bytes.ts";
import { uuid } from "../base/ids.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import { checkProxied, proveProxied } from "./proxied_session.ts";
import { TestCluster } from "./test_cluster.ts";

const session = { sid: uuid(), nodeId: uuid(), user: "joe", login: "root" };
const cluster = await TestCluster.create();
const authorities = cluster.trusted("host");

function hostOf(role: "Proxy" | "Node" | "Auth", of = cluster) {
  const key = generatePrivateKey();
  return { key, certificate: of.hostCertificate(key.publicKey, role) };
}

Deno.test("checkProxied() believes a proxy of the cluster, and gives the session's id", () => {
  const value = proveProxied(session, hostOf("Proxy"));
  assert.equal(checkProxied(value, session, authorities, Date.now()), session.sid);
});

Deno.test("checkProxied() believes it for this node, user and login only", () => {
  const value = proveProxied(session, hostOf("Proxy"));
  for (const change of [{ nodeId: uuid() }, { user: "eve" }, { login: "joe" }]) {
    assert.throws(() => checkProxied(value, { ...session, ...change }, authorities, Date.now()));
  }
});

Deno.test("checkProxied() believes no node, no other cluster's proxy and no stolen certificate", async () => {
  const other = await TestCluster.create("other");
  const stolen = { ...hostOf("Proxy"), key: generatePrivateKey() };
  for (const host of [hostOf("Node"), hostOf("Auth"), hostOf("Proxy", other), stolen]) {
    const value = proveProxied(session, host);
    assert.throws(() => checkProxied(value, session, authorities, Date.now()));
  }
});

Deno.test("checkProxied() refuses what is changed, cut off, or no id", () => {
  const value = proveProxied(session, hostOf("Proxy"));
  const bytes = fromBase64(value);
  for (let at = 0; at < bytes.length; at += 7) {
    const changed = Uint8Array.from(bytes);
    changed[at]! ^= 1;
    assert.throws(
      () => checkProxied(toBase64(changed), session, authorities, Date.now()),
      `byte ${at}`,
    );
    const cut = toBase64(bytes.subarray(0, at));
    assert.throws(() => checkProxied(cut, session, authorities, Date.now()));
  }
  assert.throws(() => checkProxied("", session, authorities, Date.now()));
  assert.throws(() => checkProxied("?", session, authorities, Date.now()));
  const path = proveProxied({ ...session, sid: "../../etc/passwd" }, hostOf("Proxy"));
  assert.throws(() => checkProxied(path, session, authorities, Date.now()), /no UUID/);
});
