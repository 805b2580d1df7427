import { Buffer } from "node:buffer";
import { BadParameter } from "./errors.ts";

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

/** For public values only: returns at the first difference. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** For secrets: takes the same time wherever the difference is. The length is not a secret. */
export function constantTimeEqual(a: Uint8Array | string, b: Uint8Array | string): boolean {
  const left = typeof a === "string" ? utf8Encode(a) : a;
  const right = typeof b === "string" ? utf8Encode(b) : b;
  let difference = left.length ^ right.length;
  for (let i = 0; i < left.length; i++) difference |= left[i]! ^ (right[i] ?? 0);
  return difference === 0;
}

export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("hex");
}

/** @throws BadParameter unless `text` is an even number of hexadecimal digits */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new BadParameter("Cannot read the hexadecimal value");
  }
  return Uint8Array.from(Buffer.from(text, "hex"));
}

export function toBase64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("base64");
}

/** @throws BadParameter unless `text` is exactly what toBase64() writes: padded, no white space */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  // Deno's Buffer throws at some malformed texts and reads over others.
  const plausible = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  const bytes = Buffer.from(plausible ? text : "", "base64");
  if (bytes.toString("base64") !== text) throw new BadParameter("Cannot read the base64 value");
  return Uint8Array.from(bytes);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function utf8Encode(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @throws BadParameter unless `bytes` are well-formed UTF-8 */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new BadParameter("The text is not valid UTF-8", { cause });
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
