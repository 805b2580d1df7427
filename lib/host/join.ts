/**
 * A new host joins the cluster with a token.
 *
 * The token is a secret that lets anybody in, so it is said only to a server that proved to be
 * the cluster's auth service: first the SSH handshake (possession of the certified host key),
 * then the question for the authorities, which holds nothing of ours; the CA pin decides which
 * of them is genuine, and the handshake's host certificate must come from that one.
 */
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import type { ApiClient } from "../api/client.ts";
import { JOIN_USER } from "../api/types.ts";
import { equalBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { systemClock } from "../base/clock.ts";
import { AccessDenied, BadParameter, ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { checkCertificate, type TrustedAuthority } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { verifyPinnedAuthority } from "../cert/x509.ts";
import type { CertAuthority } from "../resources/types.ts";
import { type Certificate, parseCertificateLine } from "../sshwire/certificate.ts";
import { generatePrivateKey, type PrivateKey } from "../sshwire/keys.ts";
import { checkAuthServer, type Dial, dialAuth, requireAuthServers } from "./auth_dial.ts";
import { trustedAuthorities } from "./authorities.ts";
import type { HostIdentity } from "./identity.ts";

export interface JoinOptions {
  /** Tried in turn until one answers. */
  readonly authServers: readonly string[];
  readonly token: string;
  /** `sha256:<hex>`, as `tctl status` prints it. */
  readonly caPin?: string;
  /** Authorities known from an earlier join: they may stand in for the pin. */
  readonly knownAuthorities?: readonly CertAuthority[];
  /** Says the token to whoever answers. For throw-away test clusters only. */
  readonly insecure?: boolean;
  readonly role: "Node" | "Proxy";
  readonly hostId: string;
  readonly nodeName: string;
  /** Further names and addresses for the host certificate. */
  readonly additionalPrincipals?: readonly string[];
  /** Asks for a TLS certificate too, for these names. */
  readonly dnsNames?: readonly string[];
  readonly clock?: Clock;
  readonly dial?: Dial;
  readonly signal?: AbortSignal;
}

/**
 * Joins and gives the new identity; the caller writes it to disk.
 *
 * @throws BadParameter when there is neither a pin nor a known authority
 * @throws AccessDenied when the server is not the cluster's, or when it refuses the token
 * @throws ConnectionProblem when no auth server could be reached
 */
export async function join(o: JoinOptions): Promise<HostIdentity> {
  requireAuthServers(o.authServers);
  if (!o.caPin && !o.knownAuthorities?.length && !o.insecure) {
    throw new BadParameter(
      `cannot join through ${o.authServers.join(", ")}: without a CA pin the auth server cannot ` +
        "be told from an impostor, and the token is not said to strangers; run `tctl status` on " +
        "the auth server and pass its CA pin as --ca-pin=sha256:… (or ca_pin in teleport.yaml)",
    );
  }
  if (o.caPin && !/^sha256:[0-9a-f]{64}$/i.test(o.caPin)) {
    throw new BadParameter(
      `"${o.caPin}" is not a CA pin; \`tctl status\` on the auth server prints it (sha256:…)`,
    );
  }
  const failures: Error[] = [];
  for (const address of o.authServers) {
    try {
      return await joinThrough(address, o);
    } catch (error) {
      if (error instanceof TokenRefused) throw error.refusal;
      o.signal?.throwIfAborted();
      log("join").warn("An auth server did not take the join", {
        address,
        error: messageOf(error),
      });
      failures.push(error instanceof Error ? error : new ConnectionProblem(messageOf(error)));
    }
  }
  // What a server did that answered says more than that another one did not answer.
  throw failures.find((e) => !(e instanceof ConnectionProblem)) ?? new ConnectionProblem(
    `cannot reach an auth server: ${failures.map(messageOf).join("; ")}`,
    { cause: failures[0] },
  );
}

/** The auth server is genuine and has said no: asking another one would change nothing. */
class TokenRefused extends Error {
  constructor(readonly refusal: Error) {
    super(refusal.message);
  }
}

async function joinThrough(address: string, o: JoinOptions): Promise<HostIdentity> {
  const clock = o.clock ?? systemClock;
  const key = generatePrivateKey();
  let hostCertificate: Certificate | undefined;
  const { ssh, api } = await dialAuth({
    address,
    username: JOIN_USER,
    credentials: [{ key }],
    verifyHost: ({ certificate }) => {
      hostCertificate = certificate;
    },
    ...(o.dial ? { dial: o.dial } : {}),
    ...(o.signal ? { signal: o.signal } : {}),
  });
  try {
    const trusted = await authenticateServer(address, api, hostCertificate, o, clock.now());
    // From here on the server is known to be the cluster's own.
    return await presentToken(api, key, trusted, o, clock.now());
  } finally {
    api.close();
    ssh.close();
  }
}

async function authenticateServer(
  address: string,
  api: ApiClient,
  certificate: Certificate | undefined,
  o: JoinOptions,
  nowMs: number,
): Promise<TrustedAuthority[]> {
  let trusted: TrustedAuthority[];
  if (o.caPin) {
    const { authorities } = await api.call("authorities", {});
    trusted = await pinnedAuthorities(address, authorities, o.caPin, nowMs);
  } else if (o.knownAuthorities?.length) {
    trusted = trustedAuthorities(o.knownAuthorities, "host");
  } else {
    log("join").warn(
      "Joining without a CA pin: the token goes to whoever answers at this address",
      { address },
    );
    trusted = trustedAuthorities((await api.call("authorities", {})).authorities, "host");
  }
  try {
    checkAuthServer(certificate, trusted, nowMs);
  } catch (error) {
    throw new AccessDenied(
      `the server at ${address} is not this cluster's auth service, so it was not told the ` +
        `token: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return trusted;
}

/** The host authorities whose X.509 certificate the pin names, with the SSH key it vouches for. */
async function pinnedAuthorities(
  address: string,
  authorities: readonly CertAuthority[],
  pin: string,
  nowMs: number,
): Promise<TrustedAuthority[]> {
  let reason = "it shows no host authority";
  for (const authority of authorities) {
    if (authority.spec.type !== "host") continue;
    for (const pair of authority.spec.tls_key_pairs) {
      try {
        const { sshCaKey } = await verifyPinnedAuthority(pair.cert, pin, nowMs);
        return [{ cluster: authority.spec.cluster_name, type: "host", keys: [sshCaKey] }];
      } catch (error) {
        reason = messageOf(error);
      }
    }
  }
  throw new AccessDenied(
    `the auth server at ${address} does not match the CA pin, so it was not told the token ` +
      `(${reason}); check the address, and the pin against \`tctl status\` on the auth server`,
  );
}

async function presentToken(
  api: ApiClient,
  key: PrivateKey,
  trusted: TrustedAuthority[],
  o: JoinOptions,
  nowMs: number,
): Promise<HostIdentity> {
  const tls = o.dnsNames ? newTlsKey() : undefined;
  const answer = await api.call("join", {
    token: o.token,
    host_id: o.hostId,
    node_name: o.nodeName,
    role: o.role,
    additional_principals: [...o.additionalPrincipals ?? []],
    dns_names: [...o.dnsNames ?? []],
    ...(tls ? { tls_public_key: tls.spki } : {}),
  }).catch((error: unknown) => {
    if (error instanceof AccessDenied || error instanceof BadParameter) {
      throw new TokenRefused(error);
    }
    throw error;
  });
  const certificate = parseCertificateLine(answer.certificate);
  assertOurs(certificate, key, trusted, o.role, o.hostId, nowMs);
  return {
    role: o.role,
    hostId: o.hostId,
    cluster: answer.cluster_name,
    key,
    certificate,
    ...(tls && answer.tls_certificate
      ? { tls: { keyPem: tls.keyPem, certPem: answer.tls_certificate } }
      : {}),
    authorities: answer.authorities,
  };
}

/**
 * A certificate that the auth service gave to this host: for our key, by a host authority that
 * we trust, for this host and this role.
 *
 * @throws AccessDenied when it is anything else
 */
export function assertOurs(
  certificate: Certificate,
  key: PrivateKey,
  authorities: TrustedAuthority[],
  role: HostIdentity["role"],
  hostId: string,
  nowMs: number,
): void {
  if (!equalBytes(certificate.key.blob, key.publicKey.blob)) {
    throw new AccessDenied("the auth server certified another key than ours");
  }
  const claims = hostIdentityOf(
    checkCertificate(certificate, { type: "host", authorities, anyPrincipal: true, nowMs }),
  );
  if (claims.hostId !== hostId || !claims.roles.includes(role)) {
    throw new AccessDenied(
      `the auth server certified host ${claims.hostId} as ${claims.roles.join(", ")} ` +
        `instead of ${hostId} as ${role}`,
    );
  }
}

/** A fresh P-256 key for TLS: PKCS#8 PEM, and its SubjectPublicKeyInfo in base64. */
export function newTlsKey(): { keyPem: string; spki: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return {
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    spki: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
  };
}

/** The SubjectPublicKeyInfo, in base64, that belongs to a private key in PEM. */
export function spkiOf(keyPem: string): string {
  return createPublicKey(keyPem).export({ type: "spki", format: "der" }).toString("base64");
}

/**
 * The token itself, or the content of the file whose path was given in its place.
 *
 * @throws BadParameter when the file cannot be read or is empty
 */
export async function readToken(tokenOrPath: string): Promise<string> {
  if (!tokenOrPath.startsWith("/")) return tokenOrPath;
  let text: string;
  try {
    text = await Deno.readTextFile(tokenOrPath);
  } catch (error) {
    throw new BadParameter(`cannot read the token from ${tokenOrPath}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (text.trim() === "") throw new BadParameter(`the token file ${tokenOrPath} is empty`);
  return text.trim();
}
