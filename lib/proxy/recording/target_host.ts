/** Whether the host at the other end of a recorded connection is the one that was asked for. */
import { AccessDenied, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { printable } from "../../base/text.ts";
import { checkCertificate, type TrustedAuthority } from "../../cert/check.ts";
import { hostIdentityOf, hostPrincipal } from "../../cert/identity.ts";
import type { OfferedHost } from "../../ssh/client.ts";
import { fingerprint } from "../../sshwire/keys.ts";
import type { Route } from "../route.ts";

export interface HostPolicy {
  readonly cluster: string;
  /** Trusted host authorities. */
  readonly authorities: TrustedAuthority[];
  /** `proxy_checks_host_keys`. A node of the cluster is checked in any case. */
  readonly checksHostKeys: boolean;
  readonly nowMs: number;
}

/**
 * @param asked the host as the user has named it
 * @throws AccessDenied saying what is wrong and what helps
 */
export function verifyTarget(
  host: OfferedHost,
  asked: string,
  route: Route,
  policy: HostPolicy,
): void {
  if (route.node) return verifyNode(host, route.node.metadata.name, policy);
  try {
    verifyForeign(host, asked, policy);
  } catch (error) {
    if (policy.checksHostKeys || !(error instanceof AccessDenied)) throw error;
    log("proxy").warn("A host is not checked, as proxy_checks_host_keys is off", {
      host: printable(asked),
      key: fingerprint(host.key),
      reason: error.message,
    });
  }
}

function verifyNode(
  { certificate }: OfferedHost,
  id: string,
  { cluster, authorities, nowMs }: HostPolicy,
): void {
  if (!certificate) throw new AccessDenied("the node presented a public key, not its certificate");
  const principal = hostPrincipal(id, cluster);
  const checked = checkCertificate(certificate, { type: "host", authorities, principal, nowMs });
  // A certificate for a proxied host names no role: what it names is no node.
  if (hostIdentityOf(checked).hostId !== id) throw new AccessDenied("it is another node");
}

function verifyForeign(
  { key, certificate }: OfferedHost,
  asked: string,
  { authorities, nowMs }: HostPolicy,
): void {
  if (!certificate) {
    throw new AccessDenied(
      `remote host presented a public key, expected a host certificate (${key.type} ` +
        `${fingerprint(key)}): give "${
          printable(asked)
        }" one by \`tctl auth sign --host\`, or set ` +
        "auth_service.proxy_checks_host_keys to no",
    );
  }
  try {
    checkCertificate(certificate, { type: "host", authorities, principal: asked, nowMs });
  } catch (cause) {
    throw new AccessDenied(
      `remote host is not "${printable(asked)}": ${messageOf(cause)}; ` +
        "`tctl auth sign --host` makes its certificate",
      { cause },
    );
  }
}
