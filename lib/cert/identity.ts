/** Who a checked certificate speaks for. */
import { AccessDenied, messageOf } from "../base/errors.ts";
import { isUuid } from "../base/ids.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import type { CheckedCertificate } from "./check.ts";
import { isName } from "./names.ts";
import {
  hostExtension,
  type HostRole,
  parseHostRoles,
  parseRoles,
  parseTraits,
  userExtension,
} from "./options.ts";

export type { HostRole } from "./options.ts";

export interface UserIdentity {
  /** The Teleport user: the certificate's key id. */
  user: string;
  /** The user's own cluster: that of the authority that signed. */
  cluster: string;
  /** The logins that the certificate allows. */
  principals: readonly string[];
  roles: string[];
  traits: Record<string, string[]>;
  /** Where the user wants to be connected to when no cluster is named. */
  routeToCluster?: string;
  permitPty: boolean;
  permitPortForwarding: boolean;
  permitAgentForwarding: boolean;
  permitX11Forwarding: boolean;
  /** Milliseconds since the epoch. */
  validBeforeMs: number;
  /** The only command that may run, whatever is asked for. */
  forceCommand?: string;
  certificate: Certificate;
}

export interface HostIdentityClaims {
  /** The host's UUID. */
  hostId: string;
  /** The cluster of the authority that signed. */
  cluster: string;
  roles: HostRole[];
  certificate: Certificate;
}

/** @throws AccessDenied when it is not a user's certificate or its extensions are malformed */
export function userIdentityOf(checked: CheckedCertificate): UserIdentity {
  const { certificate, cluster, forceCommand } = checked;
  const { extensions, keyId } = certificate;
  if (certificate.type !== "user") throw new AccessDenied("A host certificate is no user's");
  if (!isName(keyId)) throw new AccessDenied("The certificate names no user");
  const roles = extensions.get(userExtension.roles);
  const traits = extensions.get(userExtension.traits);
  const routeToCluster = extensions.get(userExtension.routeToCluster);
  return {
    user: keyId,
    cluster,
    principals: certificate.principals,
    roles: roles === undefined ? [] : readable(() => parseRoles(roles)),
    traits: traits === undefined ? {} : readable(() => parseTraits(traits)),
    ...(routeToCluster ? { routeToCluster } : {}),
    permitPty: extensions.has(userExtension.permitPty),
    permitPortForwarding: extensions.has(userExtension.permitPortForwarding),
    permitAgentForwarding: extensions.has(userExtension.permitAgentForwarding),
    permitX11Forwarding: extensions.has(userExtension.permitX11Forwarding),
    validBeforeMs: Number(certificate.validBefore) * 1000,
    ...(forceCommand === undefined ? {} : { forceCommand }),
    certificate,
  };
}

/**
 * The host behind a certificate that a cluster gave to one of its own services. Its UUID is the one
 * principal of the form `<uuid>.<cluster>`.
 * @throws AccessDenied when it is no such certificate, or claims another cluster
 */
export function hostIdentityOf(checked: CheckedCertificate): HostIdentityClaims {
  const { certificate, cluster } = checked;
  const { extensions, principals } = certificate;
  if (certificate.type !== "host") throw new AccessDenied("A user certificate is no host's");
  const claimed = extensions.get(hostExtension.authority);
  if (claimed !== undefined && claimed !== cluster) {
    throw new AccessDenied("The host certificate claims another cluster than its authority's");
  }
  const role = extensions.get(hostExtension.role);
  if (role === undefined) throw new AccessDenied("The host certificate has no role in a cluster");
  const ids = new Set(principals.flatMap((principal) => hostIdIn(principal, cluster) ?? []));
  const [hostId] = ids;
  if (hostId === undefined || ids.size > 1) {
    throw new AccessDenied("The host certificate does not name exactly one host of its cluster");
  }
  return { hostId, cluster, roles: readable(() => parseHostRoles(role)), certificate };
}

/** The principal under which a host of a cluster logs in and is found. */
export function hostPrincipal(hostId: string, cluster: string): string {
  return `${hostId}.${cluster}`;
}

function hostIdIn(principal: string, cluster: string): string | undefined {
  const id = principal.slice(0, 36);
  return isUuid(id) && principal === hostPrincipal(id, cluster) ? id : undefined;
}

function readable<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new AccessDenied(`The certificate is refused: ${messageOf(cause)}`, { cause });
  }
}
