import assert from "node:assert/strict";
import { parse } from "yaml";
import fc from "fast-check";
import { displayWidth, table } from "./table.ts";
import { suggest } from "./suggest.ts";
import { toYaml } from "./yaml_text.ts";
import { parseFormat } from "./output.ts";
import { UsageError } from "./exit.ts";

Deno.test("toYaml() writes what a YAML parser reads back as the same data", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const plain: unknown = JSON.parse(JSON.stringify(value));
    assert.deepEqual(parse(toYaml(value)), plain);
  }));
});

Deno.test("toYaml() is readable for the usual data", () => {
  const data = [{ name: "db-1", labels: { env: "prod", ok: "yes" }, roles: ["a", "b"], none: [] }];
  assert.equal(
    toYaml(data),
    [
      "- name: db-1",
      "  labels:",
      "    env: prod",
      '    ok: "yes"',
      "  roles:",
      "    - a",
      "    - b",
      "  none: []",
      "",
    ].join("\n"),
  );
});

Deno.test("table() prints titles, dashes and padded cells", () => {
  assert.equal(
    table(["Node Name", "Address", "Labels"], [
      ["db-1", "10.0.0.2:3022", "arch=x86_64, env=prod\nkernel=4.4"],
      ["edge", "tunnel", ""],
    ]),
    [
      "Node Name Address       Labels                ",
      "--------- ------------- --------------------- ",
      "db-1      10.0.0.2:3022 arch=x86_64, env=prod ",
      "                        kernel=4.4            ",
      "edge      tunnel                              ",
    ].join("\n"),
  );
});

Deno.test("table() makes a column at least five wide and shows control characters", () => {
  assert.equal(table(["ID"], [["\x1b"]]), "ID   \n---- \n\\x1b ");
});

Deno.test("displayWidth() counts wide and combining characters", () => {
  assert.deepEqual(["ab", "日本", "e\u0301", "🙂"].map(displayWidth), [2, 4, 1, 2]);
});

Deno.test("suggest() finds what was mistyped and nothing else", () => {
  const verbs = ["login", "logout", "ls", "status"];
  assert.equal(suggest("lgoin", verbs), "login");
  assert.equal(suggest("sttaus", verbs), "status");
  assert.equal(suggest("frobnicate", verbs), undefined);
});

Deno.test("parseFormat() names the formats when it refuses one", () => {
  assert.equal(parseFormat("yaml"), "yaml");
  assert.throws(() => parseFormat("xml"), (e) => {
    assert.ok(e instanceof UsageError);
    assert.match(e.message, /text, json, yaml/);
    return true;
  });
});
