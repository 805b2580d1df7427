/**
 * Which hosts that are no nodes of the cluster the proxy may connect to.
 *
 * Everybody with a certificate can name a target, and the proxy stands where the client does not:
 * so what is decided on is the IP address that is dialled, after DNS, and addresses that lead back
 * into the proxy's own machine or to a cloud's metadata service are closed unless an entry opens
 * just them.
 */
import { BadParameter } from "../base/errors.ts";
import { assertCidr, cidrContains, isIpAddress, normalizeIp } from "../base/net.ts";

/** What is allowed when nothing is configured: SSH's port and Teleport's, on ordinary addresses. */
export const DEFAULT_TARGETS: readonly string[] = ["*:22", "*:3022"];

/** Closed, except to an entry that is such a range or lies within one. */
const CLOSED_RANGES: readonly string[] = [
  // This host, in every spelling the kernel understands.
  "0.0.0.0/8",
  "127.0.0.0/8",
  "::/128",
  "::1/128",
  // Addresses that carry an IPv4 address inside: they would be a way round the lines above.
  "::/96",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "2002::/16",
  "2001::/32",
  // Link-local, and with it the metadata services of most clouds.
  "169.254.0.0/16",
  "fe80::/10",
  // Metadata services elsewhere: EC2 by IPv6, Azure, Alibaba, Oracle.
  "fd00:ec2::254/128",
  "168.63.129.16/32",
  "100.100.100.200/32",
  "192.0.0.192/32",
  // Not one host.
  "224.0.0.0/4",
  "240.0.0.0/4",
  "ff00::/8",
];

/** Never a node's address, whatever a node says of itself. */
const NEVER_A_NODE: readonly string[] = CLOSED_RANGES.filter((range) =>
  !["127.0.0.0/8", "::1/128", "::/96"].includes(range)
);

interface Rule {
  /** An address or a range; undefined for a pattern of names. */
  readonly cidr?: string;
  readonly name?: RegExp;
  /** Undefined for any port. */
  readonly port?: number;
  /** A range that opens an address of the closed ones. */
  readonly opensClosed: boolean;
}

export class TargetPolicy {
  readonly #rules: readonly Rule[];

  /**
   * @param entries `host`, `*.example.com`, `10.0.0.0/8`, `2001:db8::/32`, each with `:port` if it
   * is for one port only; IPv6 with a port in brackets: `[2001:db8::/32]:22`
   * @throws BadParameter naming the entry that cannot be read
   */
  constructor(entries: readonly string[] = DEFAULT_TARGETS) {
    this.#rules = entries.map(parseRule);
  }

  /**
   * May the proxy connect to this address for somebody who typed this name?
   *
   * @param ip the address that is going to be dialled
   */
  allows(name: string, ip: string, port: number): boolean {
    const address = normalizeIp(ip);
    const closed = isClosed(address);
    return this.#rules.some((rule) => {
      if (rule.port !== undefined && rule.port !== port) return false;
      if (closed && !rule.opensClosed) return false;
      return rule.cidr ? cidrContains(rule.cidr, address) : rule.name!.test(name);
    });
  }
}

/** True for addresses that only an entry of their own opens. */
export function isClosed(ip: string): boolean {
  return CLOSED_RANGES.some((range) => cidrContains(range, ip));
}

/** True for an address that the proxy does not dial although a node claims it. */
export function isNeverANode(ip: string): boolean {
  return NEVER_A_NODE.some((range) => cidrContains(range, ip));
}

function parseRule(entry: string): Rule {
  const { host, port } = splitEntry(entry);
  const onPort = port === undefined ? {} : { port };
  if (isIpAddress(host) || host.includes("/")) {
    try {
      assertCidr(host);
    } catch (error) {
      throw new BadParameter(`unregistered_targets: "${entry}" is not an address or a range`, {
        cause: error,
      });
    }
    const opensClosed = CLOSED_RANGES.some((range) => contains(range, host));
    return { cidr: host, ...onPort, opensClosed };
  }
  if (!/^[a-z0-9*_.-]+$/i.test(host)) {
    throw new BadParameter(
      `unregistered_targets: "${entry}" is not a host, a pattern such as *.example.com, or a range`,
    );
  }
  const pattern = host.toLowerCase().split("*").map(escape).join(".*");
  return { name: new RegExp(`^${pattern}$`, "i"), ...onPort, opensClosed: false };
}

function splitEntry(entry: string): { host: string; port?: number } {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}|\*))?$/.exec(entry);
  const plain = /^([^:]+)(?::(\d{1,5}|\*))?$/.exec(entry);
  const parts = bracketed ?? plain;
  // More colons and no brackets: an IPv6 address or range without a port.
  if (!parts) return { host: entry };
  const port = parts[2];
  if (port === undefined || port === "*") return { host: parts[1]! };
  if (Number(port) < 1 || Number(port) > 65535) {
    throw new BadParameter(`unregistered_targets: "${entry}" has no valid port`);
  }
  return { host: parts[1]!, port: Number(port) };
}

/** Does the outer range contain all of the inner one? */
function contains(outer: string, inner: string): boolean {
  const [innerAddress = "", innerBits] = inner.split("/");
  if (innerAddress.includes(":") !== outer.includes(":")) return false;
  const width = innerAddress.includes(":") ? 128 : 32;
  const bits = innerBits === undefined ? width : Number(innerBits);
  return bits >= Number(outer.split("/")[1]) && cidrContains(outer, innerAddress);
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
