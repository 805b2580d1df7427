/**
 * The server's side of SOCKS 5 (RFC 1928, no authentication) and SOCKS 4 and 4a, as far as programs
 * need it to have connections made: CONNECT to a name, an IPv4 or an IPv6 address. Pure.
 */
import { Buffer } from "node:buffer";
import { concat } from "../../base/bytes.ts";
import { AccessDenied, messageOf, TeleportError } from "../../base/errors.ts";
import { type HostPort, normalizeIp } from "../../base/net.ts";

/** A client that is told why it gets no connection, in its own protocol where it has one. */
export class SocksRefusal extends TeleportError {
  readonly code = "bad_parameter";
  /** @param reply the last bytes that the client gets */
  constructor(message: string, readonly reply: Uint8Array = new Uint8Array(0)) {
    super(message);
  }
}

export interface SocksRequest {
  version: 4 | 5;
  to: HostPort;
  /** What the client has sent for the other end already. */
  rest: Buffer;
}

/** What to do after some bytes: answer with `reply`, then connect, or wait for more. */
export interface SocksStep {
  reply: Uint8Array;
  request?: SocksRequest | undefined;
}

const connectCommand = 1;
/** SOCKS 4 has no length in front of its texts. */
const maxText = 255;

/** Reads one client's handshake, however its bytes are cut. Never holds more than a request. */
export class SocksHandshake {
  #bytes: Buffer = Buffer.alloc(0);
  #greeted = false;

  /** @throws SocksRefusal */
  push(chunk: Uint8Array): SocksStep {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    let reply = new Uint8Array(0);
    if (this.#bytes[0] === 5 && !this.#greeted) {
      const greeting = readGreeting(this.#bytes);
      if (!greeting) return { reply };
      this.#bytes = this.#bytes.subarray(greeting.length);
      this.#greeted = true;
      reply = Uint8Array.of(5, 0);
    }
    try {
      return { reply, request: this.#readRequest() };
    } catch (e) {
      throw e instanceof SocksRefusal ? new SocksRefusal(e.message, concat(reply, e.reply)) : e;
    }
  }

  #readRequest(): SocksRequest | undefined {
    const [version] = this.#bytes;
    if (version === undefined) return undefined;
    const wanted = this.#greeted ? 5 : 4;
    if (version !== wanted) throw notSocks(this.#bytes);
    const found = wanted === 5 ? readRequest5(this.#bytes) : readRequest4(this.#bytes);
    if (!found) return undefined;
    // A copy: whoever gave the chunk may use its memory again.
    const rest = Buffer.from(this.#bytes.subarray(found.length));
    this.#bytes = Buffer.alloc(0);
    return { version: wanted, to: found.to, rest };
  }
}

/** Says that the connection is there. */
export function socksSuccess(version: 4 | 5): Uint8Array {
  return version === 5 ? reply5(0) : reply4(0x5a);
}

/** Says why there is no connection, as near as the protocol can. */
export function socksFailure(version: 4 | 5, error: unknown): Uint8Array {
  if (version === 4) return reply4(0x5b);
  if (error instanceof AccessDenied) return reply5(2);
  return reply5(/refused/i.test(messageOf(error)) ? 5 : 4);
}

interface Found {
  length: number;
  to: HostPort;
}

/** version, number of methods, methods */
function readGreeting(bytes: Buffer): { length: number } | undefined {
  const count = bytes[1];
  if (count === undefined || bytes.length < 2 + count) return undefined;
  if (!bytes.subarray(2, 2 + count).includes(0)) {
    throw new SocksRefusal(
      "it insists on a password, and none is needed here",
      Uint8Array.of(5, 0xff),
    );
  }
  return { length: 2 + count };
}

/** version, command, reserved, type of address, address, port */
function readRequest5(bytes: Buffer): Found | undefined {
  const [, command, , type] = bytes;
  if (type === undefined) return undefined;
  if (command !== connectCommand) {
    throw new SocksRefusal(`it asks for command ${command}, and only CONNECT is served`, reply5(7));
  }
  const start = type === 3 ? 5 : 4;
  const size = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? bytes[4] : -1;
  if (size === -1) throw new SocksRefusal(`addresses of type ${type} are unknown`, reply5(8));
  if (size === undefined || bytes.length < start + size + 2) return undefined;
  const address = bytes.subarray(start, start + size);
  const port = bytes.readUInt16BE(start + size);
  const host = type === 3 ? hostName(address) : ipAddress(address);
  if (host === undefined) {
    throw new SocksRefusal("the name that it asks for is no host's", reply5(1));
  }
  if (port === 0) throw new SocksRefusal("it asks for port 0", reply5(1));
  return { length: start + size + 2, to: { host, port } };
}

/** version, command, port, IPv4 address, user, NUL; 4a: the address 0.0.0.x, and a name, NUL */
function readRequest4(bytes: Buffer): Found | undefined {
  if (bytes.length < 8) return undefined;
  if (bytes[1] !== connectCommand) {
    throw new SocksRefusal(
      `it asks for command ${bytes[1]}, and only CONNECT is served`,
      reply4(0x5b),
    );
  }
  const afterUser = endOfText(bytes, 8);
  if (afterUser === undefined) return undefined;
  const port = bytes.readUInt16BE(2);
  if (port === 0) throw new SocksRefusal("it asks for port 0", reply4(0x5b));
  const address = bytes.subarray(4, 8);
  const hasName = address.readUInt32BE(0) < 256 && address[3] !== 0;
  if (!hasName) return { length: afterUser, to: { host: ipAddress(address), port } };
  const afterName = endOfText(bytes, afterUser);
  if (afterName === undefined) return undefined;
  const host = hostName(bytes.subarray(afterUser, afterName - 1));
  if (host === undefined) {
    throw new SocksRefusal("the name that it asks for is no host's", reply4(0x5b));
  }
  return { length: afterName, to: { host, port } };
}

/** The place after the NUL that ends a text; undefined when it has not come yet. */
function endOfText(bytes: Buffer, start: number): number | undefined {
  const end = bytes.indexOf(0, start);
  const length = (end < 0 ? bytes.length : end) - start;
  if (length > maxText) throw new SocksRefusal("it sends a text that is too long", reply4(0x5b));
  return end < 0 ? undefined : end + 1;
}

/** A name of DNS, or an address that a client has put in its place; undefined for all else. */
function hostName(bytes: Buffer): string | undefined {
  const text = bytes.toString("latin1").replace(/^\[(.*)\]$/, "$1");
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(text)) return text;
  try {
    return text.includes(":") ? normalizeIp(text) : undefined;
  } catch {
    return undefined;
  }
}

function ipAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(i).toString(16));
  return normalizeIp(groups.join(":"));
}

/** The bound address is of no use to a client of CONNECT: it is given as 0.0.0.0:0. */
function reply5(code: number): Uint8Array {
  return Uint8Array.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0);
}

function reply4(code: number): Uint8Array {
  return Uint8Array.of(0, code, 0, 0, 0, 0, 0, 0);
}

function notSocks(bytes: Buffer): SocksRefusal {
  const speaksHttp = /^[A-Z]{3,7}(?: |$)/.test(bytes.toString("latin1", 0, 8));
  return new SocksRefusal(
    speaksHttp
      ? "it speaks HTTP: this is a SOCKS proxy, set it as socks5h://… in the program"
      : `it speaks no SOCKS (its first byte is ${bytes[0]})`,
  );
}
