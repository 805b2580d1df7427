/**
 * The one place where a certificate is believed or not. Everybody who is offered a certificate
 * asks here: the auth server, the proxy, the node, and the client about a host.
 *
 * The caller proves possession of the certified key itself: lib/ssh does, in the key exchange for
 * hosts and in user authentication for users.
 */
import { AccessDenied, InternalError, messageOf } from "../base/errors.ts";
import { cidrContains } from "../base/net.ts";
import { printable } from "../base/text.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { forever } from "../sshwire/certificate.ts";
import { equalKeys, fingerprint, type PublicKey, verifySignature } from "../sshwire/keys.ts";
import { isPrincipal } from "./names.ts";
import { criticalOption, parseSourceAddresses } from "./options.ts";

/** One certificate authority of one cluster; several keys while they are rotated. */
export interface TrustedAuthority {
  cluster: string;
  type: "user" | "host";
  keys: PublicKey[];
}

export interface WantedCertificate {
  type: "user" | "host";
  authorities: TrustedAuthority[];
  /** Must be one of the certificate's principals. Required unless `anyPrincipal`. */
  principal?: string;
  /** The caller decides about principals later, by itself. */
  anyPrincipal?: true;
  /** The peer's IP address; without it a certificate with `source-address` is refused. */
  address?: string;
  /** Milliseconds since the epoch. */
  nowMs: number;
  /** Which restrictions the caller will enforce; a certificate with any other is refused. */
  understood?: { forceCommand?: boolean };
}

export interface CheckedCertificate {
  certificate: Certificate;
  /** Of the authority that signed: what a certificate says about itself does not count. */
  cluster: string;
  /** The only command that may run, whatever is asked for. */
  forceCommand?: string;
  /** The ranges that the certificate may be used from; the peer's address is in one of them. */
  sourceAddresses?: string[];
}

/**
 * Checks type, authority, signature, validity, principals and critical options; what it does not
 * know, it refuses.
 * @throws AccessDenied saying what is wrong
 */
export function checkCertificate(
  certificate: Certificate,
  want: WantedCertificate,
): CheckedCertificate {
  checkType(certificate, want.type);
  const { cluster } = findAuthority(certificate, want);
  checkSignature(certificate);
  checkTime(certificate, want.nowMs);
  checkPrincipals(certificate, want);
  return { certificate, cluster, ...checkCriticalOptions(certificate, want) };
}

function checkType(certificate: Certificate, wanted: "user" | "host"): void {
  if (certificate.type === wanted) return;
  throw denied(
    certificate,
    `it is a ${certificate.type} certificate, and a ${wanted} certificate is needed here`,
  );
}

function findAuthority(certificate: Certificate, want: WantedCertificate): TrustedAuthority {
  const signer = certificate.signatureKey;
  if (want.authorities.some((ca) => ca.keys.some((key) => equalKeys(key, certificate.key)))) {
    throw denied(certificate, "it certifies the key of an authority");
  }
  const [found, ...others] = want.authorities.filter((ca) =>
    ca.type === want.type && ca.keys.some((key) => equalKeys(key, signer))
  );
  if (!found) {
    throw denied(certificate, `it is signed by an unknown authority (${fingerprint(signer)})`);
  }
  // Whose users would they be? A leaf cluster must not gain by listing another cluster's key.
  if (others.some((ca) => ca.cluster !== found.cluster)) {
    throw denied(certificate, `several clusters claim its authority (${fingerprint(signer)})`);
  }
  return found;
}

function checkSignature(certificate: Certificate): void {
  const { signatureKey, signedData, signature } = certificate;
  if (!verifySignature(signatureKey, signedData, signature)) {
    throw denied(certificate, "its signature is wrong");
  }
}

function checkTime(certificate: Certificate, nowMs: number): void {
  const { validAfter, validBefore } = certificate;
  const now = BigInt(Math.floor(nowMs / 1000));
  if (validAfter >= validBefore) throw denied(certificate, "it is never valid");
  if (certificate.type === "user" && validBefore === forever) {
    throw denied(certificate, "it never expires, which a user's certificate must");
  }
  if (now < validAfter) {
    throw denied(certificate, `it is valid from ${isoTime(validAfter)} on: check the clocks`);
  }
  if (now >= validBefore) throw denied(certificate, `it expired at ${isoTime(validBefore)}`);
}

function checkPrincipals(certificate: Certificate, want: WantedCertificate): void {
  const { principals } = certificate;
  if (principals.length === 0) throw denied(certificate, "it names no principals");
  if (!principals.every(isPrincipal)) throw denied(certificate, "a principal in it is malformed");
  if (want.anyPrincipal) return;
  if (want.principal === undefined) throw new InternalError("checkCertificate() needs a principal");
  const wanted = comparable(want.principal, want.type);
  if (principals.some((principal) => comparable(principal, want.type) === wanted)) return;
  const shown = JSON.stringify(printable(want.principal.slice(0, 255)));
  throw denied(
    certificate,
    want.type === "user" ? `it is not for the login ${shown}` : `it is not for the host ${shown}`,
  );
}

/** Host names do not tell upper from lower case, logins do. */
function comparable(principal: string, type: "user" | "host"): string {
  return type === "host" ? principal.toLowerCase() : principal;
}

function checkCriticalOptions(
  certificate: Certificate,
  want: WantedCertificate,
): Pick<CheckedCertificate, "forceCommand" | "sourceAddresses"> {
  const result: Pick<CheckedCertificate, "forceCommand" | "sourceAddresses"> = {};
  for (const [name, value] of certificate.criticalOptions) {
    if (want.type === "user" && name === criticalOption.sourceAddress) {
      result.sourceAddresses = checkSourceAddress(certificate, value, want.address);
    } else if (
      want.type === "user" && name === criticalOption.forceCommand &&
      want.understood?.forceCommand === true && value !== ""
    ) {
      result.forceCommand = value;
    } else {
      const shown = printable(name.slice(0, 64));
      throw denied(certificate, `its critical option ${shown} cannot be honoured here`);
    }
  }
  return result;
}

function checkSourceAddress(
  certificate: Certificate,
  value: string,
  address: string | undefined,
): string[] {
  if (address === undefined) {
    throw denied(certificate, "it is bound to source addresses, and the peer's is not known");
  }
  let inside: boolean;
  let ranges: string[];
  try {
    ranges = parseSourceAddresses(value);
    inside = ranges.some((range) => cidrContains(range, address));
  } catch (cause) {
    throw denied(certificate, `its source-address is malformed: ${messageOf(cause)}`, cause);
  }
  if (!inside) throw denied(certificate, `it may not be used from ${printable(address)}`);
  return ranges;
}

function denied(certificate: Certificate, why: string, cause?: unknown): AccessDenied {
  const whose = JSON.stringify(printable(certificate.keyId.slice(0, 255)));
  return new AccessDenied(`The certificate ${whose} is refused: ${why}`, { cause });
}

function isoTime(seconds: bigint): string {
  const date = new Date(Number(seconds) * 1000);
  return isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString().replace(".000", "");
}
