import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { checkImports } from "./check_imports.ts";

/** Offences in a project made of these files. */
async function offences(files: Record<string, string>): Promise<string[]> {
  const root = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      join(root, "deno.json"),
      `{"nodeModulesDir":"none"}`,
    );
    for (const [name, text] of Object.entries(files)) {
      await Deno.mkdir(dirname(join(root, name)), { recursive: true });
      await Deno.writeTextFile(join(root, name), text);
    }
    return await checkImports(root);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("checkImports() accepts imports that follow the order", async () => {
  assert.deepEqual(
    await offences({
      "lib/base/a.ts": "export const a = 1;",
      "lib/cert/b.ts": `import { a } from "../base/a.ts"; export const b = a;`,
      "lib/auth/c.ts": `export { b } from "../cert/b.ts";`,
      "cmd/tsh/main.ts": `await import("../../lib/auth/c.ts");`,
    }),
    [],
  );
});

Deno.test("checkImports() names file, line and reason of an import against the order", async () => {
  assert.deepEqual(
    await offences({
      "lib/base/a.ts":
        `\n// import "../cert/no.ts";\nimport { b } from "../cert/b.ts";\nexport { b };`,
      "lib/cert/b.ts": "export const b = 1;",
    }),
    ["lib/base/a.ts:3: lib/base must not import lib/cert (allowed: none)"],
  );
});

Deno.test("checkImports() refuses imports of auth and storage by what runs elsewhere, types and late imports too", async () => {
  const found = await offences({
    "lib/auth/service.ts": "export type Service = string;",
    "lib/storage/memory.ts": "export const memory = 1;",
    "lib/node/server.ts":
      `import type { Service } from "../auth/service.ts"; export type S = Service;`,
    "lib/proxy/server.ts": `export const m = () => import("../storage/memory.ts");`,
  });
  assert.equal(found.length, 2);
  assert.match(found[0] ?? "", /^lib\/node\/server\.ts:1: lib\/node must not import lib\/auth /);
  assert.match(
    found[1] ?? "",
    /^lib\/proxy\/server\.ts:1: lib\/proxy must not import lib\/storage /,
  );
});

Deno.test("checkImports() shows the whole circle of a circular import", async () => {
  assert.deepEqual(
    await offences({
      "lib/base/a.ts": `import "./b.ts";`,
      "lib/base/b.ts": `import "./c.ts";`,
      "lib/base/c.ts": `\nimport "./a.ts";`,
    }),
    [
      "lib/base/c.ts:2: circular import: lib/base/a.ts → lib/base/b.ts → lib/base/c.ts → lib/base/a.ts",
    ],
  );
});

Deno.test("checkImports() counts a circle through types, but none through import()", async () => {
  const throughTypes = await offences({
    "lib/base/a.ts": `import type { B } from "./b.ts"; export type A = B;`,
    "lib/base/b.ts": `import type { A } from "./a.ts"; export type B = A;`,
  });
  assert.equal(throughTypes.length, 1);
  assert.match(throughTypes[0] ?? "", /circular import/);
  assert.deepEqual(
    await offences({
      "lib/base/a.ts": `export const b = () => import("./b.ts");`,
      "lib/base/b.ts": `import { b } from "./a.ts"; export { b };`,
    }),
    [],
  );
});

Deno.test("checkImports() refuses a package outside the module that owns it", async () => {
  const found = await offences({
    "lib/proxy/front.ts": `import ssh2 from "ssh2"; export { ssh2 };`,
    "lib/base/net.ts": `import ip from "ipaddr.js"; export { ip };`,
    "lib/base/other.ts": `import ip from "ipaddr.js"; export { ip };`,
    "lib/node/pad.ts": `import pad from "left-pad"; export { pad };`,
    "lib/node/fetch.ts": `import pad from "https://example.com/pad.ts"; export { pad };`,
    "lib/node/sock.ts": `import net from "node:net"; export { net };`,
    "lib/node/any_test.ts":
      `import fc from "fast-check"; import ssh2 from "ssh2"; export { fc, ssh2 };`,
  });
  assert.deepEqual(found, [
    `lib/base/other.ts:1: npm package "ipaddr.js" is owned by lib/base/net.ts: use what that exports`,
    `lib/node/fetch.ts:1: "https://example.com/pad.ts": packages are imported by the bare names pinned in deno.json`,
    `lib/node/pad.ts:1: npm package "left-pad" has no owner yet: name its one module in scripts/check_imports.ts`,
    `lib/node/sock.ts:1: node:net is not to be used: use Deno.listen and Deno.connect`,
    `lib/proxy/front.ts:1: npm package "ssh2" is owned by lib/ssh/: use what that exports`,
  ]);
});

Deno.test("checkImports() refuses test code in a program, and lib/ that builds on cmd/", async () => {
  assert.deepEqual(
    await offences({
      "lib/base/a_test.ts": "export const helper = 1;",
      "lib/base/a.ts": `import { helper } from "./a_test.ts"; export { helper };`,
      "lib/cli/b.ts": `import { run } from "../../cmd/tsh/main.ts"; export { run };`,
      "cmd/tsh/main.ts": "export const run = 1;",
      "cmd/tctl/main.ts": `import { run } from "../tsh/main.ts"; export { run };`,
    }),
    [
      "cmd/tctl/main.ts:1: cmd/tctl imports cmd/tsh/main.ts: a program imports only itself and lib/",
      "lib/base/a.ts:1: program code imports test code lib/base/a_test.ts",
      "lib/cli/b.ts:1: lib/ imports cmd/tsh/main.ts: lib/ imports only lib/",
    ],
  );
});

Deno.test("checkImports() names a module that has no place in the order, and a file that is missing", async () => {
  const found = await offences({
    "lib/brandnew/a.ts": `import "../base/b.ts";`,
    "lib/base/b.ts": `import "./gone.ts";`,
  });
  assert.equal(found.length, 2);
  assert.match(found[0] ?? "", /^lib\/base\/gone\.ts:1: Module not found/);
  assert.match(
    found[1] ?? "",
    /^lib\/brandnew\/a\.ts:1: lib\/brandnew has no place in the import order yet/,
  );
});
