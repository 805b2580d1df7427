import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node } from "../resources/types.ts";
import { describeCandidates, NodeIndex } from "./node_index.ts";
import { parseTarget } from "./request.ts";
import { node } from "./test_nodes.ts";

const DB = node("db-1", {
  id: "11111111-1111-4111-8111-111111111111",
  addr: "10.0.0.1:3022",
  labels: { role: "db", env: "prod" },
});
const WEB = node("Web", { addr: "10.0.0.2:4022", labels: { role: "web", env: "prod" } });
const WEB6 = node("web6", { addr: "[2001:db8::6]:3022", commands: { kernel: "6.1" } });
const TWIN_A = node("twin", { addr: "10.0.0.3:3022" });
const TWIN_B = node("twin", { addr: "10.0.0.4:3022" });
const SAME_HOST_A = node("a", { addr: "10.0.0.9:3022" });
const SAME_HOST_B = node("b", { addr: "10.0.0.9:3122" });
const PUBLIC = node("inner", { addr: "10.0.0.10:3022", publicAddr: "outer.example.com:3022" });

function index(): NodeIndex {
  const made = new NodeIndex("main");
  for (const n of [DB, WEB, WEB6, TWIN_A, TWIN_B, SAME_HOST_A, SAME_HOST_B, PUBLIC]) made.put(n);
  return made;
}

const TABLE: [target: string, expected: Node | "many" | "none" | "uuid", why: string][] = [
  ["11111111-1111-4111-8111-111111111111:0", DB, "UUID"],
  ["11111111-1111-4111-8111-111111111111:9999", DB, "UUID, whatever the port"],
  ["11111111-1111-4111-8111-111111111111.main:0", DB, "UUID.cluster"],
  ["22222222-2222-4222-8222-222222222222:0", "uuid", "a UUID nobody has"],
  ["db-1:0", DB, "name, the node's own port"],
  ["db-1", DB, "name without a port"],
  ["DB-1:3022", DB, "names do not tell upper from lower case"],
  ["db-1.main:3022", DB, "name.cluster, as host certificates have it"],
  ["db-1.other:3022", "none", "name of another cluster"],
  ["db-1:22", DB, "ssh's default port means the node's own"],
  ["web:3022", WEB, "Teleport's default port means the node's own"],
  ["web:4022", WEB, "the very port"],
  ["web:2222", "none", "a port that was chosen and is not the node's"],
  ["twin:0", "many", "a name that two have"],
  ["10.0.0.1:3022", DB, "address and port"],
  ["10.0.0.1:0", DB, "address, own port"],
  ["10.0.0.1:22", "none", "another port at a node's address is another server"],
  ["10.0.0.9:0", "many", "two nodes at one address"],
  ["10.0.0.9:3122", SAME_HOST_B, "told apart by the port"],
  ["::ffff:10.0.0.1:3022", DB, "the IPv4 address in IPv6's clothes"],
  ["[2001:db8::6]:3022", WEB6, "IPv6 in brackets"],
  ["2001:DB8:0:0:0:0:0:6:3022", WEB6, "IPv6 written otherwise"],
  ["outer.example.com:0", PUBLIC, "public address"],
  ["role=web:0", WEB, "label"],
  ["env=prod,role=db:0", DB, "all labels of a selector"],
  ["env=prod:0", "many", "a label that two have"],
  ["env=test:0", "none", "a label that nobody has"],
  ["kernel=6.1:0", WEB6, "a label whose value comes from a command"],
  ["6.1:0", WEB6, "a label's value"],
  ["prod:0", "many", "a label's value that two have"],
  ["nothing:0", "none", "an unknown name"],
];

for (const [target, expected, why] of TABLE) {
  Deno.test(`NodeIndex finds ${target}: ${why}`, () => {
    const found = index().find(parseTarget(target));
    if (expected === "many") assert.equal(found.found, "many");
    else if (expected === "none") assert.deepEqual(found, { found: "none", uuidLike: false });
    else if (expected === "uuid") assert.deepEqual(found, { found: "none", uuidLike: true });
    else assert.deepEqual(found, { found: "one", node: expected });
  });
}

Deno.test("a name comes before a label of the same text", () => {
  const made = index();
  made.put(node("db", { addr: "10.0.0.20:3022" }));
  const found = made.find({ host: "db", port: 0 });
  assert.equal(found.found === "one" && found.node.spec.hostname, "db");
});

Deno.test("NodeIndex forgets the old name and labels of a node that changed", () => {
  const made = index();
  made.put({
    ...DB,
    metadata: { ...DB.metadata, labels: {} },
    spec: { ...DB.spec, hostname: "x" },
  });
  assert.equal(made.find({ host: "db-1", port: 0 }).found, "none");
  assert.equal(made.find({ host: "role=db", port: 0 }).found, "none");
  assert.equal(made.find({ host: "x", port: 0 }).found, "one");
});

Deno.test("NodeIndex is empty again after all nodes were removed", () => {
  const made = index();
  for (const n of [DB, WEB, WEB6, TWIN_A, TWIN_B, SAME_HOST_A, SAME_HOST_B, PUBLIC]) {
    made.remove(n.metadata.name);
  }
  assert.equal(made.size, 0);
  for (const [target] of TABLE) assert.equal(made.find(parseTarget(target)).found, "none");
});

Deno.test("whatever is added and removed, find() agrees with a search of all nodes", () => {
  const name = fc.constantFrom("a", "b", "c");
  const operation = fc.record({ id: fc.integer({ min: 0, max: 4 }), name, remove: fc.boolean() });
  fc.assert(fc.property(fc.array(operation), name, (operations, wanted) => {
    const made = new NodeIndex("main");
    const model = new Map<number, string>();
    for (const { id, name, remove } of operations) {
      const uuid = `0000000${id}-0000-4000-8000-000000000000`;
      if (remove) made.remove(uuid);
      else made.put(node(name, { id: uuid, addr: `10.0.0.${id + 1}:3022` }));
      if (remove) model.delete(id);
      else model.set(id, name);
    }
    const count = [...model.values()].filter((n) => n === wanted).length;
    const found = made.find({ host: wanted, port: 0 });
    assert.equal(found.found, count === 0 ? "none" : count === 1 ? "one" : "many");
  }));
});

Deno.test("describeCandidates() names each node's id and shortens a long list", () => {
  const lines = describeCandidates([TWIN_A, TWIN_B]);
  assert.ok(lines.some((line) => line.includes(TWIN_A.metadata.name)));
  assert.ok(lines.some((line) => line.includes(TWIN_B.metadata.name)));
  const many = describeCandidates(Array.from({ length: 50 }, () => node("n")), 10);
  assert.equal(many.at(-1), "… and 40 more");
});
