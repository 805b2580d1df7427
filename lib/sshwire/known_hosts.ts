/** known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), as far as trust in hosts needs them. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { concat, constantTimeEqual, fromBase64, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { formatAuthorizedKey, parseAuthorizedKey, type PublicKey } from "./keys.ts";

export interface KnownHost {
  /** With it the key is an authority's, or must never be accepted. */
  marker?: "cert-authority" | "revoked";
  /** Names with `*`, `?` and a leading `!`, or one hashed name (`|1|salt|hash`). */
  patterns: string[];
  key: PublicKey;
  comment: string;
}

const sshPort = 22;
const maxPattern = 1024;

/**
 * `@cert-authority *.main ssh-ed25519 AAAA… comment`, without a line feed.
 * @throws BadParameter when a pattern could be read as something else
 */
export function formatCertAuthorityLine(
  patterns: readonly string[],
  key: PublicKey,
  comment = "",
): string {
  return `@cert-authority ${formatKnownHostLine(patterns, key, comment)}`;
}

/**
 * `host,[host]:3022 ssh-ed25519 AAAA… comment`, without a line feed.
 * @throws BadParameter when a pattern could be read as something else
 */
export function formatKnownHostLine(
  patterns: readonly string[],
  key: PublicKey,
  comment = "",
): string {
  for (const pattern of patterns) {
    if (/^[^\s,#@|]\S*$/.test(pattern) && !pattern.includes(",")) continue;
    throw new BadParameter(`${JSON.stringify(pattern)} cannot be written into known_hosts`);
  }
  if (patterns.length === 0) throw new BadParameter("A known_hosts line needs a host");
  if (/[\r\n]/.test(comment)) throw new BadParameter("A comment in known_hosts is one line");
  return `${patterns.join(",")} ${formatAuthorizedKey(key, comment)}`;
}

/**
 * All lines that can be used. Comments, and lines with keys or markers that are not supported, are
 * left out, as OpenSSH does.
 */
export function parseKnownHosts(text: string): KnownHost[] {
  return text.split("\n").flatMap((line) => parseLine(line.trim()) ?? []);
}

function parseLine(line: string): KnownHost | undefined {
  if (line === "" || line.startsWith("#")) return undefined;
  const match = /^(?:@(\S+)\s+)?(\S+)\s+(\S.*)$/.exec(line);
  const [, marker, patterns, rest] = match ?? [];
  if (patterns === undefined || rest === undefined) return undefined;
  if (marker !== undefined && marker !== "cert-authority" && marker !== "revoked") return undefined;
  try {
    const { key, comment } = parseAuthorizedKey(rest);
    return { ...(marker ? { marker } : {}), patterns: patterns.split(","), key, comment };
  } catch (e) {
    if (e instanceof BadParameter) return undefined;
    throw e;
  }
}

/**
 * Whether a line is about `host` at `port`: some pattern matches and no negated one does. A port
 * other than 22 is looked up as `[host]:port`; lines with a marker hold for the host at every port.
 */
export function matchHost(entry: KnownHost, host: string, port: number): boolean {
  const name = host.toLowerCase();
  const names = port === sshPort ? [name] : [`[${name}]:${port}`];
  if (port !== sshPort && entry.marker) names.push(name);
  return names.some((each) => matchName(entry.patterns, each));
}

function matchName(patterns: readonly string[], name: string): boolean {
  let found = false;
  for (const pattern of patterns) {
    if (pattern.startsWith("!")) {
      if (matchPattern(pattern.slice(1), name)) return false;
    } else if (pattern.startsWith("|") ? matchHashed(pattern, name) : matchPattern(pattern, name)) {
      found = true;
    }
  }
  return found;
}

/** `*` stands for any run of characters, `?` for one. Takes at most pattern × name steps. */
function matchPattern(pattern: string, name: string): boolean {
  if (pattern.length > maxPattern) return false;
  const wanted = pattern.toLowerCase();
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    if (wanted[p] === "*") {
      star = p++;
      resume = n;
    } else if (p < wanted.length && (wanted[p] === "?" || wanted[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (wanted[p] === "*") p++;
  return p === wanted.length;
}

// |1|base64 of the salt|base64 of HMAC-SHA1(salt, name)
function matchHashed(pattern: string, name: string): boolean {
  const [, version, salt = "", hash = ""] = pattern.split("|");
  if (version !== "1") return false;
  try {
    return constantTimeEqual(hmacSha1(fromBase64(salt), utf8Encode(name)), fromBase64(hash));
  } catch {
    return false;
  }
}

/** RFC 2104, by hand: Deno's createHmac() prints a deprecation warning on the user's terminal. */
function hmacSha1(key: Uint8Array, data: Uint8Array): Uint8Array {
  const block = new Uint8Array(64);
  block.set(key.length > block.length ? sha1(key) : key);
  const inner = sha1(concat(block.map((byte) => byte ^ 0x36), data));
  return sha1(concat(block.map((byte) => byte ^ 0x5c), inner));
}

function sha1(data: Uint8Array): Buffer {
  return createHash("sha1").update(data).digest();
}
