import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { formatYaml, parseYaml } from "./yaml.ts";

function value(text: string): unknown {
  return parseYaml(text)[0]?.value;
}

function refused(text: string, wanted: RegExp, maxBytes?: number): void {
  assert.throws(() => parseYaml(text, maxBytes), (e) => {
    assert.ok(e instanceof BadParameter, String(e));
    assert.match(e.message, wanted);
    return true;
  });
}

Deno.test("scalars are the text that stands there; only the plain null is null", () => {
  assert.deepEqual(
    value("a: 1.10\nb: no\nc: 0x10\nd: 2020-01-01\ne: null\nf:\ng: ~\nh: 'null'\ni: ''\nj: true\n"),
    {
      a: "1.10",
      b: "no",
      c: "0x10",
      d: "2020-01-01",
      e: null,
      f: null,
      g: null,
      h: "null",
      i: "",
      j: "true",
    },
  );
});

Deno.test("documents are separated, and empty ones left out", () => {
  assert.deepEqual(parseYaml("a: 1\n---\n# nothing\n---\nb: 2\n...\n").map(({ value }) => value), [
    { a: "1" },
    { b: "2" },
  ]);
  assert.deepEqual(parseYaml(""), []);
});

Deno.test("a byte order mark and Windows line ends do no harm", () => {
  assert.deepEqual(value("\ufeffa: 1\r\nb:\r\n- x\r\n"), { a: "1", b: ["x"] });
});

Deno.test("aliases are followed", () => {
  assert.deepEqual(value("a: &x [1]\nb: *x\n"), { a: ["1"], b: ["1"] });
});

Deno.test("line() finds keys, items and what aliases point to", () => {
  const [document] = parseYaml("a:\n  b: 1\n  c:\n    - x\n    - d: 2\ne: &e\n  f: 3\ng: *e\n");
  const line = (...path: PropertyKey[]) => document?.line(path);
  assert.equal(line("a"), 1);
  assert.equal(line("a", "c"), 3);
  assert.equal(line("a", "c", 1, "d"), 5);
  assert.equal(line("a", "missing"), 1);
  assert.equal(line("g", "f"), 7);
  assert.equal(line(), 1);
});

Deno.test("an alias bomb is refused", () => {
  const levels = Array.from({ length: 9 }, (_, i) => {
    const alias = i === 0 ? "x" : `*a${i - 1}`;
    return `a${i}: &a${i} [${Array(9).fill(alias).join(", ")}]`;
  });
  refused(levels.join("\n"), /more than 100 aliases|too many values/);
  refused("a: &a [*a]\n", /nested more than 64 levels/);
  refused(`x: &x {a: b}\ny: [${Array(200).fill("*x").join(", ")}]`, /more than 100 aliases/);
});

Deno.test("deep nesting is refused", () => {
  refused("[".repeat(200) + "]".repeat(200), /nested more than 64 levels|nested too deeply/);
  refused("[".repeat(50_000), /nested too deeply/);
  refused("- ".repeat(20_000), /nested/);
});

Deno.test("the limit counts bytes", () => {
  refused("é".repeat(6), /too long: at most 10 bytes/, 10);
  assert.deepEqual(parseYaml("é".repeat(5), 10).length, 1);
  refused(`a: "${"x".repeat(1024 * 1024)}"`, /too long/);
});

Deno.test("double keys, tags, odd keys and broken text are refused with their line", () => {
  refused("a: 1\nb: 2\na: 3\n", /Line 3: this key is there already/);
  refused("a: 1\nb: !!js/function 'x'\n", /line 2: Unresolved tag/);
  refused("a: 1\n? [x]\n: 1\n", /Line 2: is no plain key/);
  refused("a: 1\nb: [1\nc: 2\n", /line 3/);
  refused("a: 1\nb: *nope\n", /Line 2: an alias stands for nothing/);
});

Deno.test("formatYaml() quotes what YAML 1.1 would read as something else", () => {
  assert.equal(
    formatYaml({ a: "no", b: "1:30", c: "plain", d: "on" }),
    'a: "no"\nb: "1:30"\nc: plain\nd: "on"\n',
  );
});
