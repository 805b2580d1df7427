import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";

/** Number of the 30-second step that a time in milliseconds falls into. */
export function totpStep(timeMs: number): number {
  return Math.floor(timeMs / 30_000);
}

/** The six-digit code of a step (RFC 6238 with SHA-1), as an authenticator app shows it. */
export function totpCode(base32Secret: string, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", fromBase32(base32Secret)).update(counter).digest();
  const offset = (mac.at(-1) ?? 0) & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

function fromBase32(text: string): Uint8Array {
  const bytes: number[] = [];
  let bits = 0;
  let count = 0;
  for (const letter of text) {
    bits = (bits << 5) | "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter);
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push((bits >> count) & 255);
      bits &= (1 << count) - 1;
    }
  }
  return new Uint8Array(bytes);
}
