/**
 * The certificates that a TLS server shows, without believing any of them.
 *
 * Deno tells a program nothing about a certificate that it does not trust, and a first use needs to
 * show its fingerprint. So this says the first message of TLS 1.2 (RFC 5246), in which certificates
 * travel in the clear, reads the server's answer up to its Certificate message, and hangs up. What
 * comes back is only ever a candidate: the connection that carries data is a real one, verified
 * against the authority that was chosen.
 */
import { concat, toBase64, utf8Encode } from "../base/bytes.ts";
import { BadParameter, ConnectionProblem, messageOf } from "../base/errors.ts";
import { formatAddr, type HostPort, isIpAddress } from "../base/net.ts";

const timeoutMs = 10_000;
const maxAnswer = 128 * 1024;
const maxCertificates = 16;

/**
 * The server's chain as PEM, its own certificate first.
 * @throws ConnectionProblem
 */
export async function fetchCertificateChain(address: HostPort): Promise<string[]> {
  const where = formatAddr(address);
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname: address.host, port: address.port });
  } catch (cause) {
    throw new ConnectionProblem(`Cannot connect to ${where}: ${messageOf(cause)}`, { cause });
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    conn.close();
  }, timeoutMs);
  try {
    const hello = clientHello(isIpAddress(address.host) ? undefined : address.host);
    for (let done = 0; done < hello.length;) done += await conn.write(hello.subarray(done));
    const chain = await readChain((buffer) => conn.read(buffer));
    return chain.map(pemOf);
  } catch (cause) {
    const why = late ? `no answer within ${timeoutMs / 1000} s` : messageOf(cause);
    throw new ConnectionProblem(`Cannot read the certificate of ${where}: ${why}`, { cause });
  } finally {
    clearTimeout(timer);
    if (!late) conn.close();
  }
}

/** Reads TLS records until the Certificate message is complete. Exported for tests. */
export async function readChain(
  read: (buffer: Uint8Array) => Promise<number | null>,
): Promise<Uint8Array[]> {
  const buffer = new Uint8Array(16 * 1024);
  let input: Uint8Array = new Uint8Array(0);
  for (;;) {
    const chain = certificatesIn(handshakeBytes(input));
    if (chain) return chain;
    if (input.length > maxAnswer) throw new BadParameter("the answer is too long");
    const n = await read(buffer);
    if (n === null) throw new BadParameter("the server hung up; is it an HTTPS server?");
    input = concat(input, buffer.subarray(0, n));
  }
}

// RFC 5246, 6.2.1: u8 type, u16 version, u16 length, fragment
function handshakeBytes(input: Uint8Array): Uint8Array {
  const fragments: Uint8Array[] = [];
  const alert = 21, handshake = 22;
  for (let at = 0; at + 5 <= input.length;) {
    const length = number(input, at + 3, 2);
    if (input[at] === alert) throw new BadParameter("the server refuses TLS 1.2");
    if (input[at] !== handshake || input[at + 1] !== 3 || length > 16_384) {
      throw new BadParameter("the server does not speak TLS; is it an HTTPS server?");
    }
    if (at + 5 + length > input.length) break;
    fragments.push(input.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return concat(...fragments);
}

// RFC 5246, 7.4: u8 type, u24 length, body; 7.4.2: u24 length of all, then u24 length and DER each
function certificatesIn(messages: Uint8Array): Uint8Array[] | undefined {
  const certificate = 11;
  for (let at = 0; at + 4 <= messages.length;) {
    const end = at + 4 + number(messages, at + 1, 3);
    if (end > messages.length) return undefined;
    if (messages[at] === certificate) return splitCertificates(messages.subarray(at + 4, end));
    at = end;
  }
  return undefined;
}

function splitCertificates(body: Uint8Array): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let at = 3; at + 3 <= body.length;) {
    const end = at + 3 + number(body, at, 3);
    if (end > body.length || chain.length === maxCertificates) {
      throw new BadParameter("the list of certificates is malformed");
    }
    chain.push(body.slice(at + 3, end));
    at = end;
  }
  if (chain.length === 0) throw new BadParameter("the server shows no certificate");
  return chain;
}

function number(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

/** RFC 5246, 7.4.1.2, with the extensions that today's servers want. */
function clientHello(serverName: string | undefined): Uint8Array {
  const ciphers = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
  const groups = [0x001d, 0x0017, 0x0018];
  const signatures = [
    ...[0x0403, 0x0503, 0x0603, 0x0807],
    ...[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601],
  ];
  const extensions = concat(
    ...(serverName === undefined
      ? []
      // RFC 6066, 3: a list of (u8 type = 0, name)
      : [extension(0, prefixed(2, concat(bytes(1, 0), prefixed(2, utf8Encode(serverName)))))]),
    extension(10, prefixed(2, u16s(groups))),
    extension(11, prefixed(1, bytes(1, 0))),
    extension(13, prefixed(2, u16s(signatures))),
    extension(23, new Uint8Array(0)), // extended master secret, RFC 7627
    extension(0xff01, prefixed(1, new Uint8Array(0))), // secure renegotiation, RFC 5746
  );
  const hello = concat(
    bytes(2, 0x0303),
    crypto.getRandomValues(new Uint8Array(32)),
    prefixed(1, new Uint8Array(0)), // no session to resume
    prefixed(2, u16s(ciphers)),
    prefixed(1, bytes(1, 0)), // no compression
    prefixed(2, extensions),
  );
  const message = concat(bytes(1, 1), prefixed(3, hello));
  return concat(bytes(1, 22), bytes(2, 0x0301), prefixed(2, message));
}

function extension(type: number, content: Uint8Array): Uint8Array {
  return concat(bytes(2, type), prefixed(2, content));
}

function prefixed(size: number, content: Uint8Array): Uint8Array {
  return concat(bytes(size, content.length), content);
}

function u16s(values: number[]): Uint8Array {
  return concat(...values.map((value) => bytes(2, value)));
}

function bytes(size: number, value: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (value >>> (8 * (size - 1 - i))) & 0xff);
}

function pemOf(der: Uint8Array): string {
  const lines = toBase64(der).replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
