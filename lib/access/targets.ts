/**
 * Which hosts outside of the cluster the proxy may dial for a user
 * (`proxy_service.unregistered_targets`).
 *
 * A pattern is a host name with `*`, an address or an address range, each with an optional port
 * (`*` for any): `*:22`, `*.example.com`, `10.0.0.0/8:22`, `[2001:db8::/32]:22`. Addresses of the proxy's own
 * machine, of its link and of cloud metadata services are special: only an address or a range
 * that lies wholly inside such a special range opens them, never a name and never `0.0.0.0/0`.
 */

import { BadParameter } from "../base/errors.ts";
import { assertCidr, cidrContains, isIpAddress } from "../base/net.ts";
import { matchesGlob } from "./glob.ts";

export interface Target {
  /** As the user named it. */
  host: string;
  /** What the name resolved to, and what will be dialled: no other one. */
  ip: string;
  port: number;
}

export const DEFAULT_UNREGISTERED_TARGETS: readonly string[] = ["*:22", "*:3022"];

type Pattern = { port?: number } & ({ cidr: string } | { host: string });

/** @throws BadParameter for a pattern that `targetAllowed()` could not use */
export function assertTargetPattern(pattern: string): void {
  parsePattern(pattern);
}

/** Whether one of the patterns allows the target. A malformed pattern or address allows nothing. */
export function targetAllowed(patterns: readonly string[], target: Target): boolean {
  try {
    const special = specialRanges.filter((range) => cidrContains(range, target.ip));
    return patterns.some((text) => matches(parsePattern(text), target, special));
  } catch (e) {
    if (e instanceof BadParameter) return false;
    throw e;
  }
}

function matches(pattern: Pattern, target: Target, special: string[]): boolean {
  if (pattern.port !== undefined && pattern.port !== target.port) return false;
  if ("host" in pattern) {
    const host = target.host.toLowerCase().replace(/\.$/, "");
    return special.length === 0 && matchesGlob(pattern.host, host);
  }
  return cidrContains(pattern.cidr, target.ip) &&
    (special.length === 0 || special.some((range) => rangeWithin(pattern.cidr, range)));
}

/** Whether the range `inner` is a part of the range `outer`. */
function rangeWithin(inner: string, outer: string): boolean {
  const [address = "", bits] = inner.split("/");
  const [outerAddress = "", outerBits = "0"] = outer.split("/");
  const sameFamily = address.includes(":") === outerAddress.includes(":");
  return sameFamily && cidrContains(outer, address) &&
    (bits === undefined || Number(bits) >= Number(outerBits));
}

function parsePattern(text: string): Pattern {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}|\*))?$/.exec(text);
  const plain = /^([^:[\]]+)(?::(\d{1,5}|\*))?$/.exec(text);
  const [, host = "", portText] = bracketed ?? plain ?? [];
  // IPv6 without brackets has no port.
  const subject = bracketed || plain ? host : text;
  const port = portText === undefined || portText === "*" ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65_535)) {
    throw new BadParameter(`${quote(text)}: a port is from 1 to 65535`);
  }
  const withPort = port === undefined ? {} : { port };
  if (subject.includes("/") || isIpAddress(subject)) {
    assertCidr(subject);
    return { cidr: subject, ...withPort };
  }
  if (bracketed || !/^[A-Za-z0-9_.*-]{1,253}$/.test(subject)) {
    throw new BadParameter(
      `${quote(text)} is no target: write it like *.example.com:22 or 10.0.0.0/8:22`,
    );
  }
  return { host: subject.toLowerCase(), ...withPort };
}

/** IPv4 is also reached through its IPv6 forms: NAT64 (RFC 6052) and 6to4 (RFC 3056). */
const specialRanges = [
  // "This" network, loopback, link-local (with the metadata address 169.254.169.254).
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  // Metadata and host agents of Alibaba, Azure, Oracle.
  "100.100.100.200/32",
  "168.63.129.16/32",
  "192.0.0.192/32",
  // Multicast, reserved, broadcast.
  "224.0.0.0/3",
  "::/96",
  "fe80::/10",
  "ff00::/8",
  // Metadata of AWS.
  "fd00:ec2::/32",
  "64:ff9b::/104",
  "64:ff9b::7f00:0/104",
  "64:ff9b::a9fe:0/112",
  "64:ff9b::6464:64c8/128",
  "64:ff9b::a83f:8110/128",
  "64:ff9b::c000:c0/128",
  "2002::/24",
  "2002:7f00::/24",
  "2002:a9fe::/32",
];

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
