/**
 * Identity files: everything that a program needs to be somebody, in one file (`tsh login --out`,
 * `tctl auth sign`, `tsh -i`). One after the other: private key (PEM), SSH certificate line, X.509
 * certificates (PEM), `@cert-authority *.<cluster> …` lines, X.509 authorities (PEM).
 */
import { BadParameter } from "../base/errors.ts";
import {
  formatCertificateLine,
  isCertificateAlgorithm,
  parseCertificateLine,
} from "../sshwire/certificate.ts";
import { formatCertAuthorityLine, parseKnownHosts } from "../sshwire/known_hosts.ts";
import { decodePrivateKey, encodePrivateKey } from "../sshwire/private_key.ts";
import { readTextIfThere, writeFileAtomic } from "./files.ts";
import { assertMatching, type ClientIdentity, userOf } from "./identity.ts";
import { splitPem } from "./keystore.ts";

/** @param tlsCertificate the user's X.509 certificate chain, PEM */
export function formatIdentityFile(identity: ClientIdentity, tlsCertificate = ""): string {
  const user = userOf(identity.certificate);
  const authorities = identity.hostKeys.map((key) =>
    formatCertAuthorityLine([`*.${identity.cluster}`], key, "type=host")
  );
  return [
    ensureLine(encodePrivateKey(identity.key, `teleport:${user}`)),
    ensureLine(formatCertificateLine(identity.certificate, `teleport:${user}`)),
    ensureLine(tlsCertificate),
    ...authorities.map(ensureLine),
    ...identity.tlsAuthorities.map(ensureLine),
  ].join("");
}

/**
 * @param where the file's name, for messages
 * @throws BadParameter saying what is missing; AccessDenied when the parts do not match
 */
export function parseIdentityFile(text: string, where: string): ClientIdentity {
  const lacks = (what: string, why = "") =>
    new BadParameter(
      `${where} is not an identity file: it has no ${what}${why}; make one by ` +
        "`tsh login --out` or `tctl auth sign`",
    );
  const key = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/.exec(text);
  if (!key) throw lacks("private key");
  const lines = text.split(/\r?\n/);
  const certificateLine = lines.find((line) => isCertificateAlgorithm(line.split(" ")[0] ?? ""));
  if (certificateLine === undefined) throw lacks("SSH certificate");
  const known = parseKnownHosts(lines.filter((line) => line.startsWith("@")).join("\n"))
    .filter((entry) => entry.marker === "cert-authority");
  const cluster = known[0]?.patterns.find((pattern) => pattern.startsWith("*."))?.slice(2);
  if (cluster === undefined) throw lacks("host CA", " (a line with @cert-authority)");
  const identity: ClientIdentity = {
    key: decodePrivateKey(`${key[0]}\n`).key,
    certificate: parseCertificateLine(certificateLine),
    cluster,
    hostKeys: known.filter((entry) => entry.patterns.includes(`*.${cluster}`))
      .map((entry) => entry.key),
    tlsAuthorities: splitPem(text),
  };
  assertMatching(identity.key, identity.certificate, where);
  return identity;
}

/** @throws BadParameter when there is no such file, or it is not an identity file */
export function readIdentityFile(path: string): ClientIdentity {
  const text = readTextIfThere(path);
  if (text === undefined) {
    throw new BadParameter(`There is no identity file ${path}: check the path given by --identity`);
  }
  return parseIdentityFile(text, path);
}

/** Writes an identity as one file. */
export async function writeIdentityFile(
  path: string,
  identity: ClientIdentity,
  tlsCertificate?: string,
): Promise<string[]> {
  await writeFileAtomic(path, formatIdentityFile(identity, tlsCertificate));
  return [path];
}

/** Writes an identity as OpenSSH wants it: `path` and `path-cert.pub`. */
export async function writeOpenSshFiles(
  path: string,
  identity: ClientIdentity,
): Promise<string[]> {
  const comment = `teleport:${userOf(identity.certificate)}`;
  const certificate = `${path}-cert.pub`;
  await writeFileAtomic(path, encodePrivateKey(identity.key, comment));
  await writeFileAtomic(
    certificate,
    ensureLine(formatCertificateLine(identity.certificate, comment)),
  );
  return [path, certificate];
}

function ensureLine(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
