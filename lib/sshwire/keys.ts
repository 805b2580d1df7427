/**
 * SSH public and private keys and their signatures (RFC 4253 section 6.6, RFC 5656, RFC 8332,
 * RFC 8709). A value of type PublicKey is a key that passed every check; there is no SHA-1 and no
 * DSA here.
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKeyInput,
  type KeyObject,
  sign as signRaw,
  verify as verifyRaw,
} from "node:crypto";
import { equalBytes, fromBase64, toBase64 } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { curves, derFromRs, rsFromDer } from "./ecdsa.ts";
import { isWeakEd25519 } from "./ed25519.ts";

export type KeyType = "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ssh-rsa";
export type SignatureAlgorithm =
  | "ssh-ed25519"
  | "ecdsa-sha2-nistp256"
  | "ecdsa-sha2-nistp384"
  | "rsa-sha2-256"
  | "rsa-sha2-512";

export interface PublicKey {
  readonly type: KeyType;
  /** The wire form that RFC 4253 section 6.6 describes, in memory of its own. */
  readonly blob: Uint8Array;
  readonly keyObject: KeyObject;
}

export interface PrivateKey {
  readonly publicKey: PublicKey;
  readonly keyObject: KeyObject;
  /**
   * The whole signature blob: `string algorithm, string signature`.
   * @param algorithm for RSA keys; rsa-sha2-512 unless told
   * @throws BadParameter when the key cannot make such a signature
   */
  sign(data: Uint8Array, algorithm?: SignatureAlgorithm): Uint8Array;
}

const hashes: Record<SignatureAlgorithm, "sha256" | "sha384" | "sha512" | null> = {
  "ssh-ed25519": null,
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
};

/** The signatures that keys of a type can make, the preferred one first. */
export const signatureAlgorithms: Readonly<Record<KeyType, readonly SignatureAlgorithm[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

export function isKeyType(name: string): name is KeyType {
  return Object.hasOwn(signatureAlgorithms, name);
}

/** Enough for RSA of 4096 bits, which is what Deno's own implementation ends at. */
const maxKeyBlob = 2048;

/**
 * @param blob the wire form
 * @throws BadParameter for certificates, unknown types, RSA under 2048 or over 4096 bits or with a
 *   weak exponent, points that are off their curve, ed25519 points of low order, trailing bytes
 */
export function parsePublicKey(blob: Uint8Array): PublicKey {
  if (blob.length > maxKeyBlob) throw new BadParameter("Malformed public key: it is too long");
  const reader = new WireReader(blob, "public key");
  const key = readPublicKey(readKeyType(reader.utf8()), reader);
  reader.end();
  return key;
}

/** Reads what follows the type's name in a key's wire form, or the nonce in a certificate. */
export function readPublicKey(type: KeyType, reader: WireReader): PublicKey {
  const jwk = type === "ssh-ed25519"
    ? readEd25519(reader)
    : type === "ssh-rsa"
    ? readRsa(reader)
    : readEcdsa(type, reader);
  let keyObject: KeyObject;
  try {
    keyObject = createPublicKey({ key: jwk, format: "jwk" });
  } catch (cause) {
    throw new BadParameter(`The ${type} public key is not valid`, { cause });
  }
  return { type, blob: encodePublicKey(type, jwk), keyObject };
}

export function readKeyType(name: string): KeyType {
  if (isKeyType(name)) return name;
  const shown = JSON.stringify(name.slice(0, 64));
  throw new BadParameter(
    name.includes("-cert-v0")
      ? `Expected a plain public key, got a certificate (${shown})`
      : `Keys of type ${shown} are not supported: use ed25519, ecdsa (256, 384) or rsa`,
  );
}

type Jwk = JsonWebKeyInput["key"];

// RFC 8709: string key (32 bytes)
function readEd25519(reader: WireReader): Jwk {
  const point = reader.string();
  if (point.length !== 32) throw new BadParameter("Malformed ed25519 key: it is not 32 bytes long");
  if (isWeakEd25519(point)) throw new BadParameter("The ed25519 public key is weak");
  return { kty: "OKP", crv: "Ed25519", x: base64Url(point) };
}

// RFC 5656 section 3.1: string curve, string Q (0x04, x, y)
function readEcdsa(type: "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384", reader: WireReader): Jwk {
  const curve = curves[type];
  if (reader.utf8() !== curve.name) {
    throw new BadParameter("Malformed ecdsa key: its curve differs from its type");
  }
  const point = reader.string();
  if (point.length !== 1 + 2 * curve.bytes || point[0] !== 4) {
    throw new BadParameter("Malformed ecdsa key: it is not an uncompressed point of its curve");
  }
  return {
    kty: "EC",
    crv: curve.jwk,
    x: base64Url(point.subarray(1, 1 + curve.bytes)),
    y: base64Url(point.subarray(1 + curve.bytes)),
  };
}

// RFC 4253 section 6.6: mpint e, mpint n
function readRsa(reader: WireReader): Jwk {
  const e = reader.mpint();
  const n = reader.mpint();
  const bits = bitLength(n);
  if (bits < 2048) {
    throw new BadParameter(`RSA keys need at least 2048 bits, this one has ${bits}`);
  }
  if (bits > 4096) {
    throw new BadParameter(`RSA keys may have at most 4096 bits, this one has ${bits}`);
  }
  const exponent = e.length > 4 ? 0 : Number(`0x${Buffer.from(e).toString("hex") || "0"}`);
  if (exponent < 3 || exponent % 2 === 0 || (n.at(-1) ?? 0) % 2 === 0) {
    throw new BadParameter("The RSA public key is weak");
  }
  return { kty: "RSA", e: base64Url(e), n: base64Url(n) };
}

function encodePublicKey(type: KeyType, jwk: Jwk): Uint8Array {
  const writer = new WireWriter().string(type);
  if (type === "ssh-ed25519") return writer.string(jwkBytes(jwk.x)).bytes();
  if (type === "ssh-rsa") return writer.mpint(jwkBytes(jwk.e)).mpint(jwkBytes(jwk.n)).bytes();
  const point = Buffer.concat([Uint8Array.of(4), jwkBytes(jwk.x), jwkBytes(jwk.y)]);
  return writer.string(curves[type].name).string(point).bytes();
}

/**
 * A key object of node:crypto, public or private, as an SSH public key.
 * @throws BadParameter when its type is not one of ours
 */
export function publicKeyFromObject(keyObject: KeyObject): PublicKey {
  const jwk = keyObject.export({ format: "jwk" });
  const type = jwk.kty === "RSA"
    ? "ssh-rsa"
    : jwk.crv === "Ed25519"
    ? "ssh-ed25519"
    : jwk.crv === "P-256"
    ? "ecdsa-sha2-nistp256"
    : jwk.crv === "P-384"
    ? "ecdsa-sha2-nistp384"
    : undefined;
  if (type === undefined) throw new BadParameter("Keys of this type are not supported");
  return parsePublicKey(encodePublicKey(type, jwk));
}

/** @throws BadParameter when the key's type is not one of ours */
export function privateKeyFromObject(keyObject: KeyObject): PrivateKey {
  const publicKey = publicKeyFromObject(keyObject);
  return { publicKey, keyObject, sign };

  function sign(
    data: Uint8Array,
    algorithm: SignatureAlgorithm = signatureAlgorithms[publicKey.type][0]!,
  ): Uint8Array {
    if (!signatureAlgorithms[publicKey.type].includes(algorithm)) {
      throw new BadParameter(`A key of type ${publicKey.type} cannot sign with ${algorithm}`);
    }
    const raw = signRaw(hashes[algorithm], data, keyObject);
    const signature = publicKey.type.startsWith("ecdsa-") ? rsFromDer(raw) : raw;
    return new WireWriter().string(algorithm).string(signature).bytes();
  }
}

/** A new key pair. RSA keys have 3072 bits and take a second to make. */
export function generatePrivateKey(type: KeyType = "ssh-ed25519"): PrivateKey {
  return privateKeyFromObject(generate(type).privateKey);
}

function generate(type: KeyType) {
  if (type === "ssh-ed25519") return generateKeyPairSync("ed25519");
  if (type === "ssh-rsa") return generateKeyPairSync("rsa", { modulusLength: 3072 });
  return generateKeyPairSync("ec", { namedCurve: curves[type].jwk });
}

/**
 * Whether `signature` (the whole blob) over `data` was made by `key`, with an algorithm that fits
 * the key's type and is in `allowed`. A malformed signature is false too.
 */
export function verifySignature(
  key: PublicKey,
  data: Uint8Array,
  signature: Uint8Array,
  allowed: readonly SignatureAlgorithm[] = signatureAlgorithms[key.type],
): boolean {
  try {
    const reader = new WireReader(signature, "signature");
    const algorithm = reader.utf8() as SignatureAlgorithm;
    const raw = reader.string();
    reader.end();
    if (!allowed.includes(algorithm) || !signatureAlgorithms[key.type].includes(algorithm)) {
      return false;
    }
    const native = nativeSignature(key, raw);
    // node:crypto may answer with something that is merely truthy.
    return native !== undefined &&
      verifyRaw(hashes[algorithm], data, key.keyObject, native) === true;
  } catch {
    return false;
  }
}

/** The signature as node:crypto wants it, or undefined when it cannot be one of `key`. */
function nativeSignature(key: PublicKey, raw: Uint8Array): Uint8Array | undefined {
  switch (key.type) {
    case "ssh-ed25519":
      return raw.length === 64 ? raw : undefined;
    case "ssh-rsa":
      return raw.length === modulusBytes(key) ? raw : undefined;
    default:
      return derFromRs(raw, curves[key.type]);
  }
}

function modulusBytes(key: PublicKey): number {
  const reader = new WireReader(key.blob);
  reader.string();
  reader.mpint();
  return reader.mpint().length;
}

/**
 * "type base64 comment", one line as in a .pub file. Options in front of the type are refused.
 * @throws BadParameter
 */
export function parseAuthorizedKey(line: string): { key: PublicKey; comment: string } {
  const match = /^(\S+)[ \t]+(\S+)(?:[ \t]+([^\r\n]*))?$/.exec(line.trim());
  if (!match) throw new BadParameter("Cannot read the public key: expected `type base64 comment`");
  const [, type = "", base64 = "", comment = ""] = match;
  const named = readKeyType(type);
  const key = parsePublicKey(fromBase64(base64));
  if (key.type !== named) {
    throw new BadParameter(`The public key says it is ${named} and is ${key.type}`);
  }
  return { key, comment };
}

export function formatAuthorizedKey(key: PublicKey, comment = ""): string {
  return `${key.type} ${toBase64(key.blob)}${comment && ` ${comment}`}`;
}

/** "SHA256:…", as OpenSSH shows it. */
export function fingerprint(key: PublicKey): string {
  return fingerprintOfBlob(key.blob);
}

/** The fingerprint of any key blob, also of types that parsePublicKey() refuses. */
export function fingerprintOfBlob(blob: Uint8Array): string {
  const digest = createHash("sha256").update(blob).digest("base64");
  return `SHA256:${digest.replace(/=+$/, "")}`;
}

export function equalKeys(a: PublicKey, b: PublicKey): boolean {
  return equalBytes(a.blob, b.blob);
}

function bitLength(magnitude: Uint8Array): number {
  return magnitude.length === 0 ? 0 : magnitude.length * 8 - Math.clz32(magnitude[0]!) + 24;
}

function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

function jwkBytes(field: string | undefined): Uint8Array {
  return Buffer.from(field ?? "", "base64url");
}
