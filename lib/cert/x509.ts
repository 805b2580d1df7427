/**
 * X.509: the cluster's TLS authorities, what they sign, and CA pins. Loading this module takes
 * a noticeable part of a second, so programs that start often import it only where they need it.
 *
 * A TLS authority's certificate carries the SSH key of the same authority in a private extension:
 * the CA pin is a hash of the TLS key, the certificate is signed by that key, so one pin vouches for
 * both.
 */
import "reflect-metadata";
import { createHash } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { constantTimeEqual, equalBytes } from "../base/bytes.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { normalizeIp } from "../base/net.ts";
import { parsePublicKey, type PublicKey } from "../sshwire/keys.ts";
import { formatTraits } from "./options.ts";
import {
  attribute,
  bufferOf,
  derOctets,
  exportKey,
  generateKeys,
  importKey,
  pemOf,
  readCertificate,
  requireDnsName,
  requireUsableKey,
} from "./x509_encoding.ts";

/** Value: OCTET STRING holding the wire form of an SSH public key. Not critical. */
const sshKeyExtension = "1.3.9999.3.1";
const authorityYears = 10;
const backdateMs = 60_000;
const signing = { name: "ECDSA", hash: "SHA-256" } as const;

export interface TlsAuthority {
  /** PKCS#8. */
  keyPem: string;
  certPem: string;
}

/** A new self-signed authority: P-256, ten years, with the SSH key that belongs to it. */
export async function createTlsAuthority(options: {
  cluster: string;
  type: "user" | "host";
  sshCaKey: PublicKey;
  nowMs?: number;
}): Promise<TlsAuthority> {
  const { cluster, type, sshCaKey, nowMs = Date.now() } = options;
  const keys = await generateKeys();
  const notAfter = new Date(nowMs);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + authorityYears);
  const name = new x509.Name([
    ...attribute("O", cluster),
    ...attribute("CN", `${cluster} ${type} CA`),
  ]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: name,
    issuer: name,
    notBefore: new Date(nowMs - backdateMs),
    notAfter,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign |
          x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.Extension(sshKeyExtension, false, derOctets(sshCaKey.blob)),
    ],
  });
  return { keyPem: await exportKey(keys.privateKey), certPem: pemOf(certificate) };
}

interface Signer {
  caKeyPem: string;
  caCertPem: string;
  nowMs?: number;
}

/** From now, in milliseconds; never longer than the authority lives. */
interface Lifetime {
  ttlMs: number;
}

/**
 * A certificate for a TLS server (and for a host as a TLS client). With `publicKeySpki` (DER) the
 * key stays with its owner, else a P-256 key is made and returned.
 * @throws BadParameter
 */
export async function tlsServerCertificate(
  options: Signer & Lifetime & {
    commonName: string;
    organizations?: readonly string[];
    dnsNames: readonly string[];
    ips: readonly string[];
    publicKeySpki?: Uint8Array;
  },
): Promise<{ certPem: string; keyPem?: string }> {
  const { commonName, organizations = [], dnsNames, ips } = options;
  const sans: x509.JsonGeneralNames = [
    ...dnsNames.map((value) => ({ type: "dns" as const, value: requireDnsName(value) })),
    ...ips.map((ip) => ({ type: "ip" as const, value: normalizeIp(ip) })),
  ];
  if (sans.length === 0) {
    throw new BadParameter("A server's certificate needs a name or an address");
  }
  const subject = [
    ...organizations.flatMap((each) => attribute("O", each)),
    ...attribute("CN", commonName),
  ];
  const extensions = [
    new x509.SubjectAlternativeNameExtension(sans),
    new x509.ExtendedKeyUsageExtension([
      x509.ExtendedKeyUsage.serverAuth,
      x509.ExtendedKeyUsage.clientAuth,
    ]),
  ];
  if (options.publicKeySpki) {
    return { certPem: await sign(options, subject, options.publicKeySpki, extensions) };
  }
  const keys = await generateKeys();
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey));
  return {
    certPem: await sign(options, subject, spki, extensions),
    keyPem: await exportKey(keys.privateKey),
  };
}

/**
 * A user's certificate: CN is the user, O the roles, L the logins, STREET the cluster to go to,
 * postalCode the traits as JSON, as Teleport writes them.
 * @throws BadParameter
 */
export async function tlsUserCertificate(
  options: Signer & Lifetime & {
    user: string;
    roles: readonly string[];
    logins: readonly string[];
    traits?: Readonly<Record<string, readonly string[]>>;
    routeToCluster?: string;
    /** DER. */
    publicKeySpki: Uint8Array;
  },
): Promise<{ certPem: string }> {
  const { user, roles, logins, traits, routeToCluster } = options;
  const subject = [
    ...roles.flatMap((role) => attribute("O", role)),
    ...logins.flatMap((login) => attribute("L", login)),
    ...(routeToCluster ? attribute("2.5.4.9", routeToCluster) : []),
    ...(traits ? attribute("2.5.4.17", formatTraits(traits)) : []),
    ...attribute("CN", user),
  ];
  const usage = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]);
  return { certPem: await sign(options, subject, options.publicKeySpki, [usage]) };
}

async function sign(
  options: Signer & Lifetime,
  subject: x509.JsonNameParams,
  spki: Uint8Array,
  extensions: x509.Extension[],
): Promise<string> {
  const { nowMs = Date.now(), ttlMs } = options;
  if (!(ttlMs > 0)) throw new BadParameter("A certificate's time to live must be positive");
  requireUsableKey(spki);
  const ca = readCertificate(options.caCertPem);
  if (ca.notAfter.getTime() <= nowMs) throw new BadParameter("The TLS authority has expired");
  const publicKey = new x509.PublicKey(bufferOf(spki));
  const certificate = await x509.X509CertificateGenerator.create({
    subject: new x509.Name(subject),
    issuer: ca.subjectName,
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(Math.min(nowMs + ttlMs, ca.notAfter.getTime())),
    publicKey,
    signingKey: await importKey(options.caKeyPem),
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey),
    ],
  });
  return pemOf(certificate);
}

/** "sha256:" and the SHA-256 of the certificate's SubjectPublicKeyInfo in hexadecimal. */
export function caPin(certPem: string): string {
  return `sha256:${spkiFingerprint(certPem)}`;
}

/** SHA-256 of the certificate's SubjectPublicKeyInfo in hexadecimal. */
export function spkiFingerprint(certPem: string): string {
  const spki = readCertificate(certPem).publicKey.rawData;
  return createHash("sha256").update(new Uint8Array(spki)).digest("hex");
}

/**
 * What a CA pin vouches for: that the certificate is the authority's own, and the SSH key in it.
 * @param pin "sha256:…" as caPin() gives it
 * @returns the certificate as PEM, without anything else that was in `certPem`
 * @throws BadParameter for a malformed pin or certificate, AccessDenied when the pin does not match
 *   or the certificate is not a valid self-signed authority
 */
export async function verifyPinnedAuthority(
  certPem: string,
  pin: string,
  nowMs: number = Date.now(),
): Promise<{ sshCaKey: PublicKey; certPem: string }> {
  if (!/^sha256:[0-9a-f]{64}$/i.test(pin)) {
    throw new BadParameter("A CA pin looks like sha256: and 64 hexadecimal digits");
  }
  const certificate = readCertificate(certPem);
  if (!constantTimeEqual(caPin(certPem), pin.toLowerCase())) {
    throw new AccessDenied("The cluster's authority does not match the CA pin");
  }
  const basic = certificate.getExtension(x509.BasicConstraintsExtension);
  const usage = certificate.getExtension(x509.KeyUsagesExtension);
  if (basic?.ca !== true || !(usage && usage.usages & x509.KeyUsageFlags.keyCertSign)) {
    throw new AccessDenied("The pinned certificate is not that of an authority");
  }
  if (certificate.subject !== certificate.issuer || !await isSignedBy(certificate, certificate)) {
    throw new AccessDenied("The pinned certificate is not signed by its own key");
  }
  if (!(nowMs >= certificate.notBefore.getTime() && nowMs < certificate.notAfter.getTime())) {
    throw new AccessDenied("The pinned certificate has expired or is not valid yet");
  }
  return { sshCaKey: sshKeyIn(certificate), certPem: pemOf(certificate) };
}

async function isSignedBy(
  certificate: x509.X509Certificate,
  issuer: x509.X509Certificate,
): Promise<boolean> {
  try {
    const { publicKey } = issuer;
    return await certificate.verify({ publicKey, signatureOnly: true }) === true;
  } catch {
    // The library throws at signatures whose form it cannot read.
    return false;
  }
}

/**
 * The SSH key that a TLS authority's certificate carries. Says nothing about whether the
 * certificate is to be believed.
 * @throws BadParameter
 */
export function sshKeyOfAuthority(certPem: string): PublicKey {
  return sshKeyIn(readCertificate(certPem));
}

export interface CertificateDescription {
  subject: string;
  issuer: string;
  notBefore: Date;
  notAfter: Date;
  /** DNS names and IP addresses. */
  sans: string[];
  /** Of the whole certificate, in hexadecimal. */
  fingerprintSha256: string;
}

/** @throws BadParameter */
export function describeCertificate(certPem: string): CertificateDescription {
  const certificate = readCertificate(certPem);
  const sans = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    sans: sans?.names.items.map((name) => name.value) ?? [],
    fingerprintSha256: createHash("sha256").update(new Uint8Array(certificate.rawData)).digest(
      "hex",
    ),
  };
}

function sshKeyIn(certificate: x509.X509Certificate): PublicKey {
  const extension = certificate.getExtension(sshKeyExtension);
  if (!extension) throw new BadParameter("The certificate carries no SSH key of an authority");
  const der = new Uint8Array(extension.value);
  const blob = der.subarray(der[1] === 0x82 ? 4 : der[1] === 0x81 ? 3 : 2);
  if (!equalBytes(der, new Uint8Array(derOctets(blob)))) {
    throw new BadParameter("The SSH key in the certificate is malformed");
  }
  return parsePublicKey(blob);
}
