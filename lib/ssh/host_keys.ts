/** Host keys and host certificates: how a server offers them and how a client takes them apart. */
import { equalBytes } from "../base/bytes.ts";
import { AccessDenied, BadParameter, messageOf } from "../base/errors.ts";
import { type Certificate, parseCertificate } from "../sshwire/certificate.ts";
import { WireReader } from "../sshwire/codec.ts";
import { parsePublicKey, type PrivateKey, type PublicKey } from "../sshwire/keys.ts";
import { signatureAlgorithms } from "../sshwire/keys.ts";
import { certificateAlgorithm, hostKeyAlgorithms, parseKeyAlgorithm } from "./algorithms.ts";
import type { AcceptedHostKey, EngineHostKey } from "./internals.ts";

export interface HostKey {
  key: PrivateKey;
  /** Of this key. */
  certificate?: Certificate;
}

/**
 * Everything a server can offer: each key under each of its names, certificates first. Of two keys
 * of one type the first is taken.
 * @throws BadParameter when a certificate is not of its key, or there is no key at all
 */
export function offerHostKeys(keys: readonly HostKey[]): Map<string, EngineHostKey> {
  const found = new Map<string, EngineHostKey>();
  for (const { key, certificate } of keys) {
    if (certificate && !equalBytes(certificate.key.blob, key.publicKey.blob)) {
      throw new BadParameter("The host certificate is of another key");
    }
    for (const signature of signatureAlgorithms[key.publicKey.type]) {
      const sign = (data: Uint8Array) => rawSignature(key.sign(data, signature));
      const add = (name: string, blob: Uint8Array) => {
        if (!found.has(name)) found.set(name, { blob, signatureAlgorithm: signature, sign });
      };
      if (certificate) add(certificateAlgorithm(signature), certificate.blob);
      add(signature, key.publicKey.blob);
    }
  }
  if (found.size === 0) throw new BadParameter("An SSH server needs a host key");
  return new Map(
    hostKeyAlgorithms.flatMap((name) => {
      const key = found.get(name);
      return key ? [[name, key] as const] : [];
    }),
  );
}

export interface OfferedHost {
  key: PublicKey;
  /** Not checked in any way; that it is of `key` is certain. */
  certificate?: Certificate;
}

/**
 * What a client does with K_S. `verify` decides at the first key exchange; later ones must show the
 * same key.
 */
export function hostKeyAcceptor(
  verify: (host: OfferedHost) => void,
): (algorithm: string, blob: Uint8Array) => AcceptedHostKey {
  let first: Uint8Array | undefined;
  return (name, blob) => {
    const algorithm = parseKeyAlgorithm(name);
    if (!algorithm) throw new AccessDenied(`The host uses a key algorithm we do not know: ${name}`);
    if (first && !equalBytes(first, blob)) {
      throw new AccessDenied("The host key changed during the connection");
    }
    const offered = parseOffered(blob, algorithm);
    if (!first) verify(offered);
    first = Uint8Array.from(blob);
    return { blob: offered.key.blob, signatureAlgorithm: algorithm.signature };
  };
}

function parseOffered(
  blob: Uint8Array,
  algorithm: { isCertificate: boolean; blobType: string },
): OfferedHost {
  try {
    if (!algorithm.isCertificate) {
      const key = parsePublicKey(blob);
      if (key.type !== algorithm.blobType) throw new BadParameter("It is of another type");
      return { key };
    }
    const certificate = parseCertificate(blob);
    if (certificate.algorithm !== algorithm.blobType) {
      throw new BadParameter("It is of another type");
    }
    return { key: certificate.key, certificate };
  } catch (cause) {
    throw new AccessDenied(`The host's key cannot be used: ${messageOf(cause)}`, { cause });
  }
}

/** A signature blob without its name. */
function rawSignature(blob: Uint8Array): Uint8Array {
  const reader = new WireReader(blob, "signature");
  reader.string();
  return reader.string();
}
