import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { formatLabels, parseLabels, parseTarget } from "./target.ts";

Deno.test("parseTarget() tells hosts from label selectors", () => {
  assert.deepEqual(parseTarget("db-1"), { host: "db-1" });
  assert.deepEqual(parseTarget("root@db-1.example.com"), {
    login: "root",
    host: "db-1.example.com",
  });
  assert.deepEqual(parseTarget("joe@corp@db-1"), { login: "joe@corp", host: "db-1" });
  assert.deepEqual(parseTarget("root@[2001:db8::1]"), { login: "root", host: "2001:db8::1" });
  assert.deepEqual(parseTarget("::1"), { host: "::1" });
  assert.deepEqual(parseTarget("root@env=prod,os=linux"), {
    login: "root",
    labels: { env: "prod", os: "linux" },
  });
});

Deno.test("parseTarget() says what to do about a port in the host", () => {
  assert.throws(() => parseTarget("root@db-1:22"), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /please use ssh subcommand with '--port=22' flag/);
    return true;
  });
});

Deno.test("parseTarget() refuses names that would mean something to a shell, ssh or the proxy", () => {
  const bad = [
    ...["", "@host", "-l@host", "a b@host", "ro\not@host", "$(id)@host"],
    ...["../x@host", "host\n", "host name", "a/b", "host;id", "-host"],
  ];
  for (const text of bad) {
    assert.throws(() => parseTarget(text), BadParameter, JSON.stringify(text));
  }
});

Deno.test("parseLabels() reads every notation", () => {
  assert.deepEqual(parseLabels("env=prod"), { env: "prod" });
  assert.deepEqual(parseLabels("env=prod; os = linux"), { env: "prod", os: "linux" });
  assert.deepEqual(parseLabels('"long name"="a, b",x=y z'), { "long name": "a, b", x: "y z" });
  for (const text of ["env", "=x", "a=b,,", 'a="b', 'a=b c=d"', ","]) {
    assert.throws(() => parseLabels(text), BadParameter, text);
  }
});

Deno.test("parseLabels() reads back what formatLabels() writes", () => {
  const word = fc.string({ minLength: 1, maxLength: 20 })
    .filter((text) => !text.includes('"') && text.trim() !== "" && text !== "__proto__");
  fc.assert(fc.property(fc.dictionary(word, word, { minKeys: 1 }), (labels) => {
    assert.deepEqual(parseLabels(formatLabels(labels)), { ...labels });
  }));
});
