/** What the proxy calls for people who have no certificate yet. */
import type { ApiService } from "../api/service.ts";
import type { AuthParts } from "./parts.ts";

type PeopleMethods = "auth.login" | "signup.get" | "signup.complete";

export function peopleApi({ logins, users }: AuthParts): Pick<ApiService, PeopleMethods> {
  return {
    "auth.login": (request) =>
      logins.login({
        user: request.user,
        password: request.password,
        code: request.otp_token,
        publicKey: request.public_key,
        tlsPublicKey: request.tls_public_key,
        ttlMs: request.ttl_ms,
        clientAddr: request.client_addr,
      }),
    "signup.get": ({ token }) => users.signupInfo(token),
    "signup.complete": ({ token, password, otp_token }) =>
      users.completeSignup({
        token,
        password,
        ...(otp_token === undefined ? {} : { code: otp_token }),
      }),
  };
}
