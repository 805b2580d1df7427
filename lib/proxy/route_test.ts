import assert from "node:assert/strict";
import { AccessDenied, NotFound } from "../base/errors.ts";
import { NodeIndex } from "./node_index.ts";
import { AmbiguousNode, type Route, Router } from "./route.ts";
import { parseTarget } from "./request.ts";
import { node } from "./test_nodes.ts";
import { TargetPolicy } from "./unregistered.ts";

const DNS: Record<string, string[]> = {
  "db.example.com": ["10.1.0.1"],
  "alias.example.com": ["10.0.0.1"],
  "evil.example.com": ["127.0.0.1"],
  "both.example.com": ["127.0.0.1", "10.1.0.2"],
  "metadata.example.com": ["169.254.169.254"],
};

function router(entries?: string[]): Router & { asked: string[] } {
  const index = new NodeIndex("main");
  index.put(node("db-1", { addr: "10.0.0.1:3022" }));
  index.put(node("twin", { addr: "10.0.0.2:3022" }));
  index.put(node("twin", { addr: "10.0.0.3:3022" }));
  index.put(node("liar", { addr: "169.254.169.254:80" }));
  index.put(node("tunnelled", { addr: "" }));
  const asked: string[] = [];
  const made = new Router({
    cluster: "main",
    index,
    policy: new TargetPolicy(entries),
    resolve: (name) => {
      asked.push(name);
      return Promise.resolve(DNS[name] ?? []);
    },
  });
  return Object.assign(made, { asked });
}

const short = ({ host, port, node }: Route) => ({ host, port, node: node?.spec.hostname });

Deno.test("a node is dialled at its own address, and DNS is not asked", async () => {
  const made = router();
  assert.deepEqual(short(await made.route(parseTarget("db-1:0"))), {
    host: "10.0.0.1",
    port: 3022,
    node: "db-1",
  });
  assert.deepEqual(made.asked, []);
});

Deno.test("a DNS name of a node's address leads to the node", async () => {
  const route = await router().route(parseTarget("alias.example.com:3022"));
  assert.equal(route.node?.spec.hostname, "db-1");
});

Deno.test("a foreign host is dialled at the address that was decided on, not by its name", async () => {
  assert.deepEqual(short(await router().route(parseTarget("db.example.com:22"))), {
    host: "10.1.0.1",
    port: 22,
    node: undefined,
  });
});

Deno.test("port 0 of a foreign host is 3022", async () => {
  assert.equal((await router().route(parseTarget("db.example.com:0"))).port, 3022);
});

Deno.test("of several addresses only an allowed one is dialled", async () => {
  assert.equal((await router().route(parseTarget("both.example.com:22"))).host, "10.1.0.2");
});

for (
  const target of [
    "evil.example.com:22",
    "metadata.example.com:22",
    "127.0.0.1:3022",
    "127.0.0.1:3025",
    "[::1]:22",
    "[::ffff:127.0.0.1]:22",
    "0.0.0.0:22",
    "db.example.com:80",
  ]
) {
  Deno.test(`attack 37: ${target} is refused and the setting is named`, async () => {
    await assert.rejects(router().route(parseTarget(target)), (error: unknown) => {
      assert.ok(error instanceof AccessDenied);
      assert.match(error.message, /unregistered_targets/);
      return true;
    });
  });
}

Deno.test("an ambiguous name lists the candidates with their ids", async () => {
  await assert.rejects(router().route(parseTarget("twin:0")), (error: unknown) => {
    assert.ok(error instanceof AmbiguousNode);
    assert.match(error.message, /ambiguous host could match multiple nodes/);
    assert.match(error.message, /err-node-is-ambiguous/);
    assert.equal(error.candidates.join("\n").match(/[0-9a-f]{8}-[0-9a-f-]{27}/g)?.length, 2);
    return true;
  });
});

Deno.test("a UUID that no node has is said so, with Teleport's words", async () => {
  const id = "33333333-3333-4333-8333-333333333333";
  const expected = new NotFound(`unable to locate node matching uuid-like target ${id}`);
  await assert.rejects(router().route(parseTarget(`${id}:0`)), expected);
});

Deno.test("a name that nobody knows is named in the error, with what to do", async () => {
  await assert.rejects(router().route(parseTarget("no-such-node:0")), {
    name: "NotFound",
    message: /"no-such-node".*tsh ls/,
  });
});

Deno.test("what is no DNS name is not asked of DNS", async () => {
  const made = router();
  await assert.rejects(made.route(parseTarget("env=none:0")), NotFound);
  await assert.rejects(made.route(parseTarget("-oProxyCommand:0")), NotFound);
  assert.deepEqual(made.asked, []);
});

Deno.test("attack 55: a node that says it lives at a metadata address is not dialled", async () => {
  await assert.rejects(router().route(parseTarget("liar:0")), AccessDenied);
});

Deno.test("a node without an address is said to be unreachable", async () => {
  await assert.rejects(router().route(parseTarget("tunnelled:0")), NotFound);
});
