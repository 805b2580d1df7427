/** What node:crypto does not check about ed25519 keys (RFC 8032). */
import { Buffer } from "node:buffer";

/**
 * Points of low order in canonical form, little-endian, the sign bit cleared: with one of them as
 * the key, some signature is valid for every message.
 */
const lowOrderPoints = new Set([
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
]);

/** True for the 32 bytes of a key that no honest generator makes: low order, or y not reduced. */
export function isWeakEd25519(point: Uint8Array): boolean {
  const y = Buffer.from(point);
  y[31]! &= 0x7f;
  const hex = y.toString("hex");
  // The encodings of p and above: ed…7f, ee…7f, ef…7f, with all ones between.
  const notCanonical = y[0]! >= 0xed && hex.endsWith(`${"ff".repeat(30)}7f`);
  return notCanonical || lowOrderPoints.has(hex);
}
