/**
 * `~/.tsh` (or TELEPORT_HOME): one profile a proxy, and which of them is in use.
 *
 *   <proxy host>.yaml    where the proxy is, who is logged in there
 *   current-profile      one line: <proxy host>
 *   known_hosts, keys/   see keystore.ts
 */
import { BadParameter } from "../base/errors.ts";
import { formatAddr, type HostPort, parseAddr } from "../base/net.ts";
import { makePrivateDirectory, readTextIfThere, removeIfThere, writeFileAtomic } from "./files.ts";

export interface Profile {
  /** The proxy's host as the user typed it: the profile's name. */
  name: string;
  web: HostPort;
  ssh: HostPort;
  user: string;
  cluster: string;
}

/** The directory of the user's profiles. @throws BadParameter when there is no home directory */
export function profileDirectory(env: (name: string) => string | undefined = getEnv): string {
  const own = env("TELEPORT_HOME");
  if (own) return own.replace(/(.)\/+$/, "$1");
  const home = env("HOME");
  if (!home) throw new BadParameter("HOME is not set: set it, or TELEPORT_HOME, to a directory");
  return `${home}/.tsh`;
}

/** @throws BadParameter when the file cannot be understood */
export function readProfile(dir: string, name: string): Profile | undefined {
  const path = profilePath(dir, name);
  const text = readTextIfThere(path);
  return text === undefined ? undefined : parseProfile(name, text, path);
}

/** The profile in use, undefined when nobody is logged in anywhere. */
export function readCurrentProfile(dir: string): Profile | undefined {
  const name = readTextIfThere(`${dir}/current-profile`)?.trim();
  return name ? readProfile(dir, name) : undefined;
}

/** All profiles, by name; a file that cannot be understood is left out. */
export function readProfiles(dir: string): Profile[] {
  const names: string[] = [];
  try {
    for (const entry of Deno.readDirSync(dir)) {
      if (entry.isFile && entry.name.endsWith(".yaml")) names.push(entry.name.slice(0, -5));
    }
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
  return names.sort().flatMap((name) => {
    try {
      return readProfile(dir, name) ?? [];
    } catch {
      return [];
    }
  });
}

/** Writes a profile and makes it the one in use. */
export async function writeProfile(dir: string, profile: Profile): Promise<void> {
  await makePrivateDirectory(dir);
  await writeFileAtomic(profilePath(dir, profile.name), formatProfile(profile));
  await writeFileAtomic(`${dir}/current-profile`, `${profile.name}\n`);
}

export async function removeProfile(dir: string, name: string): Promise<void> {
  await removeIfThere(profilePath(dir, name));
  if (readTextIfThere(`${dir}/current-profile`)?.trim() === name) {
    await removeIfThere(`${dir}/current-profile`);
  }
}

/**
 * The file's format is the subset of YAML that one level of plain keys needs; reading it this way
 * spares each command the start of a YAML parser.
 */
export function formatProfile(profile: Profile): string {
  return [
    `web_proxy_addr: ${quote(formatAddr(profile.web))}`,
    `ssh_proxy_addr: ${quote(formatAddr(profile.ssh))}`,
    "auth_type: local",
    `user: ${quote(profile.user)}`,
    `cluster: ${quote(profile.cluster)}`,
    "",
  ].join("\n");
}

/** @throws BadParameter naming `path` and what is wrong in it */
export function parseProfile(name: string, text: string, path: string): Profile {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const [, key, value] = /^([a-z_]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) values.set(key, unquote(value));
  }
  const get = (key: string): string => {
    const value = values.get(key);
    if (value) return value;
    throw new BadParameter(
      `Cannot read the profile ${path}: it lacks ${key}; run \`tsh logout\`, then \`tsh login\``,
    );
  };
  return {
    name,
    web: parseAddr(get("web_proxy_addr")),
    ssh: parseAddr(get("ssh_proxy_addr")),
    user: get("user"),
    cluster: get("cluster"),
  };
}

function profilePath(dir: string, name: string): string {
  if (!/^[\w.:%-]+$/.test(name) || name.startsWith(".")) {
    throw new BadParameter(`${JSON.stringify(name)} cannot be the name of a profile`);
  }
  return `${dir}/${name}.yaml`;
}

function quote(text: string): string {
  return /^[\w][\w.-]*(?::\d+)?$/.test(text) ? text : JSON.stringify(text);
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text.replace(/^'(.*)'$/, "$1");
  try {
    return String(JSON.parse(text));
  } catch {
    return "";
  }
}

function getEnv(name: string): string | undefined {
  return Deno.env.get(name);
}
