import { toHex } from "./bytes.ts";

/** `bytes` random bytes in lower-case hexadecimal (twice as many characters). */
export function randomHex(bytes: number): string {
  return toHex(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** A random UUID (version 4). */
export function uuid(): string {
  return crypto.randomUUID();
}

/** True for the canonical lower-case form of any UUID. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text);
}
