/** The bytes and texts that lib/cert's x509.ts reads and writes. */
import "reflect-metadata";
import { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { concat } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { isIpAddress } from "../base/net.ts";

const maxPem = 64 * 1024;
const ecdsa = { name: "ECDSA", namedCurve: "P-256" } as const;

/** The first certificate in the text. */
export function readCertificate(pem: string): x509.X509Certificate {
  const block = pem.length > maxPem
    ? undefined
    : /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/.exec(pem)?.[0];
  if (block === undefined) throw new BadParameter("This is not a certificate in PEM");
  try {
    const certificate = new x509.X509Certificate(block);
    // The library parses these when they are first read, and throws whatever comes.
    void [certificate.publicKey, certificate.extensions, certificate.signatureAlgorithm];
    return certificate;
  } catch (cause) {
    throw new BadParameter("The certificate is malformed", { cause });
  }
}

export function requireUsableKey(spki: Uint8Array): void {
  let type: string | undefined;
  let bits: number | undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    type = key.asymmetricKeyType;
    bits = key.asymmetricKeyDetails?.modulusLength;
  } catch (cause) {
    throw new BadParameter("The public key to be certified is malformed", { cause });
  }
  if (type === "ec" || type === "ed25519" || (type === "rsa" && (bits ?? 0) >= 2048)) return;
  throw new BadParameter("The public key to be certified is of a weak or unknown type");
}

export function requireDnsName(name: string): string {
  // One wildcard label in front is what browsers accept.
  const plain = name.startsWith("*.") ? name.slice(2) : name;
  if (
    !isIpAddress(plain) && plain.length <= 253 && /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(plain)
  ) {
    return name;
  }
  throw new BadParameter(`${JSON.stringify(name.slice(0, 64))} cannot be a server's DNS name`);
}

export function attribute(type: string, value: string): x509.JsonNameParams {
  // Given as an object, because the library takes a plain string that starts with "#" for hex.
  return [{ [type]: [{ utf8String: value }] }];
}

export function generateKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ecdsa, true, ["sign", "verify"]);
}

export async function exportKey(key: CryptoKey): Promise<string> {
  const der = await crypto.subtle.exportKey("pkcs8", key);
  return `${x509.PemConverter.encode(der, "PRIVATE KEY").trim()}\n`;
}

export async function importKey(pem: string): Promise<CryptoKey> {
  try {
    const der = x509.PemConverter.decodeFirst(pem);
    return await crypto.subtle.importKey("pkcs8", der, ecdsa, false, ["sign"]);
  } catch (cause) {
    throw new BadParameter("The TLS authority's key cannot be read", { cause });
  }
}

export function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trim()}\n`;
}

export function derOctets(bytes: Uint8Array): ArrayBuffer {
  const { length } = bytes;
  const header = length < 0x80
    ? [length]
    : length < 0x100
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(0x04, ...header), bytes).buffer;
}

export function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
