import assert from "node:assert/strict";
import { statusText } from "./status.ts";
import { minutes } from "./join_command.ts";
import { tokenTable } from "./tokens_ls.ts";
import { splitList } from "./options.ts";
import { parseReferences } from "./get.ts";
import { BadParameter } from "../../lib/base/errors.ts";

Deno.test("statusText() says when an authority was rotated, and each pin", () => {
  const text = statusText({
    cluster_name: "staging.example.com",
    version: "1.2.3",
    ca_pins: ["sha256:aa", "sha256:bb"],
    user_ca: { fingerprints: [], last_rotated: "2026-03-02T10:11:12Z" },
    host_ca: { fingerprints: [] },
  });
  assert.equal(
    text,
    `Cluster  staging.example.com
Version  1.2.3
User CA  rotated Mar  2 10:11:12 UTC
Host CA  never updated
CA pin   sha256:aa
CA pin   sha256:bb`,
  );
});

Deno.test("tokenTable() shows the end of a token as date and as what is left", () => {
  const now = Date.parse("2018-09-24T23:52:00Z");
  const text = tokenTable([
    { id: "0123456789abcdef", roles: ["Node"], expires: "2018-09-25T00:21:03Z", static: false },
    { id: "fedcba9876543210", roles: ["Proxy", "Node"], static: true },
  ], now);
  assert.match(text, /0123456789abcdef Node +25 Sep 18 00:21 UTC \(29m3s\)/);
  assert.match(text, /fedcba9876543210 Proxy,Node never/);
});

Deno.test("minutes() counts whole minutes, and writes anything else in full", () => {
  assert.equal(minutes(30 * 60_000), "30 minutes");
  assert.equal(minutes(1_000), "1s");
  assert.equal(minutes(90_000), "1m30s");
});

Deno.test("splitList() drops blanks and empty items", () => {
  assert.deepEqual(splitList(" a, b,,c,"), ["a", "b", "c"]);
});

Deno.test("parseReferences() reads kinds, short names and names", () => {
  assert.deepEqual(parseReferences("role/dev,users,cas/user"), [
    { kind: "role", name: "dev" },
    { kind: "user" },
    { kind: "cert_authority", name: "user" },
  ]);
  assert.ok(parseReferences("all").length > 5);
  for (const text of ["", ",", "nonsense/x", "cluster_name"]) {
    assert.throws(() => parseReferences(text), BadParameter, text);
  }
});
