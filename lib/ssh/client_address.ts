/**
 * The line by which a proxy tells a node whose connection it relays: `Teleport-Proxy{…}` and a NUL,
 * before anything of SSH. It is not authenticated: a server believes it from known proxies only.
 */
import { Buffer } from "node:buffer";
import { formatAddr, isIpAddress, normalizeIp, parseAddr } from "../base/net.ts";
import { BadParameter } from "../base/errors.ts";

export interface PeerAddress {
  host: string;
  port: number;
}

const prefix = "Teleport-Proxy";
const maxLine = 1024;

/** What a proxy writes first on a connection to a node. */
export function clientAddressLine(client: PeerAddress): Uint8Array {
  return Buffer.from(`${prefix}${JSON.stringify({ clientAddr: formatAddr(client) })}\0`);
}

/** What the first bytes of a connection are. */
export type FirstBytes =
  | { kind: "incomplete" }
  | { kind: "none" }
  | { kind: "address"; claimed: PeerAddress; rest: Buffer };

/** @throws BadParameter for a line that is too long or malformed */
export function readClientAddress(bytes: Buffer): FirstBytes {
  const start = bytes.subarray(0, prefix.length).toString("latin1");
  if (!prefix.startsWith(start)) return { kind: "none" };
  const end = bytes.indexOf(0);
  if (end > maxLine || (end < 0 && bytes.length > maxLine)) {
    throw new BadParameter("The client address line is too long");
  }
  if (end < 0) return { kind: "incomplete" };
  const claimed = parseLine(bytes.subarray(prefix.length, end).toString());
  return { kind: "address", claimed, rest: bytes.subarray(end + 1) };
}

function parseLine(json: string): PeerAddress {
  let address: unknown;
  try {
    address = (JSON.parse(json) as { clientAddr?: unknown } | null)?.clientAddr;
  } catch (cause) {
    throw new BadParameter("Malformed client address line", { cause });
  }
  if (typeof address !== "string") throw new BadParameter("Malformed client address line");
  const { host, port } = parseAddr(address);
  if (!isIpAddress(host)) throw new BadParameter("Malformed client address line");
  return { host: normalizeIp(host), port };
}
