/**
 * ECDSA signatures in SSH's form (RFC 5656 section 3.1.2: mpint r, mpint s) and in DER, which is
 * what node:crypto speaks. (Deno ignores `dsaEncoding: "ieee-p1363"` without a word.)
 */
import { Buffer } from "node:buffer";
import { WireReader, WireWriter } from "./codec.ts";
import { BadParameter } from "../base/errors.ts";

export interface Curve {
  /** RFC 5656's name. */
  readonly name: "nistp256" | "nistp384";
  readonly jwk: "P-256" | "P-384";
  /** Length of a coordinate and of a scalar. */
  readonly bytes: 32 | 48;
  /** The group's order: r and s are in [1, order - 1]. */
  readonly order: bigint;
}

export const curves = {
  "ecdsa-sha2-nistp256": {
    name: "nistp256",
    jwk: "P-256",
    bytes: 32,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  "ecdsa-sha2-nistp384": {
    name: "nistp384",
    jwk: "P-384",
    bytes: 48,
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
} as const satisfies Record<string, Curve>;

/** DER SEQUENCE { INTEGER r, INTEGER s } → mpint r, mpint s. */
export function rsFromDer(der: Uint8Array): Uint8Array {
  const [sequence, rest] = readDer(der, 0x30);
  const [r, afterR] = readDer(sequence, 0x02);
  const [s, afterS] = readDer(afterR, 0x02);
  if (rest.length + afterS.length > 0) throw new BadParameter("Malformed ECDSA signature");
  return new WireWriter().mpint(r).mpint(s).bytes();
}

/** mpint r, mpint s → DER, or undefined when r or s cannot belong to a signature on `curve`. */
export function derFromRs(signature: Uint8Array, curve: Curve): Uint8Array | undefined {
  const reader = new WireReader(signature, "ECDSA signature");
  const r = reader.mpint();
  const s = reader.mpint();
  reader.end();
  if (!isScalar(r, curve) || !isScalar(s, curve)) return undefined;
  const integers = Buffer.concat([derInteger(r), derInteger(s)]);
  return Buffer.concat([derHeader(0x30, integers.length), integers]);
}

function isScalar(magnitude: Uint8Array, curve: Curve): boolean {
  if (magnitude.length === 0 || magnitude.length > curve.bytes) return false;
  return BigInt(`0x${Buffer.from(magnitude).toString("hex")}`) < curve.order;
}

function derInteger(magnitude: Uint8Array): Uint8Array {
  const value = magnitude[0]! & 0x80 ? Buffer.concat([Uint8Array.of(0), magnitude]) : magnitude;
  return Buffer.concat([derHeader(0x02, value.length), value]);
}

// Two scalars of 48 bytes stay under the 128 bytes where DER's long form begins.
function derHeader(tag: number, length: number): Uint8Array {
  return Uint8Array.of(tag, length);
}

function readDer(der: Uint8Array, tag: number): [value: Uint8Array, rest: Uint8Array] {
  const length = der[1] ?? 0;
  if (der[0] !== tag || length > 127 || der.length < 2 + length) {
    throw new BadParameter("Malformed ECDSA signature");
  }
  return [der.subarray(2, 2 + length), der.subarray(2 + length)];
}
