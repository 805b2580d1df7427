/**
 * The first message of an X11 client (X Window System Protocol, 8): byte order, version, and by
 * what it is authorized. Pure.
 */
import { Buffer } from "node:buffer";
import { constantTimeEqual } from "../../base/bytes.ts";
import { AccessDenied } from "../../base/errors.ts";

export interface CookieSwap {
  /** The protocol's name, e.g. "MIT-MAGIC-COOKIE-1". */
  protocol: string;
  /** What the far side was told. */
  fake: Uint8Array;
  /** What the display wants; of the same length. */
  real: Uint8Array;
}

const headerSize = 12;

/**
 * The message with the real cookie in place of the fake one, and what follows it; undefined when it
 * is not complete yet.
 * @throws AccessDenied unless it has the fake cookie: whoever it is was not sent by our session
 */
export function swapCookie(
  bytes: Buffer,
  { protocol, fake, real }: CookieSwap,
): Buffer | undefined {
  if (bytes.length === 0) return undefined;
  const isBigEndian = bytes[0] === 0x42;
  if (!isBigEndian && bytes[0] !== 0x6c) throw new AccessDenied("It does not speak X11");
  if (bytes.length < headerSize) return undefined;
  const u16 = (at: number) => isBigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at);
  const [protocolLength, cookieLength] = [u16(6), u16(8)];
  // Before more is waited for: a length is only believed when it is the right one.
  if (protocolLength !== protocol.length || cookieLength !== fake.length) throw wrongCookie();
  const cookieAt = headerSize + padded(protocolLength);
  if (bytes.length < cookieAt + padded(cookieLength)) return undefined;
  const named = bytes.toString("latin1", headerSize, headerSize + protocolLength);
  const cookie = bytes.subarray(cookieAt, cookieAt + cookieLength);
  if (named !== protocol || !constantTimeEqual(cookie, fake)) throw wrongCookie();
  const swapped = Buffer.from(bytes);
  swapped.set(real, cookieAt);
  return swapped;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function wrongCookie(): AccessDenied {
  return new AccessDenied("It does not have the cookie that the session was given");
}
