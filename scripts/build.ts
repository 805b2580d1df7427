/**
 * Builds bin/teleport, bin/tsh and bin/tctl.
 * Usage: scripts/build [--force] [teleport|tsh|tctl …]
 *
 * Bundles each program, then compiles it from a directory that holds nothing but the bundle. A program
 * whose sources, bundle and compile options are unchanged since the last build is left alone.
 */
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { type Bundle, bundle, stopBundler } from "./bundle.ts";
import { ensureDenort } from "./denort.ts";
import { elapsed, runScript, say, ScriptError } from "./progress.ts";

interface Program {
  readonly name: string;
  readonly flags: readonly string[];
  /** May hold libSQL's native addon: only the daemon keeps data. */
  readonly mayHoldAddon: boolean;
}

/**
 * The daemon calls libc, which is full trust. tsh opens /dev/tty to ask when its stdin is data, and
 * Deno opens devices only for programs that may do everything.
 */
const programs: readonly Program[] = [
  {
    name: "teleport",
    // V8 counts buffers as old space: with its small first limit, a relay would collect all the time.
    flags: ["--allow-all", "--unstable-net", "--v8-flags=--initial-old-space-size=64"],
    mayHoldAddon: true,
  },
  { name: "tsh", flags: ["--allow-all", "--deny-ffi", "--no-prompt"], mayHoldAddon: false },
  {
    name: "tctl",
    flags: [
      ...["--allow-read", "--allow-write", "--allow-env", "--allow-net", "--allow-run"],
      ...["--allow-sys", "--no-prompt"],
    ],
    mayHoldAddon: false,
  },
];

const root = resolve(import.meta.dirname ?? ".", "..");
const cacheDir = join(root, ".cache");
const buildDir = join(cacheDir, "build");
const binDir = join(root, "bin");

async function main(): Promise<number> {
  const force = Deno.args.includes("--force");
  const wanted = chosenPrograms(Deno.args.filter((arg) => arg !== "--force"));
  const started = performance.now();
  const sources = await hashOfSources();

  const stale: Program[] = [];
  for (const program of wanted) {
    if (force || !await isBuilt(program, "sources", hashed(sources, ...program.flags))) {
      stale.push(program);
    }
  }
  if (stale.length === 0) {
    say("build", `${wanted.map((p) => `bin/${p.name}`).join(", ")}: up to date`);
    return 0;
  }

  await Deno.mkdir(buildDir, { recursive: true });
  await Deno.mkdir(binDir, { recursive: true });
  const denort = await ensureDenort(cacheDir, (text) => say("build", text));
  const outcomes = await Promise.allSettled(stale.map(async (program) => {
    await build(program, denort, force);
    await mark(program, "sources", hashed(sources, ...program.flags));
  }));
  await stopBundler();
  const failures = outcomes.flatMap((o) => o.status === "rejected" ? [o.reason] : []);
  for (const failure of failures) {
    if (failure instanceof ScriptError) say("build", `error: ${failure.message}`);
    else throw failure;
  }
  if (failures.length > 0) return 1;
  say("build", `done in ${elapsed(performance.now() - started)}`);
  return 0;
}

function chosenPrograms(names: string[]): Program[] {
  if (names.length === 0) return [...programs];
  return names.map((name) => {
    const program = programs.find((p) => p.name === name);
    if (!program) {
      const known = programs.map((p) => p.name).join("|");
      throw new ScriptError(
        `unknown program "${name}". Usage: scripts/build [--force] [${known} …]`,
      );
    }
    return program;
  });
}

async function build(program: Program, denort: string | undefined, force: boolean): Promise<void> {
  const { name } = program;
  const started = performance.now();
  const entry = join(root, "cmd", name, "main.ts");
  await Deno.stat(entry).catch(() => {
    throw new ScriptError(`cmd/${name}/main.ts is missing`);
  });
  const dir = join(buildDir, name);
  await Deno.remove(dir, { recursive: true }).catch(ignoreMissing);
  await Deno.mkdir(dir, { recursive: true });

  const made = await bundle(entry, dir).catch((e: unknown) => {
    // esbuild has printed file, line and reason already.
    if (isBuildFailure(e)) throw new ScriptError(`cannot bundle ${name}: see the errors above`);
    throw e;
  });
  if (made.files.includes("libsql.node") && !program.mayHoldAddon) {
    throw new ScriptError(
      `${name} reaches lib/storage and with it libSQL's native addon: only teleport may`,
    );
  }
  const content = hashed(await hashOfBundle(dir, made), ...program.flags);
  if (!force && await isBuilt(program, "bundle", content)) {
    say("build", `bin/${name}: unchanged (${elapsed(performance.now() - started)})`);
    return;
  }
  say("build", `bin/${name}: bundled (${elapsed(performance.now() - started)}), compiling`);
  await compile(program, dir, made, denort);
  await mark(program, "bundle", content);
  const size = (await Deno.stat(join(binDir, name))).size;
  say(
    "build",
    `bin/${name}: ready, ${(size / 1e6).toFixed(0)} MB (${elapsed(performance.now() - started)})`,
  );
}

async function compile(
  program: Program,
  dir: string,
  made: Bundle,
  denort: string | undefined,
): Promise<void> {
  // Without a node_modules directory in reach only what the bundle imports is embedded.
  await Deno.writeTextFile(join(dir, "deno.json"), `{"nodeModulesDir":"none"}\n`);
  // Times are embedded too: without this, no two builds would be the same.
  for (const file of made.files) await Deno.utime(join(dir, file), 0, 0);
  const output = join(dir, "out", program.name);
  const result = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      "--no-check",
      "--no-lock",
      // Else the program would run cached code from $TMPDIR, whoever put it there.
      "--no-code-cache",
      ...program.flags,
      ...made.included.flatMap((file) => ["--include", file]),
      "--output",
      output,
      "main.js",
    ],
    cwd: dir,
    env: {
      RUST_MIN_STACK: "33554432",
      ...(denort ? { DENORT_BIN: denort } : {}),
    },
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!result.success) {
    await Deno.stderr.write(result.stderr);
    throw new ScriptError(`deno compile failed for ${program.name}: see the lines above`);
  }
  // A daemon that runs the old file keeps it.
  await Deno.rename(output, join(binDir, program.name));
}

/** One hash over everything that can change a bundle, tests left out. */
async function hashOfSources(): Promise<string> {
  const files = ["deno.json", "deno.lock"];
  for (const dir of ["cmd", "lib", "scripts"]) {
    files.push(...await filesBelow(join(root, dir), dir));
  }
  const hash = createHash("sha256");
  for (const file of files.filter((f) => !f.endsWith("_test.ts")).sort()) {
    hash.update(`${file}\0`).update(await Deno.readFile(join(root, file))).update("\0");
  }
  return hash.digest("hex");
}

async function hashOfBundle(dir: string, made: Bundle): Promise<string> {
  const hash = createHash("sha256");
  for (const file of made.files) {
    hash.update(`${file}\0`).update(await Deno.readFile(join(dir, file))).update("\0");
  }
  return hash.digest("hex");
}

async function filesBelow(path: string, name: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(path)) {
    if (entry.isDirectory) {
      files.push(...await filesBelow(join(path, entry.name), `${name}/${entry.name}`));
    } else if (entry.isFile) {
      files.push(`${name}/${entry.name}`);
    }
  }
  return files;
}

type Stage = "sources" | "bundle";

/** Whether the program in bin/ was made from exactly this content. */
async function isBuilt(program: Program, stage: Stage, content: string): Promise<boolean> {
  const [info, marked] = await Promise.all([
    Deno.stat(join(binDir, program.name)).catch(ignoreMissing),
    Deno.readTextFile(markPath(program, stage)).catch(ignoreMissing),
  ]);
  return info !== undefined && marked === `${content} ${info.size}\n`;
}

async function mark(program: Program, stage: Stage, content: string): Promise<void> {
  const info = await Deno.stat(join(binDir, program.name));
  await Deno.writeTextFile(markPath(program, stage), `${content} ${info.size}\n`);
}

function markPath(program: Program, stage: Stage): string {
  return join(buildDir, `${program.name}.${stage}`);
}

function hashed(...parts: string[]): string {
  return createHash("sha256").update([Deno.version.deno, ...parts].join("\0")).digest("hex");
}

function isBuildFailure(e: unknown): boolean {
  return e instanceof Error && "errors" in e && "warnings" in e;
}

function ignoreMissing(e: unknown): undefined {
  if (e instanceof Deno.errors.NotFound) return undefined;
  throw e;
}

await runScript("build", main);
