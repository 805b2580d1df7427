/** What the cluster's authorities sign, and for how long. */
import { createPublicKey } from "node:crypto";
import { Buffer } from "node:buffer";
import { NodeAccess, sessionOptions } from "../access/mod.ts";
import type { UserCertificates } from "../api/types.ts";
import { BadParameter } from "../base/errors.ts";
import { fromBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { formatDuration } from "../base/duration.ts";
import { isUuid, uuid } from "../base/ids.ts";
import { isIpAddress } from "../base/net.ts";
import { hostPrincipal } from "../cert/identity.ts";
import { issueHostCertificate, issueUserCertificate } from "../cert/issue.ts";
import { isHostName, nologinPrincipal } from "../cert/names.ts";
import {
  formatRoles,
  formatTraits,
  hostExtension,
  type HostRole,
  userExtension,
} from "../cert/options.ts";
import { tlsServerCertificate, tlsUserCertificate } from "../cert/x509.ts";
import type { Role, User } from "../resources/types.ts";
import { formatCertificateLine } from "../sshwire/certificate.ts";
import { equalKeys, parseAuthorizedKey, type PublicKey } from "../sshwire/keys.ts";
import type { Authorities } from "./authorities.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
export const DEFAULT_TTL_MS = 12 * HOUR;
export const MIN_TTL_MS = MINUTE;
/** No login lasts longer, whatever the roles say. */
export const MAX_TTL_MS = 30 * HOUR;
/** A certificate is valid from a little before, for clocks that lag. */
const BACKDATE_MS = MINUTE;
/** Systems refuse servers' certificates with a longer life. Renewed at each start of a host. */
const HOST_TLS_TTL_MS = 800 * 24 * HOUR;

export interface UserSignRequest {
  user: User;
  /** All roles of the user. */
  roles: readonly Role[];
  /** authorized_keys line. */
  publicKey: string;
  /** Base64 of the SPKI: asks for an X.509 certificate as well. */
  tlsPublicKey?: string | undefined;
  ttlMs?: number | undefined;
  /** False for `tctl auth sign`. */
  capped: boolean;
}

export interface HostSignRequest {
  hostId: string;
  nodeName: string;
  role: HostRole;
  key: PublicKey;
  additionalPrincipals: readonly string[];
  dnsNames: readonly string[];
  tlsPublicKey?: string | undefined;
}

export class Signer {
  constructor(private readonly authorities: Authorities, private readonly clock: Clock) {}

  /** @throws BadParameter for a TTL under a minute or a key that cannot be certified */
  async user(request: UserSignRequest): Promise<UserCertificates> {
    const { user, roles } = request;
    const { name } = user.metadata;
    const { traits } = user.spec;
    const options = sessionOptions(roles);
    const now = this.clock.now();
    const capMs = request.capped ? Math.min(options.maxSessionTtlMs, MAX_TTL_MS) : undefined;
    const validBeforeMs = now + Math.min(wantedTtl(request.ttlMs), capMs ?? Infinity);
    const { logins } = new NodeAccess(roles, traits);
    const principals = logins.length > 0 ? logins : [nologinPrincipal(uuid())];
    const { key } = parseAuthorizedKey(request.publicKey);
    this.#refuseAuthorityKey(key);
    const roleNames = roles.map((role) => role.metadata.name);
    const flag = (name: string, on: boolean) => on ? { [name]: "" } : {};
    const certificate = issueUserCertificate({
      ca: this.authorities.user.sshKey,
      key,
      keyId: name,
      principals,
      validAfterMs: now - BACKDATE_MS,
      validBeforeMs,
      extensions: {
        [userExtension.permitPty]: "",
        ...flag(userExtension.permitPortForwarding, options.portForwarding),
        ...flag(userExtension.permitAgentForwarding, options.forwardAgent),
        ...flag(userExtension.permitX11Forwarding, options.x11),
        // OpenSSH up to 7.1 does not understand certificates with unknown extensions.
        ...(options.certFormat === "oldssh" ? {} : {
          [userExtension.roles]: formatRoles(roleNames),
          [userExtension.traits]: formatTraits(traits),
        }),
      },
      limits: { principals, ...(capMs === undefined ? {} : { latestEndMs: now + capMs }) },
    });
    const tls = request.tlsPublicKey === undefined ? undefined : await tlsUserCertificate({
      ...this.#tlsSigner("user"),
      user: name,
      roles: roleNames,
      logins: principals,
      traits,
      publicKeySpki: readSpki(request.tlsPublicKey),
      ttlMs: validBeforeMs - now,
    });
    return {
      username: name,
      cert: formatCertificateLine(certificate),
      host_signers: this.authorities.hostSigners(),
      ...(tls && { tls_cert: tls.certPem }),
    };
  }

  /** Of a service of the cluster. Its names are its id, its node name and what it asks for. */
  async host(
    request: HostSignRequest,
  ): Promise<{ certificate: string; tls_certificate?: string }> {
    const { cluster } = this.authorities;
    const { hostId, key, role } = request;
    this.#refuseAuthorityKey(key);
    const nodeName = request.nodeName.toLowerCase();
    assertHostNames(hostId, [
      nodeName,
      ...request.additionalPrincipals,
      ...request.dnsNames,
    ]);
    const principals = [
      hostPrincipal(hostId, cluster),
      hostId,
      `${nodeName}.${cluster}`,
      nodeName,
      "localhost",
      "127.0.0.1",
      "::1",
      ...request.additionalPrincipals,
    ];
    const certificate = issueHostCertificate({
      ca: this.authorities.host.sshKey,
      key,
      keyId: hostPrincipal(hostId, cluster),
      principals,
      validAfterMs: this.clock.now() - BACKDATE_MS,
      extensions: { [hostExtension.role]: role, [hostExtension.authority]: cluster },
    });
    const line = formatCertificateLine(certificate);
    if (request.tlsPublicKey === undefined) return { certificate: line };
    const names = [...new Set([...principals, ...request.dnsNames])];
    const { certPem } = await tlsServerCertificate({
      ...this.#tlsSigner("host"),
      commonName: hostPrincipal(hostId, cluster),
      organizations: [role],
      dnsNames: names.filter((name) => isHostName(name.toLowerCase()) && !isIpAddress(name)),
      ips: names.filter(isIpAddress),
      publicKeySpki: readSpki(request.tlsPublicKey),
      ttlMs: HOST_TLS_TTL_MS,
    });
    return {
      certificate: line,
      tls_certificate: `${certPem.trimEnd()}\n${this.authorities.host.tls.certPem}`,
    };
  }

  /** For an OpenSSH server: exactly the given names, and no role in the cluster. */
  foreignHost(principals: readonly string[], publicKey: string, ttlMs?: number): string {
    const { key } = parseAuthorizedKey(publicKey);
    this.#refuseAuthorityKey(key);
    const now = this.clock.now();
    return formatCertificateLine(issueHostCertificate({
      ca: this.authorities.host.sshKey,
      key,
      keyId: principals[0] ?? "",
      principals,
      validAfterMs: now - BACKDATE_MS,
      ...(ttlMs === undefined ? {} : { validBeforeMs: now + ttlMs }),
      extensions: { [hostExtension.authority]: this.authorities.cluster },
    }));
  }

  #tlsSigner(type: "user" | "host") {
    const { keyPem, certPem } = this.authorities[type].tls;
    return { caKeyPem: keyPem, caCertPem: certPem, nowMs: this.clock.now() };
  }

  #refuseAuthorityKey(key: PublicKey): void {
    for (const type of ["user", "host"] as const) {
      if (equalKeys(key, this.authorities[type].sshKey.publicKey)) {
        throw new BadParameter("the key of an authority cannot be certified");
      }
    }
  }
}

function wantedTtl(ttlMs = DEFAULT_TTL_MS): number {
  if (ttlMs < MIN_TTL_MS) {
    throw new BadParameter(
      `a certificate lives for at least ${formatDuration(MIN_TTL_MS)}, not ${
        formatDuration(ttlMs)
      }`,
    );
  }
  return ttlMs;
}

/** A host may be called what it likes, but not by another host's id. */
function assertHostNames(hostId: string, names: readonly string[]): void {
  for (const name of names.map((each) => each.toLowerCase())) {
    const foreignId = isUuid(name.slice(0, 36)) && !name.startsWith(hostId);
    if (foreignId || !(isHostName(name) || isIpAddress(name))) {
      throw new BadParameter(`a host cannot be called ${JSON.stringify(name.slice(0, 100))}`);
    }
  }
}

function readSpki(base64: string): Uint8Array {
  const der = fromBase64(base64);
  try {
    createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
  } catch (cause) {
    throw new BadParameter("tls_public_key is not a public key in SPKI form", { cause });
  }
  return der;
}
