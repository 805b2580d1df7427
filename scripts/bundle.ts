/**
 * Bundles one program with esbuild into a bare directory that `deno compile` can embed whole.
 *
 * - Splitting: each `import()` becomes a chunk of its own, so that a verb loads only what it needs.
 * - Workers: `new Worker(new URL("./x_worker.ts", import.meta.url), …)` in any module bundles
 *   x_worker.ts as a program of its own under workers/, and the URL is rewritten to it.
 * - Parts of ssh2 that are never used are left out.
 * - libSQL's addon is copied beside the chunks and required by that name, instead of being looked up
 *   by platform in node_modules.
 */
import * as esbuild from "esbuild";
import { basename, dirname, join, resolve } from "node:path";
import { ScriptError } from "./progress.ts";

export interface Bundle {
  /** Relative paths of the files written, sorted; "main.js" is the program. */
  readonly files: string[];
  /** Those that `deno compile` has to be told of, because no import names them. */
  readonly included: string[];
  /** Source files that went in, relative to the working directory. */
  readonly inputs: string[];
}

/** Bundles `entry` into the empty directory `outDir`. */
export async function bundle(entry: string, outDir: string): Promise<Bundle> {
  const workers = new Map<string, string>();
  const addon: { path?: string } = {};
  const inputs = new Set<string>();
  const files: string[] = [];

  /** @param workersDir and the directory of the addon, both as seen from `to` */
  const emit = async (
    options: esbuild.BuildOptions,
    to: string,
    workersDir: string,
    addonDir: string,
  ) => {
    const plugins = [leftOutParts(), workerUrls(workers, workersDir), libsqlAddon(addon, addonDir)];
    const result = await esbuild.build({ ...common, ...options, plugins, outdir: to });
    for (const input of Object.keys(result.metafile?.inputs ?? {})) inputs.add(input);
    for (const file of result.outputFiles ?? []) {
      await Deno.mkdir(dirname(file.path), { recursive: true });
      await Deno.writeTextFile(file.path, withRequire(file.text));
      files.push(file.path.slice(outDir.length + 1));
    }
  };

  const split = { splitting: true, chunkNames: "[name]-[hash]" };
  await emit({ entryPoints: { main: entry }, ...split }, outDir, "./workers/", "./");
  // A worker may itself start workers: the map grows while it is walked.
  for (const [source, name] of workers) {
    await emit({ entryPoints: { [name]: source } }, join(outDir, "workers"), "./", "../");
  }
  const included = [...workers.values()].map((name) => `workers/${name}.js`);
  if (addon.path) {
    await Deno.copyFile(addon.path, join(outDir, "libsql.node"));
    included.push("libsql.node");
    files.push("libsql.node");
  }
  return { files: files.sort(), included: included.sort(), inputs: [...inputs].sort() };
}

/** Ends esbuild's service process; without it the script would not end. */
export async function stopBundler(): Promise<void> {
  await esbuild.stop();
}

const common: esbuild.BuildOptions = {
  bundle: true,
  write: false,
  metafile: true,
  platform: "node",
  format: "esm",
  target: "esnext",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "error",
};

/** What CommonJS packages take for granted, an ES module has to make for itself. */
function withRequire(code: string): string {
  let prologue = "";
  if (/\brequire\b/.test(code)) {
    prologue += `import{createRequire as __createRequire}from"node:module";`;
    prologue += `const require=__createRequire(import.meta.url);`;
  }
  if (/\b__dirname\b/.test(code)) prologue += `const __dirname=import.meta.dirname;`;
  return prologue + code;
}

/**
 * Parts of ssh2 that are never used here, by how their import ends: native code, which is not built
 * and which ssh2 does without; passphrases, because ssh2 gets no key files to read; ChaCha20-Poly1305
 * and compression, which are not offered. Loading them is a good part of a client's start.
 */
const leftOut: readonly [RegExp, string][] = [
  // ssh2 catches it; an Error would cost a stack trace at every start.
  [/^cpu-features$|sshcrypto\.node$/, "throw 0;"],
  [/^bcrypt-pbkdf$/, "module.exports = {};"],
  [/crypto\/poly1305\.js$/, "module.exports = async () => ({ _malloc() {}, cwrap() {} });"],
  [
    /^zlib$/,
    "module.exports = { createInflate: () => ({ _handle: {} }), constants: {} };",
  ],
];

function leftOutParts(): esbuild.Plugin {
  return {
    name: "left-out-parts",
    setup(build) {
      for (const [filter, contents] of leftOut) {
        build.onResolve({ filter }, ({ path, importer }) => {
          if (!/[/\\]ssh2[/\\]lib[/\\]/.test(importer)) return undefined;
          return { path, namespace: "left-out", pluginData: contents };
        });
      }
      build.onLoad({ filter: /.*/, namespace: "left-out" }, ({ pluginData }) => ({
        contents: pluginData as string,
        loader: "js",
      }));
    },
  };
}

const workerUrl = /new URL\(\s*"(\.{1,2}\/[^"]*_worker)\.ts"\s*,\s*import\.meta\.url\s*,?\s*\)/g;

/** `workers` is filled with absolute source path → name under workers/. */
function workerUrls(workers: Map<string, string>, workersDir: string): esbuild.Plugin {
  return {
    name: "worker-urls",
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, async (args) => {
        const source = await Deno.readTextFile(args.path);
        if (!source.includes("_worker.ts")) return undefined;
        const contents = source.replace(workerUrl, (_, path: string) => {
          const file = resolve(dirname(args.path), `${path}.ts`);
          const name = basename(file, ".ts");
          for (const [otherFile, otherName] of workers) {
            if (otherName === name && otherFile !== file) {
              throw new ScriptError(`two workers are named ${name}: ${otherFile} and ${file}`);
            }
          }
          workers.set(file, name);
          return `new URL("${workersDir}${name}.js", import.meta.url)`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}

function libsqlAddon(addon: { path?: string }, addonDir: string): esbuild.Plugin {
  return {
    name: "libsql-addon",
    setup(build) {
      build.onResolve({ filter: /^\.\/libsql\.node$/ }, () => ({
        path: `${addonDir}libsql.node`,
        external: true,
      }));
      build.onLoad({ filter: /\/node_modules\/libsql\/index\.js$/ }, async (args) => {
        addon.path = resolve(dirname(args.path), "../@libsql", addonPackage(), "index.node");
        const source = await Deno.readTextFile(args.path);
        const contents = source
          .replace(/function requireNative\(\) \{[\s\S]*?\n\}\n/, "")
          .replace("requireNative()", `require("./libsql.node")`)
          .replace(/const \{ load, currentTarget \} = .*\n/, "")
          .replace(/const \{ familySync, GLIBC, MUSL \} = .*\n/, "");
        if (/requireNative|familySync|currentTarget/.test(contents)) {
          throw new ScriptError(`${args.path} is not what the build knows how to patch`);
        }
        return { contents, loader: "js" };
      });
    },
  };
}

function addonPackage(): string {
  const name = { x86_64: "linux-x64-gnu", aarch64: "linux-arm64-gnu" }[Deno.build.arch];
  if (Deno.build.os !== "linux") throw new ScriptError("teleport is built on Linux only");
  return name;
}
