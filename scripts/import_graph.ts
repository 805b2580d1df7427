/** Reads who imports whom from Deno's own parser (`deno info`), so that comments and strings do not mislead. */
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { ScriptError } from "./progress.ts";

export interface ImportEdge {
  /** The importing file, relative to the root. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly specifier: string;
  /** The imported file relative to the root; absent for packages and Node's own modules. */
  readonly target?: string;
  /** `import()` rather than an import statement. */
  readonly dynamic: boolean;
}

export interface ImportGraph {
  readonly edges: ImportEdge[];
  /** Files that are missing or cannot be parsed: their imports are unknown. */
  readonly unreadable: { readonly file: string; readonly why: string }[];
}

/** Every import of every TypeScript file in these directories of `root`. */
export async function readImports(root: string, dirs: readonly string[]): Promise<ImportGraph> {
  const files = (await Promise.all(dirs.map((dir) => sourcesBelow(join(root, dir))))).flat().sort();
  if (files.length === 0) return { edges: [], unreadable: [] };
  const graph = await denoInfo(root, files);
  const edges: ImportEdge[] = [];
  const unreadable: ImportGraph["unreadable"][number][] = [];
  for (const module of graph.modules) {
    const file = insideRoot(root, module.specifier);
    if (file === undefined) continue;
    if (module.error) unreadable.push({ file, why: module.error.split("\n", 1)[0] ?? "" });
    if (!files.includes(join(root, file))) continue;
    for (const dependency of module.dependencies ?? []) {
      const at = dependency.code ?? dependency.type;
      if (!at) continue;
      const target = at.specifier === undefined ? undefined : insideRoot(root, at.specifier);
      edges.push({
        file,
        line: at.span.start.line + 1,
        specifier: dependency.specifier,
        ...(target === undefined ? {} : { target }),
        dynamic: dependency.isDynamic ?? false,
      });
    }
  }
  return { edges, unreadable };
}

interface Info {
  modules: {
    specifier: string;
    error?: string;
    dependencies?: {
      specifier: string;
      isDynamic?: boolean;
      code?: InfoResolution;
      type?: InfoResolution;
    }[];
  }[];
}

interface InfoResolution {
  specifier?: string;
  span: { start: { line: number } };
}

/** `deno info` takes one module: a temporary one that imports all of them. */
async function denoInfo(root: string, files: string[]): Promise<Info> {
  const all = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const imports = files.map((file) => `import ${JSON.stringify(pathToFileURL(file).href)};\n`);
    await Deno.writeTextFile(all, imports.join(""));
    const result = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--no-remote", "--config", join(root, "deno.json"), all],
      cwd: root,
    }).output();
    if (!result.success) {
      throw new ScriptError(`deno info failed: ${new TextDecoder().decode(result.stderr)}`);
    }
    return JSON.parse(new TextDecoder().decode(result.stdout)) as Info;
  } finally {
    await Deno.remove(all);
  }
}

async function sourcesBelow(dir: string): Promise<string[]> {
  const files: string[] = [];
  let entries: Deno.DirEntry[];
  try {
    entries = await Array.fromAsync(Deno.readDir(dir));
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return [];
    throw e;
  }
  for (const entry of entries) {
    const path = join(dir, entry.name);
    if (entry.isDirectory) files.push(...await sourcesBelow(path));
    else if (entry.isFile && entry.name.endsWith(".ts")) files.push(path);
  }
  return files;
}

function insideRoot(root: string, specifier: string): string | undefined {
  const prefix = `${pathToFileURL(root).href}/`;
  if (!specifier.startsWith(prefix)) return undefined;
  const path = relative(root, decodeURIComponent(new URL(specifier).pathname));
  return path.startsWith("node_modules/") ? undefined : path;
}
