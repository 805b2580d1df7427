/** What the web API takes and gives, as Teleport's clients write it: byte fields are base64. */
import { z } from "zod";
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "../../base/bytes.ts";
import { BadParameter } from "../../base/errors.ts";
import type { SignupInfo, UserCertificates } from "../../api/types.ts";
import type { ApiParams } from "../../api/contract.ts";

const NANOSECONDS_PER_MS = 1_000_000;
/** A certificate that is asked for without a length of life gets the cluster's default. */
const MAX_TTL_NS = 400 * 24 * 3_600_000 * NANOSECONDS_PER_MS;

const certsRequest = z.object({
  user: z.string().min(1).max(255),
  password: z.string().max(1024),
  otp_token: z.string().max(64).nullish(),
  pub_key: z.string().min(1).max(16_384),
  tls_public_key: z.string().max(8_192).nullish(),
  ttl: z.number().min(0).max(MAX_TTL_NS).nullish(),
  compatibility: z.string().max(64).nullish(),
});

const signupRequest = z.object({
  token: z.string().min(1).max(512),
  password: z.string().max(1024),
  second_factor_token: z.string().max(64).nullish(),
});

/**
 * `POST /webapi/ssh/certs`.
 *
 * @throws BadParameter naming the field, never its content
 */
export function parseCertsRequest(body: unknown, clientAddr: string): ApiParams<"auth.login"> {
  const request = parse(certsRequest, body);
  if (request.compatibility && request.compatibility !== "standard") {
    throw new BadParameter(
      "compatibility: the format of certificates is set by the role (cert_format), not asked for",
    );
  }
  return {
    user: request.user,
    password: request.password,
    ...(request.otp_token ? { otp_token: request.otp_token } : {}),
    public_key: decodeKey(request.pub_key),
    ...(request.tls_public_key ? { tls_public_key: request.tls_public_key } : {}),
    ...(request.ttl ? { ttl_ms: Math.max(1, Math.floor(request.ttl / NANOSECONDS_PER_MS)) } : {}),
    client_addr: clientAddr,
  };
}

/** The answer to `POST /webapi/ssh/certs`. */
export function certsResponse(certificates: UserCertificates): Record<string, unknown> {
  return {
    username: certificates.username,
    cert: base64(certificates.cert),
    ...(certificates.tls_cert ? { tls_cert: base64(certificates.tls_cert) } : {}),
    host_signers: certificates.host_signers.map((signer) => ({
      domain_name: signer.domain_name,
      checking_keys: signer.checking_keys.map(base64),
      tls_certs: signer.tls_certs.map(base64),
    })),
  };
}

/** `PUT /webapi/users/password/token`. @throws BadParameter */
export function parseSignupRequest(body: unknown): ApiParams<"signup.complete"> {
  const request = parse(signupRequest, body);
  return {
    token: request.token,
    password: request.password,
    ...(request.second_factor_token ? { otp_token: request.second_factor_token } : {}),
  };
}

/** The answer to `GET /webapi/users/password/token/:token`. */
export function signupResponse(info: SignupInfo): SignupInfo {
  return info;
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  // The path and the rule only: what stood there may be a password.
  const issue = parsed.error.issues[0];
  const path = issue?.path.join(".") || "body";
  throw new BadParameter(`${path}: ${issue?.message ?? "is not valid"}`);
}

function decodeKey(text: string): string {
  try {
    return utf8Decode(fromBase64(text)).trim();
  } catch (error) {
    throw new BadParameter("pub_key: must be the base64 of an authorized_keys line", {
      cause: error,
    });
  }
}

function base64(text: string): string {
  return toBase64(utf8Encode(text));
}
