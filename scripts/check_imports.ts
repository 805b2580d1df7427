/**
 * Checks which module imports which: one-way directions between the modules of lib/, no circular
 * imports, each npm package imported only by the module that owns it. Prints one line per offence,
 * `file:line: why`, and exits with 1 when there is any.
 *
 * Usage: scripts/deno run -A scripts/check_imports.ts [directory]
 */
import { join, resolve } from "node:path";
import { type ImportEdge, readImports } from "./import_graph.ts";

/**
 * What a module of lib/ may import besides itself. The list has no cycle, and neither `auth` nor
 * `storage` can be reached from what runs on proxies, nodes and clients.
 */
const mayImport: Record<string, readonly string[]> = {
  base: [],
  sshwire: ["base"],
  cert: ["sshwire", "base"],
  resources: ["cert", "sshwire", "base"],
  access: ["resources", "cert", "sshwire", "base"],
  config: ["access", "resources", "cert", "sshwire", "base"],
  storage: ["config", "resources", "base"],
  audit: ["access", "resources", "cert", "sshwire", "base"],
  recording: ["audit", "resources", "base"],
  ssh: ["cert", "sshwire", "base"],
  api: ["ssh", "recording", "audit", "access", "resources", "cert", "sshwire", "base"],
  auth: [
    "api",
    "storage",
    "recording",
    "audit",
    "config",
    "access",
    "resources",
    "ssh",
    "cert",
    "sshwire",
    "base",
  ],
  host: [
    "recording",
    "api",
    "ssh",
    "audit",
    "config",
    "access",
    "resources",
    "cert",
    "sshwire",
    "base",
  ],
  tunnel: ["host", "api", "ssh", "audit", "access", "resources", "cert", "sshwire", "base"],
  proxy: [
    "tunnel",
    "host",
    "recording",
    "api",
    "ssh",
    "audit",
    "config",
    "access",
    "resources",
    "cert",
    "sshwire",
    "base",
  ],
  node: [
    "tunnel",
    "host",
    "recording",
    "api",
    "ssh",
    "audit",
    "config",
    "access",
    "resources",
    "cert",
    "sshwire",
    "base",
  ],
  client: [
    "tunnel",
    "recording",
    "api",
    "ssh",
    "audit",
    "access",
    "resources",
    "cert",
    "sshwire",
    "base",
  ],
  cli: ["resources", "base"],
};

/** npm package → the module (or the file) that owns it. Tests may use any. */
const owners: Record<string, readonly string[]> = {
  "ssh2": ["lib/ssh/"],
  "@types/ssh2": ["lib/ssh/"],
  "@peculiar/x509": ["lib/cert/"],
  "reflect-metadata": ["lib/cert/"],
  "otplib": ["lib/auth/"],
  "hash-wasm": ["lib/auth/"],
  "@libsql/client": ["lib/storage/"],
  "zod": ["lib/resources/", "lib/api/", "lib/config/", "lib/audit/", "lib/proxy/"],
  "yaml": ["lib/resources/yaml.ts"],
  "re2js": ["lib/access/"],
  "hono": ["lib/proxy/"],
  "commander": ["lib/cli/"],
  "@xterm/headless": ["lib/recording/"],
  "@xterm/addon-serialize": ["lib/recording/"],
  "cli-table3": ["lib/cli/"],
  "qrcode": ["lib/cli/"],
  "@types/qrcode": ["lib/cli/"],
  "ipaddr.js": ["lib/base/net.ts"],
  "esbuild": ["scripts/"],
};

/** Node's own modules that do not do on Deno 2.4.2 what they promise. */
const refusedBuiltins: Record<string, string> = {
  "node:net": "use Deno.listen and Deno.connect",
  "node:tls": "use Deno.listenTls and Deno.connectTls: client certificates are ignored by node:tls",
};

/** Offences as "file:line: why", in the order of files and lines. */
export async function checkImports(root: string): Promise<string[]> {
  const { edges, unreadable } = await readImports(root, ["cmd", "lib", "tests", "scripts"]);
  const offences = [
    ...unreadable.map(({ file, why }) => ({ file, line: 1, why })),
    ...edges.flatMap(offencesOf),
    ...circles(edges),
  ];
  return offences
    .sort((a, b) => a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)
    .map((o) => `${o.file}:${o.line}: ${o.why}`);
}

interface Offence {
  readonly file: string;
  readonly line: number;
  readonly why: string;
}

function offencesOf(edge: ImportEdge): Offence[] {
  const why = edge.target === undefined ? badPackage(edge) : badDirection(edge.file, edge.target);
  return why === undefined ? [] : [{ file: edge.file, line: edge.line, why }];
}

function badPackage({ file, specifier }: ImportEdge): string | undefined {
  if (specifier.startsWith("node:")) {
    const instead = refusedBuiltins[specifier];
    return instead && `${specifier} is not to be used: ${instead}`;
  }
  if (/^[a-z]+:/.test(specifier)) {
    return `"${specifier}": packages are imported by the bare names pinned in deno.json`;
  }
  if (isTest(file)) return undefined;
  const name = packageName(specifier);
  const places = owners[name];
  if (places === undefined) {
    return `npm package "${name}" has no owner yet: name its one module in scripts/check_imports.ts`;
  }
  if (places.some((place) => file.startsWith(place))) return undefined;
  return `npm package "${name}" is owned by ${places.join(", ")}: use what that exports`;
}

function badDirection(from: string, to: string): string | undefined {
  if (isTest(from)) return undefined;
  if (isTest(to)) return `program code imports test code ${to}`;
  const [fromTop, fromModule] = from.split("/", 2);
  const [toTop, toModule] = to.split("/", 2);
  if (fromTop === "scripts" && toTop === "scripts") return undefined;
  if (fromTop === "cmd") {
    if (toTop === "lib") return undefined;
    return toTop === "cmd" && toModule === fromModule
      ? undefined
      : `cmd/${fromModule} imports ${to}: a program imports only itself and lib/`;
  }
  if (fromTop !== "lib" || fromModule === undefined || toModule === undefined) {
    return `${fromTop}/ imports ${to}: only cmd/ and tests build on lib/`;
  }
  if (toTop !== "lib") return `lib/ imports ${to}: lib/ imports only lib/`;
  if (fromModule === toModule) return undefined;
  const allowed = mayImport[fromModule];
  if (allowed === undefined) {
    return `lib/${fromModule} has no place in the import order yet: give it one in scripts/check_imports.ts`;
  }
  if (allowed.includes(toModule)) return undefined;
  return `lib/${fromModule} must not import lib/${toModule} (allowed: ${
    allowed.join(", ") || "none"
  })`;
}

/** x_test.ts, and what tests share: testing.ts, test_x.ts, everything in tests/. */
function isTest(file: string): boolean {
  return file.startsWith("tests/") || /(^|[_/])(test|testing)\.ts$/.test(file) ||
    /\/test_[a-z0-9_]+\.ts$/.test(file) || file.includes("/testing/");
}

function packageName(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/**
 * One offence per circle of imports, at its first file by name. Imports of types count: two files that
 * need each other's types are one concept or lack a third. `import()` doesn't: it is how a
 * program loads its parts late.
 */
function circles(edges: ImportEdge[]): Offence[] {
  const next = new Map<string, ImportEdge[]>();
  for (const edge of edges) {
    if (edge.target === undefined || edge.dynamic || edge.target === edge.file) continue;
    next.set(edge.file, [...next.get(edge.file) ?? [], edge]);
  }
  const found: Offence[] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    if (finished.has(file)) return;
    path.push(file);
    for (const edge of next.get(file) ?? []) {
      const start = path.indexOf(edge.target ?? "");
      if (start < 0) visit(edge.target ?? "");
      else found.push(circle(path.slice(start), edge));
    }
    path.pop();
    finished.add(file);
  };
  for (const file of [...next.keys()].sort()) visit(file);
  return found;
}

function circle(files: string[], closing: ImportEdge): Offence {
  return {
    file: closing.file,
    line: closing.line,
    why: `circular import: ${[...files, files[0]].join(" → ")}`,
  };
}

if (import.meta.main) {
  const root = resolve(Deno.args[0] ?? join(import.meta.dirname ?? ".", ".."));
  const offences = await checkImports(root);
  for (const offence of offences) Deno.stdout.writeSync(new TextEncoder().encode(`${offence}\n`));
  Deno.exit(offences.length > 0 ? 1 : 0);
}
