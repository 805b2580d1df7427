import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { matchesGlob } from "./glob.ts";
import { matchLabels } from "./labels.ts";
import { compileRegexp, searchRegexp } from "./regexp.ts";

const cases: [selector: Record<string, string[]>, labels: Record<string, string>, boolean][] = [
  [{}, {}, false],
  [{}, { a: "b" }, false],
  [{ "*": ["*"] }, {}, true],
  [{ "*": ["*"], a: ["b"] }, { a: "c" }, true],
  [{ "*": ["b"] }, { a: "b" }, false],
  [{ a: ["*"] }, {}, false],
  [{ a: ["*"] }, { a: "" }, true],
  [{ a: [""] }, { a: "" }, true],
  [{ a: [] }, { a: "b" }, false],
  [{ a: ["b", "c"] }, { a: "c" }, true],
  [{ a: ["b"], c: ["d"] }, { a: "b" }, false],
  [{ a: ["b"], c: ["d"] }, { a: "b", c: "d", e: "f" }, true],
  [{ a: ["^b$|c$"] }, { a: "xc" }, true],
  [{ a: ["^^$"] }, { a: "" }, true],
  [{ a: ["^"] }, { a: "^" }, true],
  [{ a: ["x^$"] }, { a: "x^$" }, true],
  [{ a: ["a+b?"] }, { a: "a+b?" }, true],
  [{ a: ["a+b?"] }, { a: "aab" }, false],
  [{ a: ["{{external.x}}"] }, { a: "{{external.x}}" }, false],
  [{ a: ["b*"] }, { a: "b\nc" }, true],
  [{ toString: ["*"] }, {}, false],
];

for (const [selector, labels, wanted] of cases) {
  const name = `${JSON.stringify(selector)} and ${JSON.stringify(labels)}: ${wanted}`;
  Deno.test(`matchLabels() ${name}`, () => assert.equal(matchLabels(selector, labels), wanted));
}

Deno.test("matchLabels() throws for an expression that RE2 refuses", () => {
  assert.throws(() => matchLabels({ a: ["^(?=x)$"] }, { a: "x" }), BadParameter);
  assert.throws(() => matchLabels({ a: ['{{regexp.match("(")}}'] }, { a: "x" }), BadParameter);
});

Deno.test("matchesGlob() agrees with the regular expression of the same meaning", () => {
  const glob = fc.array(fc.constantFrom("*", "a", "b", "."), { maxLength: 8 })
    .map((parts) => parts.join(""));
  const text = fc.array(fc.constantFrom("a", "b", "."), { maxLength: 10 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(glob, text, (glob, text) => {
      const pattern = glob.replaceAll(".", "\\.").replaceAll("*", ".*");
      assert.equal(matchesGlob(glob, text), new RegExp(`^${pattern}$`).test(text));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("expressions that stall others are linear here, and huge ones are refused", () => {
  assert.equal(searchRegexp("^(a+)+$", `${"a".repeat(3000)}b`), false);
  for (const pattern of ["((a{100}){100}){100}", "a{1001}", "([a-z][0-9]){900}"]) {
    assert.throws(() => compileRegexp(pattern), BadParameter, pattern.slice(0, 30));
  }
});
