/** Who a role of this daemon is: from the auth service in the same process, from disk, or by joining. */
import type { HostCertificates } from "../../lib/api/types.ts";
import { Backoff, sleep } from "../../lib/base/backoff.ts";
import { BadParameter, ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { log } from "../../lib/base/log.ts";
import type { HostRole } from "../../lib/cert/identity.ts";
import { writeIdentity } from "../../lib/host/identity.ts";
import {
  type AuthConnection,
  type HostIdentity,
  identityDirectory,
  join,
  readIdentity,
  readToken,
  renewIdentity,
} from "../../lib/host/mod.ts";
import { newTlsKey, spkiOf } from "../../lib/host/join.ts";
import { parseCertificateLine } from "../../lib/sshwire/certificate.ts";
import { generatePrivateKey, type PublicKey } from "../../lib/sshwire/keys.ts";

/** What a role's certificates have to say. */
export interface IdentityRequest {
  readonly role: HostRole;
  readonly dataDir: string;
  readonly hostId: string;
  readonly nodeName: string;
  /** Names and addresses for the SSH certificate, besides those every host has. */
  readonly principals: readonly string[];
  /** Names and addresses for a TLS certificate; none is asked for when this is absent. */
  readonly dnsNames?: readonly string[];
}

/** Issues host certificates in this process. */
export interface HostIssuer {
  issueHost(request: {
    role: HostRole;
    hostId: string;
    nodeName: string;
    additionalPrincipals: string[];
    dnsNames: string[];
    publicKey: PublicKey;
    tlsPublicKey?: string;
  }): Promise<HostCertificates>;
}

/** An identity from the auth service in this process, with its key kept from the last start. */
export async function issuedIdentity(
  issuer: HostIssuer,
  request: IdentityRequest,
): Promise<HostIdentity> {
  const directory = identityDirectory(request.dataDir, request.role);
  // Damaged files are replaced: whoever holds the CA needs nothing from them.
  const before = await readIdentity(directory).catch(() => undefined);
  const key = before?.key ?? generatePrivateKey();
  const tls = request.dnsNames && tlsKeyOf(before);
  const issued = await issuer.issueHost({
    role: request.role,
    hostId: request.hostId,
    nodeName: request.nodeName,
    additionalPrincipals: [...request.principals],
    dnsNames: [...request.dnsNames ?? []],
    publicKey: key.publicKey,
    ...(tls ? { tlsPublicKey: tls.spki } : {}),
  });
  const identity: HostIdentity = {
    role: request.role,
    hostId: request.hostId,
    cluster: issued.cluster_name,
    key,
    certificate: parseCertificateLine(issued.certificate),
    ...(tls && issued.tls_certificate
      ? { tls: { keyPem: tls.keyPem, certPem: issued.tls_certificate } }
      : {}),
    authorities: issued.authorities,
  };
  await writeIdentity(directory, identity);
  return identity;
}

function tlsKeyOf(identity: HostIdentity | undefined): { keyPem: string; spki: string } {
  if (!identity?.tls) return newTlsKey();
  return { keyPem: identity.tls.keyPem, spki: spkiOf(identity.tls.keyPem) };
}

export interface JoinRequest extends IdentityRequest {
  readonly role: "Node" | "Proxy";
  readonly authServers: readonly string[];
  /** The token or the path of a file that holds it. */
  readonly token?: string;
  readonly caPin?: string;
  readonly insecure?: boolean;
}

/**
 * The identity on disk, or a new one by joining with the token. Waits for as long as no auth server can
 * be reached: hosts of a cluster are started in any order.
 *
 * @throws BadParameter when this host has not joined yet and has no token
 * @throws AccessDenied when the server is not the cluster's, or when it refuses the token
 */
export async function joinedIdentity(
  request: JoinRequest,
  signal: AbortSignal,
): Promise<HostIdentity> {
  const directory = identityDirectory(request.dataDir, request.role);
  const known = await readIdentity(directory);
  if (known) return known;
  if (!request.token) {
    throw new BadParameter(
      `this host has not joined a cluster as ${request.role} yet and has no token; run ` +
        `\`tctl tokens add --type=${request.role.toLowerCase()}\` on the auth server and pass ` +
        "what it prints as --token and --ca-pin (or auth_token and ca_pin in the configuration file)",
    );
  }
  const token = await readToken(request.token);
  const backoff = new Backoff({ minMs: 500, maxMs: 15_000 });
  let waiting = false;
  for (;;) {
    try {
      const identity = await join({
        authServers: request.authServers,
        token,
        role: request.role,
        hostId: request.hostId,
        nodeName: request.nodeName,
        additionalPrincipals: request.principals,
        signal,
        ...(request.dnsNames ? { dnsNames: request.dnsNames } : {}),
        ...(request.caPin === undefined ? {} : { caPin: request.caPin }),
        ...(request.insecure ? { insecure: true } : {}),
      });
      await writeIdentity(directory, identity);
      log("process").info(`Joined cluster ${identity.cluster} as ${request.role}`);
      return identity;
    } catch (e) {
      if (!(e instanceof ConnectionProblem) || signal.aborted) throw e;
      if (!waiting) {
        log("process").warn("No auth server answers; trying until one does", {
          role: request.role,
          error: messageOf(e),
        });
      }
      waiting = true;
      await sleep(backoff.next(), signal);
    }
  }
}

/** A role's identity while the daemon runs. */
export class CurrentIdentity {
  readonly #directory: string;
  #identity: HostIdentity;

  constructor(identity: HostIdentity, dataDir: string) {
    this.#identity = identity;
    this.#directory = identityDirectory(dataDir, identity.role);
  }

  readonly get = (): HostIdentity => this.#identity;

  /**
   * Asks for new certificates when the configuration names more than the present one holds. Waits
   * for the auth service; the daemon serves with the old ones meanwhile.
   */
  async renewFor(
    request: IdentityRequest,
    auth: AuthConnection,
    signal: AbortSignal,
  ): Promise<void> {
    const { certificate, tls } = this.#identity;
    const missing = request.principals.filter((name) => !certificate.principals.includes(name));
    if (missing.length === 0 && (request.dnsNames === undefined || tls)) return;
    const api = await auth.api({ waitMs: Infinity, signal });
    this.#identity = await renewIdentity(this.#identity, api, {
      nodeName: request.nodeName,
      additionalPrincipals: request.principals,
      ...(request.dnsNames ? { dnsNames: request.dnsNames } : {}),
    });
    await writeIdentity(this.#directory, this.#identity);
    log("process").info(`Renewed the ${request.role} certificate`, { added: missing });
  }
}
