import { toHex } from "./bytes.ts";

/** `bytes` random bytes in lower-case hexadecimal (twice as many characters). */
export function randomHex(bytes: number): string {
  return toHex(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** A random UUID (version 4). */
export function uuid(): string {
  return crypto.randomUUID();
}

/** A UUID that says when it was made (version 7, RFC 9562 §5.7). */
export function timeUuid(nowMs: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 5, ms = nowMs; i >= 0; i--, ms = Math.floor(ms / 256)) bytes[i] = ms % 256;
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** When a UUID of version 7 was made, milliseconds since 1970; undefined for any other. */
export function timeOfUuid(text: string): number | undefined {
  if (!isUuid(text) || text[14] !== "7") return undefined;
  return parseInt(text.slice(0, 8) + text.slice(9, 13), 16);
}

/** True for the canonical lower-case form of any UUID. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text);
}
