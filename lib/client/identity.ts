/** Who the user is towards the cluster: a key, its certificate, and whom the user believes. */
import { AccessDenied } from "../base/errors.ts";
import type { TrustedAuthority } from "../cert/check.ts";
import { parseRoles, parseTraits, userExtension } from "../cert/options.ts";
import { type Certificate, forever } from "../sshwire/certificate.ts";
import { equalKeys, type PrivateKey, type PublicKey } from "../sshwire/keys.ts";

export interface ClientIdentity {
  key: PrivateKey;
  certificate: Certificate;
  /** The cluster that the user logged in to. */
  cluster: string;
  /** The host CA keys of `cluster`, by which the proxy, the nodes and auth are recognised. */
  hostKeys: readonly PublicKey[];
  /** X.509 authorities (PEM) for the proxy's HTTPS, in addition to the system's. */
  tlsAuthorities: readonly string[];
}

/** @throws AccessDenied when key and certificate do not belong together */
export function assertMatching(key: PrivateKey, certificate: Certificate, where: string): void {
  if (equalKeys(key.publicKey, certificate.key)) return;
  throw new AccessDenied(
    `The key and the certificate in ${where} do not belong together: run \`tsh login\` again`,
  );
}

/** The Teleport user. */
export function userOf(certificate: Certificate): string {
  return certificate.keyId;
}

/** The logins on nodes that the certificate is good for; empty when it is good for none. */
export function loginsOf(certificate: Certificate): string[] {
  return certificate.principals.filter((name) => !name.startsWith("-teleport-"));
}

/**
 * The user name for the SSH connections to the proxy and to auth, which only authenticate: any
 * principal does, as stock ssh uses the login on the node there.
 */
export function outerLogin(certificate: Certificate): string {
  const login = loginsOf(certificate)[0] ?? certificate.principals[0];
  if (login !== undefined) return login;
  throw new AccessDenied("The certificate names no login: ask an administrator to give you one");
}

/** When the certificate ends, in ms since the epoch; Infinity for one that never does. */
export function endOf(certificate: Certificate): number {
  return certificate.validBefore === forever ? Infinity : Number(certificate.validBefore) * 1000;
}

export function isExpired(certificate: Certificate, nowMs = Date.now()): boolean {
  return endOf(certificate) <= nowMs;
}

export function authoritiesOf(identity: ClientIdentity): TrustedAuthority[] {
  return [{ cluster: identity.cluster, type: "host", keys: [...identity.hostKeys] }];
}

/** What the certificate says of its user, for showing: no decision is made from it here. */
export function describeUser(certificate: Certificate): {
  roles: string[];
  traits: Record<string, string[]>;
  extensions: string[];
} {
  const { extensions } = certificate;
  return {
    roles: readOr([], () => parseRoles(extensions.get(userExtension.roles) ?? "")),
    traits: readOr({}, () => parseTraits(extensions.get(userExtension.traits) ?? "")),
    extensions: [...extensions.keys()].filter((name) => name.startsWith("permit-")),
  };
}

function readOr<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
