/**
 * Keys and trust of the user, below the profile directory:
 *
 *   known_hosts                     host CAs, as @cert-authority lines that stock ssh reads too
 *   keys/<proxy>/<user>             private key (0600)
 *   keys/<proxy>/<user>.pub
 *   keys/<proxy>/<user>-cert.pub    the SSH certificate
 *   keys/<proxy>/<user>-x509.pem    the X.509 certificate, where the cluster gives one
 *   keys/<proxy>/certs.pem          X.509 authorities for the proxy's HTTPS
 */
import { NotFound } from "../base/errors.ts";
import { formatCertificateLine, parseCertificateLine } from "../sshwire/certificate.ts";
import { formatAuthorizedKey } from "../sshwire/keys.ts";
import { decodePrivateKey, encodePrivateKey } from "../sshwire/private_key.ts";
import { makePrivateDirectory, readTextIfThere, removeIfThere, writeFileAtomic } from "./files.ts";
import { assertMatching, type ClientIdentity, userOf } from "./identity.ts";
import { readHostAuthorities, replaceHostAuthorities } from "./known_hosts.ts";
import type { Profile } from "./profile.ts";

/** Where the files of a profile's user are, for people and for stock ssh. */
export function keyPaths(dir: string, profile: Pick<Profile, "name" | "user">): {
  directory: string;
  key: string;
  publicKey: string;
  certificate: string;
  tlsCertificate: string;
  tlsAuthorities: string;
  knownHosts: string;
} {
  const directory = `${dir}/keys/${profile.name}`;
  // A user's name may be an address of mail, never a path: the server refuses "/" in it, too.
  const base = `${directory}/${profile.user.replaceAll("/", "_")}`;
  return {
    directory,
    key: base,
    publicKey: `${base}.pub`,
    certificate: `${base}-cert.pub`,
    tlsCertificate: `${base}-x509.pem`,
    tlsAuthorities: `${directory}/certs.pem`,
    knownHosts: `${dir}/known_hosts`,
  };
}

/**
 * The identity of a profile.
 * @throws NotFound when its user is not logged in; BadParameter for files that cannot be read
 */
export function readIdentity(dir: string, profile: Profile): ClientIdentity {
  const paths = keyPaths(dir, profile);
  const key = readTextIfThere(paths.key);
  const certificate = readTextIfThere(paths.certificate);
  if (key === undefined || certificate === undefined) {
    throw new NotFound(
      `Not logged in as ${profile.user} at ${profile.name}: run \`tsh login ` +
        `--proxy=${profile.name} --user=${profile.user}\``,
    );
  }
  const identity: ClientIdentity = {
    key: decodePrivateKey(key).key,
    certificate: parseCertificateLine(certificate),
    cluster: profile.cluster,
    hostKeys: readHostAuthorities(readTextIfThere(paths.knownHosts) ?? "", profile),
    tlsAuthorities: splitPem(readTextIfThere(paths.tlsAuthorities) ?? ""),
  };
  assertMatching(identity.key, identity.certificate, paths.directory);
  return identity;
}

/** Only the X.509 authorities, for a login: there may be no key yet. */
export function readTlsAuthorities(dir: string, name: string): string[] {
  return splitPem(readTextIfThere(keyPaths(dir, { name, user: "" }).tlsAuthorities) ?? "");
}

/** Stores what a login gave. `tlsCertificate` is the user's X.509 certificate chain, if any. */
export async function writeIdentity(
  dir: string,
  profile: Profile,
  identity: ClientIdentity,
  tlsCertificate?: string,
): Promise<void> {
  const paths = keyPaths(dir, profile);
  await makePrivateDirectory(dir);
  await makePrivateDirectory(`${dir}/keys`);
  await makePrivateDirectory(paths.directory);
  using _lock = await lock(`${paths.directory}/.lock`);
  const comment = `teleport:${userOf(identity.certificate)}`;
  await writeFileAtomic(paths.key, encodePrivateKey(identity.key, comment));
  await writeFileAtomic(
    paths.publicKey,
    `${formatAuthorizedKey(identity.key.publicKey, comment)}\n`,
  );
  await writeFileAtomic(
    paths.certificate,
    `${formatCertificateLine(identity.certificate, comment)}\n`,
  );
  if (tlsCertificate === undefined) await removeIfThere(paths.tlsCertificate);
  else await writeFileAtomic(paths.tlsCertificate, tlsCertificate);
  await writeFileAtomic(paths.tlsAuthorities, identity.tlsAuthorities.join(""));
  const known = readTextIfThere(paths.knownHosts) ?? "";
  await writeFileAtomic(
    paths.knownHosts,
    replaceHostAuthorities(known, profile, identity.hostKeys),
  );
}

/** Removes the user's key and certificates; the directory goes with the last user in it. */
export async function removeIdentity(dir: string, profile: Profile): Promise<void> {
  const paths = keyPaths(dir, profile);
  for (const path of [paths.key, paths.publicKey, paths.certificate, paths.tlsCertificate]) {
    await removeIfThere(path);
  }
  const others = [...readNames(paths.directory)].some((name) => name.endsWith("-cert.pub"));
  if (others) return;
  await removeIfThere(paths.directory);
  const known = readTextIfThere(paths.knownHosts);
  if (known !== undefined) {
    await writeFileAtomic(paths.knownHosts, replaceHostAuthorities(known, profile, []));
  }
}

/** The certificates of a PEM file, one string each, with a line feed at the end. */
export function splitPem(text: string): string[] {
  return (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
    .map((pem) => `${pem}\n`);
}

/** Two logins at once must not leave the key of one beside the certificate of the other. */
async function lock(path: string): Promise<Disposable> {
  const file = await Deno.open(path, { write: true, create: true, mode: 0o600 });
  await file.lock(true);
  return { [Symbol.dispose]: () => file.close() };
}

function* readNames(directory: string): Iterable<string> {
  try {
    for (const entry of Deno.readDirSync(directory)) yield entry.name;
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
}
