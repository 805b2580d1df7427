/** Who a client of the proxy is: the same check for the proxy itself and for what it ends. */
import { AccessDenied } from "../base/errors.ts";
import { checkCertificate, type TrustedAuthority } from "../cert/check.ts";
import { type UserIdentity, userIdentityOf } from "../cert/identity.ts";
import type { AuthAttempt } from "../ssh/server.ts";

/** @throws AccessDenied with what the user is to be told */
export function authenticateUser(
  attempt: AuthAttempt,
  authorities: TrustedAuthority[],
  nowMs: number,
): UserIdentity {
  if (!attempt.certificate) {
    throw new AccessDenied("a certificate of this cluster is needed here: run `tsh login`");
  }
  return userIdentityOf(checkCertificate(attempt.certificate, {
    type: "user",
    authorities,
    principal: attempt.username,
    address: attempt.remote.host,
    nowMs,
    // Nothing runs here; the node at the other end sees the same certificate and obeys it.
    understood: { forceCommand: true },
  }));
}
