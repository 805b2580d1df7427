import assert from "node:assert/strict";
import { AccessDenied, NotFound } from "../base/errors.ts";
import { NodeIndex } from "./node_index.ts";
import { AmbiguousNode, type Route, Router } from "./route.ts";
import { parseTarget } from "./request.ts";
import { node } from "./test_nodes.ts";

const DNS: Record<string, string[]> = {
  "db.example.com": ["10.1.0.1"],
  "alias.example.com": ["10.0.0.1"],
  "evil.example.com": ["127.0.0.1"],
  "both.example.com": ["127.0.0.1", "10.1.0.2"],
  "metadata.example.com": ["169.254.169.254"],
};

function router(entries = ["*:22", "*:3022"]): Router & { asked: string[] } {
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
    targets: entries,
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

async function assertDialled(
  targets: string[],
  host: string,
  ip: string,
  port: number,
  allowed: boolean,
): Promise<void> {
  const index = new NodeIndex("main");
  const resolve = () => Promise.resolve([ip]);
  const route = new Router({ cluster: "main", index, targets, resolve }).route({ host, port });
  if (allowed) assert.deepEqual(await route, { host: ip, port });
  else await assert.rejects(route, AccessDenied);
}

/** Attack 37: [name typed, address it resolved to, port, allowed by default]. */
const BY_DEFAULT: [string, string, number, boolean][] = [
  ["db.example.com", "10.1.2.3", 22, true],
  ["db.example.com", "10.1.2.3", 3022, true],
  ["db.example.com", "2001:db8::1", 22, true],
  ["db.example.com", "fd12::1", 22, true],
  ["db.example.com", "10.1.2.3", 80, false],
  ["db.example.com", "10.1.2.3", 3025, false],
  ["localhost", "127.0.0.1", 22, false],
  ["innocent.example.com", "127.0.0.1", 22, false],
  ["127.0.0.2", "127.0.0.2", 3022, false],
  ["x", "127.255.255.254", 22, false],
  ["x", "0.0.0.0", 22, false],
  ["x", "0.1.2.3", 22, false],
  ["x", "::", 22, false],
  ["x", "::1", 22, false],
  ["x", "0:0:0:0:0:0:0:1", 22, false],
  ["x", "::ffff:127.0.0.1", 22, false],
  ["x", "::ffff:7f00:1", 22, false],
  ["x", "::127.0.0.1", 22, false],
  ["x", "64:ff9b::7f00:1", 22, false],
  ["x", "64:ff9b::a9fe:a9fe", 22, false],
  ["x", "2002:7f00:1::", 22, false],
  ["metadata", "169.254.169.254", 22, false],
  ["metadata", "::ffff:169.254.169.254", 22, false],
  ["metadata", "fd00:ec2::254", 22, false],
  ["metadata", "168.63.129.16", 22, false],
  ["metadata", "100.100.100.200", 22, false],
  ["x", "169.254.1.1", 22, false],
  ["x", "fe80::1", 22, false],
  ["x", "224.0.0.1", 22, false],
  ["x", "255.255.255.255", 22, false],
  ["x", "ff02::1", 22, false],
];

for (const [name, ip, port, allowed] of BY_DEFAULT) {
  Deno.test(`by default ${name} at ${ip} port ${port} is ${allowed ? "dialled" : "refused"}`, () =>
    assertDialled(["*:22", "*:3022"], name, ip, port, allowed));
}

/** [entries, name, address, port, allowed]. */
const CONFIGURED: [string[], string, string, number, boolean][] = [
  [[], "x", "10.0.0.1", 22, false],
  [["10.0.0.0/8"], "x", "10.9.9.9", 8080, true],
  [["10.0.0.0/8"], "x", "11.0.0.1", 8080, false],
  [["10.0.0.0/8:22"], "x", "10.9.9.9", 22, true],
  [["10.0.0.0/8:22"], "x", "::ffff:10.9.9.9", 22, true],
  [["10.0.0.0/8:22"], "x", "10.9.9.9", 23, false],
  [["10.0.0.5:22"], "x", "10.0.0.5", 22, true],
  [["10.0.0.5:22"], "x", "10.0.0.6", 22, false],
  [["[2001:db8::/32]:22"], "x", "2001:db8::5", 22, true],
  [["[2001:db8::/32]:22"], "x", "2001:db8::5", 23, false],
  [["2001:db8::/32"], "x", "2001:db8::5", 23, true],
  [["*.example.com:22"], "a.example.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "A.EXAMPLE.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "a.example.com.evil.org", "10.0.0.1", 22, false],
  [["*.example.com:22"], "xexample.com", "10.0.0.1", 22, false],
  [["db"], "db", "10.0.0.1", 9, true],
  // A pattern of names never opens a closed address: whoever has the DNS would choose it.
  [["*.example.com"], "a.example.com", "127.0.0.1", 22, false],
  [["*"], "x", "169.254.169.254", 80, false],
  [["0.0.0.0/0"], "x", "127.0.0.1", 22, false],
  [["0.0.0.0/0"], "x", "169.254.169.254", 80, false],
  [["::/0"], "x", "::1", 22, false],
  [["localhost:2222"], "localhost", "127.0.0.1", 2222, false],
  // An entry of its own does.
  [["127.0.0.1:2222"], "localhost", "127.0.0.1", 2222, true],
  [["127.0.0.0/8:2222"], "localhost", "127.0.0.1", 2222, true],
  [["127.0.0.0/8:2222"], "localhost", "127.0.0.1", 3025, false],
  [["[::1]:22"], "localhost", "::1", 22, true],
  [["169.254.169.254:80"], "x", "169.254.169.254", 80, true],
  [["127.0.0.0/8"], "x", "169.254.169.254", 80, false],
];

for (const [entries, name, ip, port, allowed] of CONFIGURED) {
  Deno.test(`[${entries}] ${allowed ? "allows" : "refuses"} ${name} at ${ip} port ${port}`, () =>
    assertDialled(entries, name, ip, port, allowed));
}
