/**
 * The environment of a session. It goes to the program in its environment only, never in an
 * argument list that everybody can see; on its way it passes through programs that still have
 * the daemon's rights, so what comes from outside is let in by a list.
 */
import type { OsUser } from "./os_user.ts";
import { loginPath } from "./login_defs.ts";

/** Names a client may set; besides these, LC_*. Listed in the README. */
const ACCEPTED = new Set([
  "LANG",
  "COLORTERM",
  "NO_COLOR",
  "TERM_PROGRAM",
  "TERM_PROGRAM_VERSION",
  "GIT_PROTOCOL",
]);
const MAX_VALUE = 1024;
/** How many a client may set. */
export const MAX_CLIENT_VARIABLES = 64;

/**
 * Whether a client's variable goes into the session. Locales with a path in them are refused: a
 * program that still is root could read its messages from there.
 */
export function acceptsClientVariable(name: string, value: string): boolean {
  if (!ACCEPTED.has(name) && !/^LC_[A-Z_]{1,32}$/.test(name)) return false;
  if (value.length > MAX_VALUE || hasControls(value)) return false;
  return !(name === "LANG" || name.startsWith("LC_")) || !value.includes("/");
}

function hasControls(value: string): boolean {
  // deno-lint-ignore no-control-regex
  return /[\x00-\x1f\x7f]/.test(value);
}

/**
 * Names that change what a program *is*: loaders, interpreters, shells, and what glibc itself
 * ignores in privileged programs (unsecvars.h).
 */
const FORBIDDEN =
  /^(LD_|DYLD_|GCONV_PATH$|GETCONF_DIR$|GLIBC_TUNABLES$|HOSTALIASES$|LANGUAGE$|LOCALDOMAIN$|LOCPATH$|MALLOC_|NIS_PATH$|NLSPATH$|RESOLV_|RES_OPTIONS$|TMPDIR$|TZDIR$|TZ$|BASH|ENV$|SHELLOPTS$|PS4$|IFS$|CDPATH$|GLOBIGNORE$|PATH$|HOME$|USER$|LOGNAME$|SHELL$|SSH_|TELEPORT_|NODE_|DENO_|NPM_|PYTHON|PERL|RUBY|JAVA_TOOL|_JAVA)/i;

const USER_FILE_LINES = 1000;

/**
 * The lines `NAME=VALUE` of ~/.tsh/environment, read where the node's configuration permits it
 * (`permit_user_env`). Comments and lines that are no assignment are skipped, as are names that
 * are forbidden.
 */
export function parseUserEnvironment(text: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const line of text.split("\n").slice(0, USER_FILE_LINES)) {
    const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (!match || FORBIDDEN.test(match[1]!) || hasControls(match[2]!)) continue;
    env[match[1]!] = match[2]!;
  }
  return env;
}

export interface SessionFacts {
  readonly sessionId: string;
  readonly hostId: string;
  readonly cluster: string;
  readonly teleportUser: string;
  readonly client: { readonly host: string; readonly port: number };
  readonly server: { readonly host: string; readonly port: number };
  /** Of the terminal, where there is one. */
  readonly term?: string;
  readonly tty?: string;
  /** "host:port" of the web proxy, where known. */
  readonly webProxyAddr?: string;
}

/** Later ones win, except that nothing from outside replaces what the node says of itself. */
export function sessionEnvironment(
  user: OsUser,
  facts: SessionFacts,
  fromClient: Readonly<Record<string, string>>,
  fromUserFile: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const { client, server } = facts;
  const timeZone = Deno.env.get("TZ");
  return {
    LANG: "en_US.UTF-8",
    ...fromClient,
    ...fromUserFile,
    ...(timeZone ? { TZ: timeZone } : {}),
    PATH: loginPath(user.uid),
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    SHELL: user.shell,
    SSH_CLIENT: `${client.host} ${client.port} ${server.port}`,
    SSH_CONNECTION: `${client.host} ${client.port} ${server.host} ${server.port}`,
    ...(facts.term ? { TERM: facts.term } : {}),
    ...(facts.tty ? { SSH_TTY: facts.tty } : {}),
    SSH_SESSION_ID: facts.sessionId,
    SSH_SESSION_WEBPROXY_ADDR: facts.webProxyAddr ?? "<proxyhost>:3080",
    SSH_TELEPORT_HOST_UUID: facts.hostId,
    SSH_TELEPORT_CLUSTER_NAME: facts.cluster,
    SSH_TELEPORT_USER: facts.teleportUser,
    SSH_TELEPORT_LOGIN: user.name,
    TELEPORT_SESSION: facts.sessionId,
  };
}
