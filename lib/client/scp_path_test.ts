import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { baseName, joinPath, matchesPattern, parseScpPath } from "./scp_path.ts";

Deno.test("parseScpPath() tells paths of nodes from paths of this computer", () => {
  const cases: [string, ReturnType<typeof parseScpPath>][] = [
    ["file", { path: "file" }],
    ["./a:b", { path: "./a:b" }],
    ["/a:b", { path: "/a:b" }],
    ["host:", { remote: { host: "host" }, path: "." }],
    ["root@host:/tmp/x:y", { remote: { login: "root", host: "host" }, path: "/tmp/x:y" }],
    ["root@[::1]:~/x", { remote: { login: "root", host: "::1" }, path: "x" }],
    ["host:a\nb", { remote: { host: "host" }, path: "a\nb" }],
    ["host:-rf", { remote: { host: "host" }, path: "-rf" }],
  ];
  for (const [text, want] of cases) assert.deepEqual(parseScpPath(text), want, text);
});

Deno.test("parseScpPath() refuses label selectors and names that no node has", () => {
  for (const text of ["", "root@env=prod:/x", "-oX@host:/x", "a b:/x", "$(id):x"]) {
    assert.throws(() => parseScpPath(text), BadParameter, text);
  }
});

Deno.test("baseName() is undefined for paths that have no name of their own", () => {
  assert.deepEqual(
    ["a/b/", "/a", "-rf", "/", ".", "..", "a/..", ""].map(baseName),
    ["b", "a", "-rf", undefined, undefined, undefined, undefined, undefined],
  );
  assert.equal(joinPath("/", "a"), "/a");
  assert.equal(joinPath("a/", "b"), "a/b");
  assert.equal(joinPath(".", "b"), "b");
});

Deno.test("matchesPattern() matches as a shell does", () => {
  const yes = [
    ["*", "a"],
    ["*.log", "x.log"],
    ["a?c", "abc"],
    ["[a-c]x", "bx"],
    ["[!a-c]x", "dx"],
    ["\\*", "*"],
    [".*", ".x"],
    ["*日*", "a日b"],
    ["[]x]", "]"],
  ] as const;
  const no = [
    ["*", ".hidden"],
    ["*.log", "x.logs"],
    ["a?c", "ac"],
    ["[a-c]x", "dx"],
    ["\\*", "a"],
    ["", "a"],
  ] as const;
  for (const [pattern, name] of yes) assert.ok(matchesPattern(pattern, name), `${pattern} ${name}`);
  for (const [pattern, name] of no) assert.ok(!matchesPattern(pattern, name), `${pattern} ${name}`);
});

Deno.test("matchesPattern() does not take for ever", () => {
  assert.equal(matchesPattern("*a".repeat(120) + "b", "a".repeat(255)), false);
});
