/** Addresses: "host:port" in both directions, and CIDR ranges. */
import ipaddr from "ipaddr.js";
import { BadParameter } from "./errors.ts";

export interface HostPort {
  /** A name or an address, without brackets. */
  host: string;
  port: number;
}

/**
 * "host:port", "[::1]:port", and with `defaultPort` also "host" and "::1".
 * @throws BadParameter
 */
export function parseAddr(text: string, defaultPort?: number): HostPort {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text);
  const plain = /^([^:[\]]*)(?::(\d{1,5}))?$/.exec(text);
  const [host, portText] = bracketed
    ? [bracketed[1], bracketed[2]]
    : plain
    ? [plain[1], plain[2]]
    : [text, undefined];
  const bareIpv6 = !bracketed && !plain;
  if (!host || ((bracketed || bareIpv6) ? !ipaddr.IPv6.isValid(host) : !isHostName(host))) {
    throw new BadParameter(`${quote(text)} is not an address: write it like host:3022`);
  }
  const port = portText === undefined ? defaultPort : Number(portText);
  if (port === undefined) {
    throw new BadParameter(`${quote(text)} lacks a port: write it like ${quoteless(host)}:3022`);
  }
  if (port > 65_535) throw new BadParameter(`${quote(text)} has a port above 65535`);
  return { host, port };
}

/** "host:port", IPv6 addresses in brackets. */
export function formatAddr({ host, port }: HostPort): string {
  return `${quoteless(host)}:${port}`;
}

/** IPv4 in four decimal parts, or IPv6. */
export function isIpAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text);
}

/**
 * The one form of an address that comparisons use: IPv4-mapped IPv6 becomes IPv4, IPv6 is
 * compressed and in lower case, a zone is kept.
 * @throws BadParameter
 */
export function normalizeIp(text: string): string {
  return parseIp(text).toString();
}

/**
 * Whether `cidr` ("10.0.0.0/8", "2001:db8::/32", or one address) contains `ip`.
 * @throws BadParameter for a malformed range (host bits set included) or address
 */
export function cidrContains(cidr: string, ip: string): boolean {
  const [range, bits] = parseCidr(cidr);
  const address = parseIp(ip);
  if (address instanceof ipaddr.IPv4) {
    return range instanceof ipaddr.IPv4 && address.match(range, bits);
  }
  return range instanceof ipaddr.IPv6 && address.match(range, bits);
}

/** @throws BadParameter */
export function assertCidr(cidr: string): void {
  parseCidr(cidr);
}

function parseCidr(cidr: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const [addressText = "", bitsText, ...more] = cidr.split("/");
  const raw = parseRawIp(addressText);
  const address = unmap(raw);
  const width = address.kind() === "ipv4" ? 32 : 128;
  if (bitsText === undefined) return [address, width];
  // A mapped range counts its bits in IPv6.
  const bits = Number(bitsText) - (raw.kind() === "ipv6" && width === 32 ? 96 : 0);
  if (more.length > 0 || !/^\d{1,3}$/.test(bitsText) || bits < 0 || bits > width) {
    throw new BadParameter(`${quote(cidr)} is not an address range: write it like 10.0.0.0/8`);
  }
  if (hasHostBits(address.toByteArray(), bits)) {
    throw new BadParameter(
      `${quote(cidr)} is not an address range: bits are set after /${bitsText}`,
    );
  }
  return [address, bits];
}

function parseIp(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  return unmap(parseRawIp(text));
}

function parseRawIp(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  // ipaddr.js also reads "010.1" and "0x7f000001", which others read differently.
  if (!isIpAddress(text)) throw new BadParameter(`${quote(text)} is not an IP address`);
  return ipaddr.parse(text);
}

function unmap(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()
    ? address.toIPv4Address()
    : address;
}

function hasHostBits(bytes: number[], bits: number): boolean {
  return bytes.some((byte, i) => (byte & (0xff >> Math.min(8, Math.max(0, bits - i * 8)))) !== 0);
}

function isHostName(text: string): boolean {
  return text.length <= 253 && /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(text);
}

function quoteless(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 255));
}
