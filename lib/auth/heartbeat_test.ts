import assert from "node:assert/strict";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { ANNOUNCE_TTL_MS } from "./heartbeat.ts";
import {
  ADMIN,
  NODE_ID,
  nodeCaller,
  OTHER_ID,
  PROXY,
  PROXY_ID,
  REMOTE,
  type TestAuth,
  testNode,
  withAuth,
} from "./testing.ts";

configureLog({ level: "off", format: "text" });

async function stored({ call }: TestAuth) {
  const { resources } = await call(ADMIN, "resources.list", { kind: "node" });
  return resources as ReturnType<typeof testNode>[];
}

Deno.test("a node is listed for ten minutes after its last announcement", () =>
  withAuth(async (auth) => {
    const node = testNode(NODE_ID);
    node.metadata.expires = "2999-01-01T00:00:00Z";
    const { expires } = await auth.call(nodeCaller(), "nodes.heartbeat", { node });
    assert.equal(Date.parse(expires), auth.clock.now() + ANNOUNCE_TTL_MS);
    assert.equal((await stored(auth))[0]!.metadata.expires, expires);
    auth.clock.advance(ANNOUNCE_TTL_MS);
    assert.deepEqual(await stored(auth), []);
  }));

Deno.test("a host announces itself only, as what it is (attack 52)", () =>
  withAuth(async (auth) => {
    await assert.rejects(
      auth.call(nodeCaller(), "nodes.heartbeat", { node: testNode(OTHER_ID) }),
      AccessDenied,
    );
    const proxy = { ...testNode(PROXY_ID), kind: "proxy" as const };
    await auth.call(PROXY, "proxies.heartbeat", { proxy });
    await assert.rejects(
      auth.call(nodeCaller(), "nodes.heartbeat", {
        node: { ...testNode(NODE_ID), kind: "proxy" } as never,
      }),
      BadParameter,
    );
    await assert.rejects(
      auth.call(nodeCaller(), "nodes.heartbeat", { node: { ...testNode(NODE_ID), x: 1 } as never }),
      BadParameter,
    );
  }));

Deno.test("an unspecified address becomes the one that the node calls from", () =>
  withAuth(async (auth) => {
    for (const addr of ["0.0.0.0:3022", "[::]:3022"]) {
      await auth.call(nodeCaller(), "nodes.heartbeat", { node: testNode(NODE_ID, { addr }) });
      assert.equal((await stored(auth))[0]!.spec.addr, `${REMOTE.host}:3022`);
    }
  }));

Deno.test("an address that leads to the proxy's own machine or to metadata is refused (attack 55)", () =>
  withAuth(async (auth) => {
    const announce = (addr: string, remote = REMOTE) =>
      auth.call({ ...nodeCaller(), remote } as never, "nodes.heartbeat", {
        node: testNode(NODE_ID, { addr }),
      });
    for (const addr of ["127.0.0.1:3025", "[::1]:22", "169.254.169.254:80", "[fe80::1]:22"]) {
      await assert.rejects(announce(addr), BadParameter, addr);
    }
    await announce("10.1.2.3:3022");
    await announce("127.0.0.1:3022", { host: "127.0.0.1", port: 5 });
    await announce("");
  }));
