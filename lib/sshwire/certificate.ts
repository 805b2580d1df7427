/**
 * OpenSSH certificates (PROTOCOL.certkeys of OpenSSH, version 01): read, built, never judged.
 * Whether one is to be believed is for lib/cert's checkCertificate() to say.
 */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "./codec.ts";
import {
  isKeyType,
  type KeyType,
  parsePublicKey,
  type PrivateKey,
  type PublicKey,
  readPublicKey,
} from "./keys.ts";

export type CertificateType = "user" | "host";

export interface Certificate {
  /** The whole certificate in wire form, in memory of its own. */
  readonly blob: Uint8Array;
  /** e.g. "ssh-ed25519-cert-v01@openssh.com" */
  readonly algorithm: string;
  /** The key that is certified. */
  readonly key: PublicKey;
  readonly serial: bigint;
  readonly type: CertificateType;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since the epoch. */
  readonly validAfter: bigint;
  /** Seconds since the epoch, not included; 2^64-1 is forever. */
  readonly validBefore: bigint;
  /** Values are taken out of their inner string; a flag's value is "". */
  readonly criticalOptions: ReadonlyMap<string, string>;
  /** As criticalOptions. */
  readonly extensions: ReadonlyMap<string, string>;
  /** The CA's key. */
  readonly signatureKey: PublicKey;
  /** The whole signature blob; parsing does not verify it. */
  readonly signature: Uint8Array;
  /** What the signature is over: the blob up to the signature. */
  readonly signedData: Uint8Array;
}

/** validBefore of a certificate that never expires. */
export const forever = 2n ** 64n - 1n;

const suffix = "-cert-v01@openssh.com";
const typeNumbers = { user: 1, host: 2 } as const;

/** OpenSSH's own limit (SSHKEY_CERT_MAX_PRINCIPALS). */
const maxPrincipals = 256;
const maxBlob = 64 * 1024;

export function certificateAlgorithm(type: KeyType): string {
  return `${type}${suffix}`;
}

/** True for the algorithm names of certificates that parseCertificate() reads. */
export function isCertificateAlgorithm(name: string): boolean {
  return name.endsWith(suffix) && isKeyType(name.slice(0, -suffix.length));
}

/**
 * Layout: string algorithm, string nonce, (fields of the key), u64 serial, u32 type, string key id,
 * string principals, u64 valid after, u64 valid before, string critical options, string extensions,
 * string reserved, string signature key, string signature.
 * @throws BadParameter for anything malformed: unsorted or repeated options, a CA key that is
 *   itself a certificate, trailing bytes, wrong inner lengths, weak keys
 */
export function parseCertificate(blob: Uint8Array): Certificate {
  if (blob.length > maxBlob) throw new BadParameter("Malformed certificate: it is too long");
  const own = Uint8Array.from(blob);
  const reader = new WireReader(own, "certificate");
  const algorithm = reader.utf8();
  const keyType = certifiedKeyType(algorithm);
  reader.string(); // the nonce
  const key = readPublicKey(keyType, reader);
  const serial = reader.u64();
  const type = readType(reader.u32());
  const keyId = reader.utf8();
  const principals = readPrincipals(reader.string());
  const validAfter = reader.u64();
  const validBefore = reader.u64();
  const criticalOptions = readOptions(reader.string());
  const extensions = readOptions(reader.string());
  reader.string(); // reserved: to be ignored
  const signatureKey = parsePublicKey(reader.string());
  const signedData = own.subarray(0, own.length - reader.remaining);
  const signature = Uint8Array.from(reader.string());
  reader.end();
  return {
    blob: own,
    algorithm,
    key,
    serial,
    type,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    signatureKey,
    signature,
    signedData,
  };
}

export interface CertificateFields {
  key: PublicKey;
  serial: bigint;
  type: CertificateType;
  keyId: string;
  principals: readonly string[];
  /** Seconds since the epoch. */
  validAfter: bigint;
  /** Seconds since the epoch; `forever` for no end. */
  validBefore: bigint;
  criticalOptions: ReadonlyMap<string, string>;
  extensions: ReadonlyMap<string, string>;
}

/**
 * Encodes and signs; RSA authorities sign with rsa-sha2-512. What may be certified is for the
 * caller to decide.
 * @throws BadParameter when the result could not be read back
 */
export function buildCertificate(fields: CertificateFields, ca: PrivateKey): Certificate {
  const keyReader = new WireReader(fields.key.blob);
  keyReader.string();
  const signedData = new WireWriter()
    .string(certificateAlgorithm(fields.key.type))
    .string(crypto.getRandomValues(new Uint8Array(32)))
    .raw(keyReader.rest())
    .u64(fields.serial)
    .u32(typeNumbers[fields.type])
    .string(fields.keyId)
    .string(encodePrincipals(fields.principals))
    .u64(fields.validAfter)
    .u64(fields.validBefore)
    .string(encodeOptions(fields.criticalOptions))
    .string(encodeOptions(fields.extensions))
    .string("")
    .string(ca.publicKey.blob)
    .bytes();
  return parseCertificate(
    new WireWriter().raw(signedData).string(ca.sign(signedData)).bytes(),
  );
}

/**
 * "ssh-ed25519-cert-v01@openssh.com AAAA… comment", one line as in a -cert.pub file.
 * @throws BadParameter
 */
export function parseCertificateLine(line: string): Certificate {
  const [algorithm = "", base64 = ""] = line.trim().split(/[ \t]+/, 2);
  certifiedKeyType(algorithm);
  const certificate = parseCertificate(fromBase64(base64));
  if (certificate.algorithm !== algorithm) {
    throw new BadParameter(
      `The certificate says it is ${algorithm} and is ${certificate.algorithm}`,
    );
  }
  return certificate;
}

export function formatCertificateLine(certificate: Certificate, comment = ""): string {
  return `${certificate.algorithm} ${toBase64(certificate.blob)}${comment && ` ${comment}`}`;
}

function certifiedKeyType(algorithm: string): KeyType {
  const type = algorithm.slice(0, -suffix.length);
  if (algorithm.endsWith(suffix) && isKeyType(type)) return type;
  const shown = JSON.stringify(algorithm.slice(0, 64));
  throw new BadParameter(`Expected a certificate of a supported type, got ${shown}`);
}

function readType(number: number): CertificateType {
  if (number === typeNumbers.user) return "user";
  if (number === typeNumbers.host) return "host";
  throw new BadParameter("Malformed certificate: it is neither for a user nor for a host");
}

function readPrincipals(packed: Uint8Array): string[] {
  const reader = new WireReader(packed, "certificate's principals");
  const principals: string[] = [];
  while (reader.remaining > 0) {
    if (principals.length === maxPrincipals) {
      throw new BadParameter(`A certificate has at most ${maxPrincipals} principals`);
    }
    principals.push(reader.utf8());
  }
  return principals;
}

function encodePrincipals(principals: readonly string[]): Uint8Array {
  const writer = new WireWriter();
  for (const principal of principals) writer.string(principal);
  return writer.bytes();
}

// (string name, string data)*, sorted by name; data is empty for a flag, else one inner string.
function readOptions(packed: Uint8Array): Map<string, string> {
  const reader = new WireReader(packed, "certificate's options");
  const options = new Map<string, string>();
  let previous: Uint8Array | undefined;
  while (reader.remaining > 0) {
    const name = reader.string();
    if (previous && compareBytes(previous, name) >= 0) {
      throw new BadParameter("Malformed certificate: its options are repeated or not sorted");
    }
    previous = name;
    options.set(utf8Decode(name), readOptionValue(reader.string()));
  }
  return options;
}

function readOptionValue(data: Uint8Array): string {
  if (data.length === 0) return "";
  const reader = new WireReader(data, "certificate's option");
  const value = reader.utf8();
  reader.end();
  return value;
}

function encodeOptions(options: ReadonlyMap<string, string>): Uint8Array {
  const writer = new WireWriter();
  const sorted = [...options].map(([name, value]) => [utf8Encode(name), value] as const)
    .sort(([a], [b]) => compareBytes(a, b));
  for (const [name, value] of sorted) {
    writer.string(name).string(value === "" ? "" : new WireWriter().string(value).bytes());
  }
  return writer.bytes();
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}
