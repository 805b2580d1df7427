/**
 * Private keys in files: OpenSSH's own format ("openssh-key-v1", PROTOCOL.key of OpenSSH), written
 * and read; PKCS#8 and the older PEM forms, read. Without passphrases: what these files hold lives
 * for hours, or belongs to a daemon.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type JsonWebKeyInput, type KeyObject } from "node:crypto";
import { concat, equalBytes, fromBase64, toBase64, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { curves } from "./ecdsa.ts";
import {
  equalKeys,
  type KeyType,
  parsePublicKey,
  type PrivateKey,
  privateKeyFromObject,
  type PublicKey,
  readKeyType,
  readPublicKey,
  verifySignature,
} from "./keys.ts";

const magic = utf8Encode("openssh-key-v1\0");
const begin = "-----BEGIN OPENSSH PRIVATE KEY-----";
const end = "-----END OPENSSH PRIVATE KEY-----";
const pemBlock = /-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----/;
const blockBytes = 8;
const maxPem = 64 * 1024;

/** The text of an OpenSSH private key file, not encrypted. Keep it in files of mode 0600. */
export function encodePrivateKey(key: PrivateKey, comment = ""): string {
  const check = crypto.getRandomValues(new Uint8Array(4));
  const secret = new WireWriter().raw(check).raw(check).raw(encodePrivateFields(key))
    .string(comment).bytes();
  const padding = Uint8Array.from(
    { length: (blockBytes - secret.length % blockBytes) % blockBytes },
    (_, i) => i + 1,
  );
  const all = new WireWriter().raw(magic).string("none").string("none").string("").u32(1)
    .string(key.publicKey.blob).string(concat(secret, padding)).bytes();
  const lines = toBase64(all).match(/.{1,70}/g) ?? [];
  return [begin, ...lines, end, ""].join("\n");
}

/**
 * The key type and the fields that ssh-agent and key files share (draft-ietf-sshm-ssh-agent
 * section 3.2): ed25519: pk, sk || pk; ecdsa: curve, Q, d; rsa: n, e, d, iqmp, p, q.
 */
export function encodePrivateFields(key: PrivateKey): Uint8Array {
  const { type, blob } = key.publicKey;
  const writer = new WireWriter().string(type);
  const jwk = key.keyObject.export({ format: "jwk" });
  const field = (name: "d" | "n" | "e" | "p" | "q" | "qi" | "x") =>
    Buffer.from(jwk[name] ?? "", "base64url");
  if (type === "ssh-ed25519") {
    return writer.string(field("x")).string(concat(field("d"), field("x"))).bytes();
  }
  if (type === "ssh-rsa") {
    return writer.mpint(field("n")).mpint(field("e")).mpint(field("d")).mpint(field("qi"))
      .mpint(field("p")).mpint(field("q")).bytes();
  }
  const reader = new WireReader(blob);
  reader.string();
  return writer.raw(reader.rest()).mpint(field("d")).bytes();
}

/**
 * The key in a file of OpenSSH's format, or in PEM (PKCS#8, PKCS#1, SEC 1).
 * @throws BadParameter: unreadable, encrypted, of a type that is not ours, or not a matching pair
 */
export function decodePrivateKey(pem: string): { key: PrivateKey; comment: string } {
  if (pem.length > maxPem) throw new BadParameter("The private key file is too long");
  const text = pem.trim().replaceAll("\r\n", "\n");
  if (text.startsWith(begin)) return decodeOpenssh(text);
  if (/^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text)) throw encrypted();
  const block = pemBlock.exec(text)?.[0];
  if (block === undefined) {
    throw new BadParameter("This is not a private key: expected an OpenSSH or PEM key file");
  }
  const keyObject = importKey(() => createPrivateKey(block));
  return { key: requirePair(privateKeyFromObject(keyObject)), comment: "" };
}

function decodeOpenssh(text: string): { key: PrivateKey; comment: string } {
  if (!text.endsWith(end)) throw new BadParameter("The private key file has no end line");
  const reader = new WireReader(
    fromBase64(text.slice(begin.length, -end.length).replaceAll("\n", "")),
    "private key",
  );
  if (reader.remaining < magic.length || !equalBytes(takeMagic(reader), magic)) {
    throw new BadParameter("The private key file is not of OpenSSH's format, version 1");
  }
  const cipher = reader.utf8();
  const kdf = reader.utf8();
  const kdfOptions = reader.string();
  if (reader.u32() !== 1) throw new BadParameter("The private key file must hold exactly one key");
  const publicBlob = reader.string();
  const secret = reader.string();
  reader.end();
  if (cipher !== "none" || kdf !== "none" || kdfOptions.length > 0) throw encrypted();
  return decodeSecretSection(secret, parsePublicKey(publicBlob));
}

function takeMagic(reader: WireReader): Uint8Array {
  return Uint8Array.from({ length: magic.length }, () => reader.u8());
}

function decodeSecretSection(secret: Uint8Array, publicKey: PublicKey) {
  const reader = new WireReader(secret, "private key");
  if (reader.u32() !== reader.u32()) throw new BadParameter("The private key file is damaged");
  const key = readPrivateFields(readKeyType(reader.utf8()), reader);
  const comment = reader.utf8();
  const padding = reader.rest();
  if (padding.length >= blockBytes || padding.some((byte, i) => byte !== i + 1)) {
    throw new BadParameter("The private key file is damaged: wrong padding");
  }
  if (!equalBytes(key.publicKey.blob, publicKey.blob)) {
    throw new BadParameter("The private key file is damaged: its two halves are different keys");
  }
  return { key, comment };
}

/**
 * Reads what encodePrivateFields() writes after the key's type. Where `certified` is given, what a
 * certificate has said already is not repeated in the fields.
 * @throws BadParameter, also when the result is not the private key of `certified`
 */
export function readPrivateFields(
  type: KeyType,
  reader: WireReader,
  certified?: PublicKey,
): PrivateKey {
  const jwk = type === "ssh-ed25519"
    ? readEd25519(reader)
    : type === "ssh-rsa"
    ? readRsa(reader, certified)
    : readEcdsa(type, reader, certified);
  const key = privateKeyFromObject(
    importKey(() => createPrivateKey({ key: jwk, format: "jwk" })),
  );
  if (certified && !equalKeys(key.publicKey, certified)) {
    throw new BadParameter("The private key is not the certificate's");
  }
  return requirePair(key);
}

type Jwk = JsonWebKeyInput["key"];

function readEd25519(reader: WireReader): Jwk {
  const point = reader.string();
  const pair = reader.string();
  if (point.length !== 32 || pair.length !== 64 || !equalBytes(pair.subarray(32), point)) {
    throw new BadParameter("Malformed ed25519 private key");
  }
  return { kty: "OKP", crv: "Ed25519", x: base64Url(point), d: base64Url(pair.subarray(0, 32)) };
}

function readEcdsa(type: keyof typeof curves, reader: WireReader, certified?: PublicKey): Jwk {
  const { keyObject } = certified ?? readPublicKey(type, reader);
  const d = reader.mpint();
  const { bytes } = curves[type];
  if (d.length === 0 || d.length > bytes) throw new BadParameter("Malformed ecdsa private key");
  const padded = concat(new Uint8Array(bytes - d.length), d);
  return { ...keyObject.export({ format: "jwk" }), d: base64Url(padded) };
}

function readRsa(reader: WireReader, certified?: PublicKey): Jwk {
  const { n = "", e = "" } = (certified ?? readRsaPublic(reader)).keyObject.export({
    format: "jwk",
  });
  const [d, qi, p, q] = [reader.mpint(), reader.mpint(), reader.mpint(), reader.mpint()];
  const [bigD, bigP, bigQ] = [toBigInt(d), toBigInt(p), toBigInt(q)];
  const bigN = toBigInt(Buffer.from(n, "base64url"));
  // Deno's RSA ends the process on some impossible values, so they must not reach it.
  if (bigP * bigQ !== bigN || bigP < 3n || bigQ < 3n || bigD < 3n || bigD >= bigN) {
    throw new BadParameter("Malformed RSA private key");
  }
  return {
    kty: "RSA",
    n,
    e,
    d: base64Url(d),
    p: base64Url(p),
    q: base64Url(q),
    dp: base64Url(fromBigInt(bigD % (bigP - 1n))),
    dq: base64Url(fromBigInt(bigD % (bigQ - 1n))),
    qi: base64Url(qi),
  };
}

/** A key file has n before e, a public key e before n. */
function readRsaPublic(reader: WireReader): PublicKey {
  const n = reader.mpint();
  const e = reader.mpint();
  return parsePublicKey(new WireWriter().string("ssh-rsa").mpint(e).mpint(n).bytes());
}

function importKey(make: () => KeyObject): KeyObject {
  try {
    return make();
  } catch (cause) {
    throw new BadParameter("The private key is not valid", { cause });
  }
}

/** A key file may hold halves that do not belong together: one signature tells. */
function requirePair(key: PrivateKey): PrivateKey {
  const data = utf8Encode("pair");
  let matches = false;
  try {
    matches = verifySignature(key.publicKey, data, key.sign(data));
  } catch {
    // Values that cannot even sign are no pair either.
  }
  if (!matches) throw new BadParameter("The private key does not belong to its public key");
  return key;
}

function encrypted(): BadParameter {
  return new BadParameter(
    "The private key is encrypted with a passphrase: decrypt it first (ssh-keygen -p -N '' -f KEY)",
  );
}

function toBigInt(magnitude: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(magnitude).toString("hex") || "0"}`);
}

function fromBigInt(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex");
}

function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
