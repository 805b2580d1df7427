/**
 * From "this account wants a shell, or a command" to the program that is started: as which user,
 * in which directory, under which name.
 *
 * A daemon that runs as root becomes another user by setpriv(1), which replaces itself by the
 * program: the process number, the exit status and the signals are the program's own. The groups
 * are given to it as numbers, because it would look them up by uid, and two names can share one.
 */
import { AccessDenied, InternalError } from "../../base/errors.ts";
import { check, cString, libc } from "../os/libc.ts";
import { canSetDirectory } from "../os/spawn.ts";
import type { OsUser } from "./os_user.ts";

export type Program =
  /** The login shell, by the name with a dash that makes it one. */
  | { readonly kind: "shell" }
  /** `$SHELL -c command`. */
  | { readonly kind: "command"; readonly command: string }
  /** A program of ours, without a shell in between; the first word is its absolute path. */
  | { readonly kind: "argv"; readonly argv: readonly [string, ...string[]] };

export interface Launch {
  /** Absolute path. */
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** The user that this process is. */
export interface OwnUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

export function ownUser(): OwnUser {
  const count = check(libc().getgroups(0, new Uint8Array(4)), "getgroups");
  const groups = new Uint32Array(count);
  if (count > 0) check(libc().getgroups(count, new Uint8Array(groups.buffer)), "getgroups");
  return { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0, groups: [...groups] };
}

/**
 * @throws AccessDenied when this process may not become that user
 * @throws InternalError when the system has no setpriv
 */
export function planLaunch(
  user: OsUser,
  program: Program,
  env: Readonly<Record<string, string>>,
  own: OwnUser = ownUser(),
): Launch {
  const change = changesUser(user, own);
  const enter = canEnter(user, user.home);
  const words = programWords(user, program);
  const needsName = change && program.kind === "shell";
  const base = { env, cwd: enter ? user.home : "/" };
  if (!change && enter) return { ...base, path: words.path, argv: words.argv };
  // What is left of the preparation happens after the change of user, in a few lines of shell.
  const inner = enter && !needsName
    ? [words.path, ...words.argv.slice(1)]
    : prepare(user, words, { cd: !enter, rename: needsName });
  return change ? { ...base, ...setpriv(user, inner) } : { ...base, path: inner[0]!, argv: inner };
}

/** @throws AccessDenied when an unprivileged daemon is asked for somebody else */
function changesUser(user: OsUser, own: OwnUser): boolean {
  if (own.uid !== 0) {
    if (user.uid === own.uid) return false;
    throw new AccessDenied(
      `this node does not run as root, so it only serves the operating-system user it runs as ` +
        `(uid ${own.uid}), not "${user.name}"`,
    );
  }
  return user.uid !== 0 || user.gid !== own.gid || !sameGroups(user.groups, own.groups, own.gid);
}

function sameGroups(a: readonly number[], b: readonly number[], gid: number): boolean {
  const [x, y] = [new Set([...a, gid]), new Set([...b, gid])];
  return x.size === y.size && [...x].every((group) => y.has(group));
}

interface Words {
  readonly path: string;
  readonly argv: readonly string[];
}

function programWords(user: OsUser, program: Program): Words {
  switch (program.kind) {
    case "shell":
      return { path: user.shell, argv: [`-${baseName(user.shell)}`] };
    case "command":
      return { path: user.shell, argv: [baseName(user.shell), "-c", program.command] };
    case "argv":
      return { path: program.argv[0], argv: program.argv };
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv"];

function setpriv(user: OsUser, inner: readonly string[]): Pick<Launch, "path" | "argv"> {
  const path = SETPRIV.find(exists);
  if (!path) {
    throw new InternalError(
      "setpriv is missing, so this node cannot change to another user; install util-linux",
    );
  }
  const groups = user.groups.length > 0 ? `--groups=${user.groups.join(",")}` : "--clear-groups";
  return {
    path,
    argv: [
      "setpriv",
      `--reuid=${user.uid}`,
      `--regid=${user.gid}`,
      groups,
      "--inh-caps=-all",
      "--",
      ...inner,
    ],
  };
}

/** Goes home, or to "/" with a word about it. OLDPWD and _ would be left over from here. */
const CD = 'cd -- "$1" 2>/dev/null || { echo "Could not chdir to home directory $1" >&2; cd /; }; ';
const FORGET = "unset OLDPWD SHLVL _; ";

/**
 * Some lines of shell that change the directory by the user's own right and give the shell its
 * name with a dash, then replace themselves. Where no shell at hand can do the latter, a login
 * shell is asked for by the flag that all of them know.
 */
function prepare(user: OsUser, words: Words, o: { cd: boolean; rename: boolean }): string[] {
  const cd = o.cd ? CD : "";
  if (!o.rename) {
    const script = `${cd}${FORGET}shift; exec "$@"`;
    return ["/bin/sh", "-c", script, "sh", user.home, words.path, ...words.argv.slice(1)];
  }
  const bash = BASH.find(exists);
  if (bash) {
    // -p: no start-up file, no function and no option from the environment.
    const script = `${cd}${FORGET}exec -a "$2" "$3"`;
    return [bash, "-p", "-c", script, "bash", user.home, words.argv[0]!, words.path];
  }
  const script = `${cd}${FORGET}exec "$2" -l`;
  return ["/bin/sh", "-c", script, "sh", user.home, words.path];
}

const BASH = ["/bin/bash", "/usr/bin/bash"];

function exists(path: string): boolean {
  return libc().access(cString(path), 0) === 0;
}

const X_OK = 1;

/**
 * Whether the user surely may enter a directory, and this process too. "Not surely" (access
 * lists, network file systems that do not trust root) leaves the attempt to the user's process.
 */
function canEnter(user: OsUser, directory: string): boolean {
  if (!directory.startsWith("/") || !canSetDirectory()) return false;
  if (libc().access(cString(directory), X_OK) !== 0) return false;
  if (user.uid === 0) return isDirectory(directory);
  try {
    const parts = directory.split("/").filter((part) => part !== "");
    for (let i = 0; i <= parts.length; i++) {
      const info = Deno.statSync("/" + parts.slice(0, i).join("/"));
      if (!info.isDirectory || !mayPass(user, info)) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function mayPass(user: OsUser, info: Deno.FileInfo): boolean {
  const mode = info.mode ?? 0;
  if (info.uid === user.uid) return (mode & 0o100) !== 0;
  if (info.gid === user.gid || user.groups.includes(info.gid ?? -1)) return (mode & 0o010) !== 0;
  return (mode & 0o001) !== 0;
}
