import assert from "node:assert/strict";
import { join } from "node:path";
import { bundle, stopBundler } from "./bundle.ts";

/** Bundles a program made of these files and runs it; gives its output. */
async function bundledAndRun(files: Record<string, string>): Promise<{
  included: string[];
  written: string[];
  output: string;
}> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(dir, name), text);
    }
    const made = await bundle(join(dir, "main.ts"), join(dir, "out"));
    await Deno.writeTextFile(join(dir, "out", "deno.json"), `{"nodeModulesDir":"none"}`);
    const run = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "main.js"],
      cwd: join(dir, "out"),
    }).output();
    const output = new TextDecoder().decode(run.success ? run.stdout : run.stderr);
    return { included: made.included, written: made.files, output };
  } finally {
    await stopBundler();
    await Deno.remove(dir, { recursive: true });
  }
}

// esbuild's service process outlives the call that started it, up to stopBundler().
const options = { sanitizeOps: false, sanitizeResources: false };

Deno.test("bundle() makes a program of a worker and points the URL at it", options, async () => {
  const { included, output } = await bundledAndRun({
    "main.ts": `
      const worker = new Worker(new URL("./twice_worker.ts", import.meta.url), { type: "module" });
      worker.onmessage = (e: MessageEvent<number>) => { console.log(e.data); worker.terminate(); };
      worker.postMessage(21);`,
    "twice_worker.ts": `
      import { twice } from "./twice.ts";
      self.onmessage = (e: MessageEvent<number>) => self.postMessage(twice(e.data));`,
    "twice.ts": `export const twice = (n: number): number => 2 * n;`,
  });
  assert.deepEqual(included, ["workers/twice_worker.js"]);
  assert.equal(output, "42\n");
});

Deno.test("bundle() splits what import() loads into a file of its own", options, async () => {
  const { written, output } = await bundledAndRun({
    "main.ts": `const { late } = await import("./late.ts"); console.log(late);`,
    "late.ts": `export const late = "late";`,
  });
  assert.equal(written.filter((name) => /^late-\w+\.js$/.test(name)).length, 1);
  assert.equal(output, "late\n");
});

Deno.test("bundle() gives CommonJS modules require() and __dirname", options, async () => {
  const { output } = await bundledAndRun({
    "main.ts": `import common from "./common.cjs"; console.log(common.sep, common.dir);`,
    "common.cjs":
      `module.exports = { sep: require("path").sep, dir: __dirname.length > 0 ? "has a directory" : "" };`,
  });
  assert.equal(output, "/ has a directory\n");
});
