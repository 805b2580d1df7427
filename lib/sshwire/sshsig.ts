/** Signatures over files and messages (PROTOCOL.sshsig of OpenSSH): what `ssh-keygen -Y` makes. */
import { createHash } from "node:crypto";
import { concat, equalBytes, fromBase64, toBase64, utf8Encode } from "../base/bytes.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { parsePublicKey, type PrivateKey, type PublicKey, verifySignature } from "./keys.ts";

const magic = utf8Encode("SSHSIG");
const version = 1;
const begin = "-----BEGIN SSH SIGNATURE-----";
const end = "-----END SSH SIGNATURE-----";
const maxArmoured = 16 * 1024;

/**
 * @param namespace what the signature is for, so that it is good for nothing else; not empty
 * @returns the armoured signature
 */
export function signSshsig(key: PrivateKey, namespace: string, data: Uint8Array): string {
  requireNamespace(namespace);
  const signature = key.sign(signedData(namespace, "sha512", data));
  const blob = new WireWriter().raw(magic).u32(version).string(key.publicKey.blob)
    .string(namespace).string("").string("sha512").string(signature).bytes();
  const lines = toBase64(blob).match(/.{1,70}/g) ?? [];
  return [begin, ...lines, end, ""].join("\n");
}

/**
 * @returns the key that signed; whether that key may, is for the caller to decide
 * @throws BadParameter when malformed, AccessDenied when it is not a signature of `data` for
 *   `namespace`
 */
export function verifySshsig(armoured: string, namespace: string, data: Uint8Array): PublicKey {
  requireNamespace(namespace);
  const reader = new WireReader(unarmour(armoured), "SSH signature");
  for (const byte of magic) {
    if (reader.u8() !== byte) throw new BadParameter("Malformed SSH signature: wrong start");
  }
  if (reader.u32() !== version) throw new BadParameter("The SSH signature is not of version 1");
  const key = parsePublicKey(reader.string());
  const signedNamespace = reader.string();
  reader.string(); // reserved: signed over as "" below
  const hash = readHash(reader.utf8());
  const signature = Uint8Array.from(reader.string());
  reader.end();
  if (!equalBytes(signedNamespace, utf8Encode(namespace))) {
    throw new AccessDenied("The SSH signature was made for something else (another namespace)");
  }
  if (!verifySignature(key, signedData(namespace, hash, data), signature)) {
    throw new AccessDenied("The SSH signature is wrong");
  }
  return key;
}

type Hash = "sha256" | "sha512";

function readHash(name: string): Hash {
  if (name === "sha256" || name === "sha512") return name;
  throw new BadParameter("The SSH signature uses an unknown hash");
}

function signedData(namespace: string, hash: Hash, data: Uint8Array): Uint8Array {
  const digest = createHash(hash).update(data).digest();
  return concat(
    magic,
    new WireWriter().string(namespace).string("").string(hash).string(digest).bytes(),
  );
}

function unarmour(armoured: string): Uint8Array {
  const text = armoured.trim();
  if (armoured.length > maxArmoured || !text.startsWith(begin) || !text.endsWith(end)) {
    throw new BadParameter("This is not an SSH signature");
  }
  return fromBase64(text.slice(begin.length, -end.length).replace(/[\r\n]/g, ""));
}

function requireNamespace(namespace: string): void {
  if (namespace === "") throw new BadParameter("An SSH signature needs a namespace");
}
