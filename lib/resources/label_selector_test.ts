import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { isLabelSelector, parseLabelSelector, parseLabelsFlag } from "./label_selector.ts";

const good: [text: string, wanted: Record<string, string>][] = [
  ["a=b", { a: "b" }],
  ["env=prod,os=linux", { env: "prod", os: "linux" }],
  ["env=prod;os=linux", { env: "prod", os: "linux" }],
  [" env = prod , os = linux ", { env: "prod", os: "linux" }],
  ['a=b,c="d e"', { a: "b", c: "d e" }],
  ['"long name"="v, w; x=y"', { "long name": "v, w; x=y" }],
  [String.raw`a="say \"hi\" \\ bye"`, { a: 'say "hi" \\ bye' }],
  ["a=", { a: "" }],
  ['a=""', { a: "" }],
  ["a=b=c", { a: "b=c" }],
  ["a=*", { a: "*" }],
  ["a=x]y", { a: "x]y" }],
  ["__proto__=x", JSON.parse('{"__proto__":"x"}')],
];

for (const [text, wanted] of good) {
  Deno.test(`parseLabelSelector() reads ${text}`, () => {
    assert.deepEqual(parseLabelSelector(text), wanted);
    assert.deepEqual(parseLabelsFlag(text), { labels: wanted, commands: [] });
  });
}

const bad: [text: string, wanted: RegExp][] = [
  ["", /a label is missing/],
  ["a", /'a' has no value/],
  ["=b", /a label is missing/],
  ["a=b,", /a label is missing/],
  ["a=b,,c=d", /a label is missing/],
  ["a=b,a=c", /'a' is there twice/],
  ['a="b', /a quote is not closed/],
  ['a="b"c', /something after a quoted part/],
  ['"a"x=b', /'a' has no value/],
  ["a=[1h:uname", /a '\[' is not closed/],
];

for (const [text, wanted] of bad) {
  Deno.test(`parseLabelSelector() refuses ${JSON.stringify(text)}`, () => {
    for (const parse of [parseLabelSelector, parseLabelsFlag]) {
      assert.throws(() => parse(text), (e) => {
        assert.ok(e instanceof BadParameter);
        assert.match(e.message, wanted);
        return true;
      });
    }
  });
}

const commands: [text: string, period: number, command: string[]][] = [
  ['kernel=[1h:"uname -r"]', 3_600_000, ["uname", "-r"]],
  ["kernel=[5m:uname -r]", 300_000, ["uname", "-r"]],
  ["kernel=[1m0s: /bin/date ]", 60_000, ["/bin/date"]],
  [`kernel=[1h:"sh -c 'echo a, b; exit'"]`, 3_600_000, ["sh", "-c", "echo a, b; exit"]],
  [String.raw`kernel=[1h:"sh -c \"echo [x]\""]`, 3_600_000, ["sh", "-c", "echo [x]"]],
  ["kernel=[1h:a''b]", 3_600_000, ["ab"]],
];

for (const [text, periodMs, command] of commands) {
  Deno.test(`parseLabelsFlag() reads the command of ${text}`, () => {
    assert.deepEqual(parseLabelsFlag(`env=prod,${text},os=linux`), {
      labels: { env: "prod", os: "linux" },
      commands: [{ name: "kernel", command, periodMs }],
    });
    assert.throws(() => parseLabelSelector(text), /must be in quotes to begin with '\['/);
  });
}

Deno.test("parseLabelsFlag() refuses commands that are none", () => {
  assert.throws(() => parseLabelsFlag("a=[uname]"), /is written like \[1h:"uname -r"\]/);
  assert.throws(() => parseLabelsFlag("a=[often:uname]"), /"often" as a duration/);
  assert.throws(() => parseLabelsFlag('a=[1h:""]'), /the command of 'a' is empty/);
  assert.throws(() => parseLabelsFlag("a=[1h:sh 'x]"), /a quote is not closed/);
  assert.throws(() => parseLabelsFlag("a=b,a=[1h:x]"), /twice/);
});

Deno.test("labels that are written with quotes are read back", () => {
  const labels = fc.dictionary(fc.string({ minLength: 1 }), fc.string(), { minKeys: 1 });
  const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
  fc.assert(fc.property(labels, fc.constantFrom(",", ";"), (labels, separator) => {
    const text = Object.entries(labels).map(([k, v]) => `${quote(k)}=${quote(v)}`).join(separator);
    assert.deepEqual({ ...parseLabelSelector(text) }, { ...labels });
  }));
});

Deno.test("any text is read as labels or refused with BadParameter", () => {
  const piece = fc.constantFrom("a", "=", ",", ";", '"', "\\", "[", "]", "1h:", " ", "'", "b c");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 15 }).map((parts) => parts.join("")), (text) => {
      for (const parse of [parseLabelSelector, parseLabelsFlag]) {
        try {
          parse(text);
        } catch (e) {
          assert.ok(e instanceof BadParameter, `${e}`);
        }
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("isLabelSelector() tells labels from a host's name", () => {
  assert.ok(isLabelSelector("env=prod"));
  assert.ok(!isLabelSelector("db-1.example.com"));
});
