/**
 * What we offer and accept. Short on purpose: nothing with SHA-1, no encrypt-and-MAC, no CBC, no
 * finite-field Diffie-Hellman, no compression.
 */
import type { SignatureAlgorithm } from "../sshwire/keys.ts";

/** Curve25519 under both of its names (RFC 8731), then the NIST curves (RFC 5656). */
export const kexAlgorithms: readonly string[] = [
  "curve25519-sha256",
  "curve25519-sha256@libssh.org",
  "ecdh-sha2-nistp256",
  "ecdh-sha2-nistp384",
];

/**
 * GCM only: OpenSSH's client lists CTR first and would take it where it is offered, at half the
 * speed. Every OpenSSH since 6.2 (2013) speaks GCM.
 */
export const ciphers: readonly string[] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];

/** GCM brings its own; some clients insist on a common name all the same. */
export const macs: readonly string[] = [
  "hmac-sha2-512-etm@openssh.com",
  "hmac-sha2-256-etm@openssh.com",
];

export const compressions: readonly string[] = ["none"];

/** Signature algorithms accepted from users, in the order of `server-sig-algs` (RFC 8308). */
export const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "rsa-sha2-512",
  "rsa-sha2-256",
];

const certificateSuffix = "-cert-v01@openssh.com";

/** "ssh-ed25519" → "ssh-ed25519-cert-v01@openssh.com". */
export function certificateAlgorithm(plain: SignatureAlgorithm): string {
  return plain + certificateSuffix;
}

/** Every host key algorithm a client of ours understands: certificates first. */
export const hostKeyAlgorithms: readonly string[] = [
  ...signatureAlgorithms.map(certificateAlgorithm),
  ...signatureAlgorithms,
];

/** A public key algorithm name as it stands in a request, taken apart. */
export interface KeyAlgorithm {
  /** What a signature made under this name must itself be called. */
  signature: SignatureAlgorithm;
  /** The name at the start of the key's blob. */
  blobType: string;
  isCertificate: boolean;
}

/** undefined for a name that we do not accept. */
export function parseKeyAlgorithm(name: string): KeyAlgorithm | undefined {
  const isCertificate = name.endsWith(certificateSuffix);
  const plain = isCertificate ? name.slice(0, -certificateSuffix.length) : name;
  const signature = signatureAlgorithms.find((algorithm) => algorithm === plain);
  if (!signature) return undefined;
  const keyType = signature.startsWith("rsa-") ? "ssh-rsa" : signature;
  return {
    signature,
    blobType: isCertificate ? keyType + certificateSuffix : keyType,
    isCertificate,
  };
}
