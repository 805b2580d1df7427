/** Arguments of scp, and patterns in remote paths. Pure. */
import { BadParameter } from "../base/errors.ts";
import { parseTarget } from "./target.ts";

export interface ScpPath {
  /** Absent for a path of this computer. */
  remote?: { login?: string; host: string };
  path: string;
}

/**
 * `[user@]host:path`, or a path of this computer when no colon stands before the first slash.
 * @throws BadParameter
 */
export function parseScpPath(text: string): ScpPath {
  const match = /^((?:[^/:[\]]+@)?(?:\[[^\]/]+\]|[^/:[\]@]+)):(.*)$/s.exec(text);
  const [, target, path] = match ?? [];
  if (target === undefined || path === undefined) {
    if (text === "") throw new BadParameter("An empty path cannot be copied");
    return { path: text };
  }
  const parsed = parseTarget(target);
  if (parsed.labels !== undefined) {
    throw new BadParameter(
      `${JSON.stringify(target)} is a label selector: scp copies to and from one node at a time`,
    );
  }
  const { host, login } = parsed;
  return { remote: { host, ...(login === undefined ? {} : { login }) }, path: remotePath(path) };
}

/** SFTP starts in the home directory; a server need not know "~". */
function remotePath(path: string): string {
  if (path.includes("\0")) throw new BadParameter("A path cannot hold a zero byte");
  if (path === "" || path === "~" || path === "~/") return ".";
  return path.startsWith("~/") ? path.slice(2) : path;
}

/** The last part of a path, undefined when it has none of its own ("/", ".", ".."). */
export function baseName(path: string): string | undefined {
  const name = path.replace(/\/+$/, "").split("/").at(-1) ?? "";
  return name === "" || name === "." || name === ".." ? undefined : name;
}

export function joinPath(dir: string, name: string): string {
  return dir === "."
    ? (name.startsWith("-") ? `./${name}` : name)
    : `${dir.replace(/\/$/, "")}/${name}`;
}

/** Whether a name can only be an entry of its own directory. */
export function isEntryName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
}

export function hasPattern(path: string): boolean {
  return /[*?[]/.test(path);
}

/**
 * Whether a file's name matches a shell pattern: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before a
 * character that is meant. Hidden names need a pattern that begins with a dot. Takes at most
 * pattern × name steps.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  if (name.startsWith(".") && !pattern.startsWith(".")) return false;
  const parts = partsOf(pattern);
  const letters = [...name];
  let p = 0, n = 0, star = -1, resume = 0;
  while (n < letters.length) {
    const part = parts[p];
    if (part === "*") {
      star = p++;
      resume = n;
    } else if (part !== undefined && part(letters[n] ?? "")) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (parts[p] === "*") p++;
  return p === parts.length;
}

type Part = "*" | ((letter: string) => boolean);

function partsOf(pattern: string): Part[] {
  const parts: Part[] = [];
  const token = /\\(.)|\[(!|\^)?(\]?[^\]]*)\]|([^])/gsu;
  for (const [, escaped, not, set, plain] of pattern.matchAll(token)) {
    if (plain === "*") parts.push("*");
    else if (plain === "?") parts.push(() => true);
    else if (set !== undefined) {
      const has = setOf(set);
      parts.push((letter) => has(letter) !== (not !== undefined));
    } else {
      const wanted = escaped ?? plain;
      parts.push((letter) => letter === wanted);
    }
  }
  return parts;
}

function setOf(text: string): (letter: string) => boolean {
  const ranges = [...text.matchAll(/(.)-(.)|(.)/gsu)].map(([, from, to, one]) =>
    [from ?? one ?? "", to ?? one ?? ""] as const
  );
  return (letter) => ranges.some(([from, to]) => from <= letter && letter <= to);
}
