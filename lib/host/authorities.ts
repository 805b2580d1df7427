/** From the cluster's certificate authorities, as the API gives them, to what the checker takes. */
import type { TrustedAuthority } from "../cert/check.ts";
import type { CertAuthority } from "../resources/types.ts";
import { parseAuthorizedKey } from "../sshwire/keys.ts";

/**
 * The authorities of one type, each with the cluster it belongs to and all keys it signs with
 * (two of them while a rotation is going on).
 *
 * @throws BadParameter when a key in the resource cannot be read
 */
export function trustedAuthorities(
  authorities: readonly CertAuthority[],
  type: "user" | "host",
): TrustedAuthority[] {
  return authorities.filter((authority) => authority.spec.type === type).map((authority) => ({
    cluster: authority.spec.cluster_name,
    type,
    keys: authority.spec.checking_keys.map((line) => parseAuthorizedKey(line).key),
  }));
}
