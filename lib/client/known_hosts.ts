/**
 * `~/.tsh/known_hosts`: which keys the user believes. Host CAs stand as `@cert-authority` lines, so
 * that stock ssh can use the file; hosts without a certificate that the user accepted stand as
 * plain lines.
 */
import { equalKeys, type PublicKey } from "../sshwire/keys.ts";
import {
  formatCertAuthorityLine,
  formatKnownHostLine,
  type KnownHost,
  matchHost,
  parseKnownHosts,
} from "../sshwire/known_hosts.ts";
import type { Profile } from "./profile.ts";

type Owner = Pick<Profile, "name" | "cluster">;

/** The host CA keys of a profile's cluster, as told by its own proxy and no other. */
export function readHostAuthorities(text: string, profile: Owner): PublicKey[] {
  return parseKnownHosts(text).filter((entry) => isOf(entry, profile)).map((entry) => entry.key);
}

/** Replaces the lines of a profile's cluster; all others stay as they are. */
export function replaceHostAuthorities(
  text: string,
  profile: Owner & Pick<Profile, "ssh">,
  keys: readonly PublicKey[],
): string {
  const kept = text.split("\n").filter((line) =>
    line.trim() !== "" && !parseKnownHosts(line).some((entry) => isOf(entry, profile))
  );
  // Stock ssh looks a host on another port than 22 up as "[host]:port".
  const { host, port } = profile.ssh;
  const patterns = [`*.${profile.cluster}`, host, ...(port === 22 ? [] : [`[${host}]:${port}`])];
  const lines = keys.map((key) =>
    formatCertAuthorityLine(patterns, key, `type=host ${ownerMark(profile)}`)
  );
  return [...kept, ...lines].map((line) => `${line}\n`).join("");
}

/** Whether a key without a certificate was accepted for a host before, or another one was. */
export function lookUpPlainKey(
  text: string,
  host: string,
  port: number,
  key: PublicKey,
): "known" | "different" | "unknown" {
  const entries = parseKnownHosts(text).filter((entry) =>
    entry.marker === undefined && matchHost(entry, host, port)
  );
  if (entries.some((entry) => equalKeys(entry.key, key))) return "known";
  return entries.some((entry) => entry.key.type === key.type) ? "different" : "unknown";
}

/** A line that makes a plain key known for a host. */
export function formatPlainKey(host: string, port: number, key: PublicKey): string {
  return formatKnownHostLine([port === 22 ? host : `[${host}]:${port}`], key);
}

function isOf(entry: KnownHost, profile: Owner): boolean {
  return entry.marker === "cert-authority" && entry.patterns.includes(`*.${profile.cluster}`) &&
    entry.comment.split(" ").includes(ownerMark(profile));
}

/** Two proxies may name their clusters alike: a CA is believed only for the one that told it. */
function ownerMark(profile: Owner): string {
  return `proxy=${profile.name}`;
}
