/** AES-GCM on frames of SSH: by OpenSSL where it is at hand, else by node:crypto. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import {
  gcmAadLength,
  type GcmContext,
  type GcmName,
  gcmTagLength,
  libcryptoGcm,
} from "./libcrypto.ts";

export { type GcmContext, type GcmName, gcmTagLength } from "./libcrypto.ts";

export interface GcmKeys {
  /** OpenSSL's name. */
  name: GcmName;
  key: Uint8Array;
  /** 12 bytes, of which the last 8 count packets. */
  iv: Uint8Array;
}

/** One key in one direction. */
export function openGcm({ name, key }: GcmKeys, direction: "seal" | "open"): GcmContext {
  return libcryptoGcm(name, key, direction) ?? new NodeGcm(name, key);
}

/** Where OpenSSL is not at hand. */
export class NodeGcm implements GcmContext {
  constructor(readonly name: GcmName, readonly key: Uint8Array) {}

  seal(iv: Uint8Array, frame: Uint8Array): void {
    const cipher = createCipheriv(this.name, this.key, iv);
    cipher.setAAD(frame.subarray(0, gcmAadLength));
    frame.set(cipher.update(frame.subarray(gcmAadLength, -gcmTagLength)), gcmAadLength);
    cipher.final();
    frame.set(cipher.getAuthTag(), frame.length - gcmTagLength);
  }

  open(iv: Uint8Array, frame: Uint8Array): boolean {
    const decipher = createDecipheriv(this.name, this.key, iv);
    decipher.setAAD(frame.subarray(0, gcmAadLength));
    decipher.setAuthTag(frame.subarray(-gcmTagLength));
    const text = decipher.update(frame.subarray(gcmAadLength, -gcmTagLength));
    try {
      decipher.final();
    } catch {
      return false;
    }
    frame.set(text, gcmAadLength);
    return true;
  }

  free(): void {}
}

/** The packet counter of RFC 5647 §7.1: the last eight bytes. */
export function incrementIv(iv: Uint8Array): void {
  for (let i = 11; i >= 4; i--) {
    if (++iv[i]! & 0xff) return;
  }
}
