/** New certificates for a host that has joined: other names and addresses, or a TLS pair. */
import type { ApiClient } from "../api/client.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import { trustedAuthorities } from "./authorities.ts";
import type { HostIdentity } from "./identity.ts";
import { assertOurs, newTlsKey, spkiOf } from "./join.ts";

export interface RenewOptions {
  readonly nodeName?: string;
  readonly additionalPrincipals: readonly string[];
  /** With names: a TLS certificate for them as well. */
  readonly dnsNames?: readonly string[];
  readonly clock?: Clock;
}

/**
 * The same host, role and key with new certificates; the caller writes it to disk.
 *
 * @throws AccessDenied when the answer is not a certificate for this host
 * @throws ConnectionProblem when auth is away
 */
export async function renewIdentity(
  identity: HostIdentity,
  api: Pick<ApiClient, "call">,
  o: RenewOptions,
): Promise<HostIdentity> {
  const tlsKey = o.dnsNames && identity.tls
    ? { keyPem: identity.tls.keyPem, spki: spkiOf(identity.tls.keyPem) }
    : o.dnsNames && newTlsKey();
  const answer = await api.call("host.renew", {
    ...(o.nodeName === undefined ? {} : { node_name: o.nodeName }),
    additional_principals: [...o.additionalPrincipals],
    dns_names: [...o.dnsNames ?? []],
    ...(tlsKey ? { tls_public_key: tlsKey.spki } : {}),
  });
  const certificate = parseCertificateLine(answer.certificate);
  assertOurs(
    certificate,
    identity.key,
    trustedAuthorities(answer.authorities, "host"),
    identity.role,
    identity.hostId,
    (o.clock ?? systemClock).now(),
  );
  return {
    ...identity,
    certificate,
    authorities: answer.authorities,
    ...(tlsKey && answer.tls_certificate
      ? { tls: { keyPem: tlsKey.keyPem, certPem: answer.tls_certificate } }
      : {}),
  };
}
