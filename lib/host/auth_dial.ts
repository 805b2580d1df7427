/** One connection to one auth server: TCP, SSH with the host checked, subsystem `auth-api`. */
import type { Duplex } from "node:stream";
import { ApiClient } from "../api/client.ts";
import { AUTH_API_SUBSYSTEM } from "../api/types.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { parseAddr } from "../base/net.ts";
import { checkCertificate, type TrustedAuthority } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { type ClientCredential, connectSsh, type SshClient } from "../ssh/client.ts";
import { dialTcp } from "../ssh/stream.ts";
import type { Certificate } from "../sshwire/certificate.ts";

/** Port of the auth service. */
export const AUTH_PORT = 3025;

/** Opens a byte stream to `host:port`. In-process auth and tests put their own in its place. */
export type Dial = (
  address: { host: string; port: number },
  o: { timeoutMs: number; signal?: AbortSignal },
) => Promise<Duplex>;

export interface AuthDialOptions {
  /** `host` or `host:port`; the port is 3025 when left out. */
  readonly address: string;
  readonly username: string;
  readonly credentials: ClientCredential[];
  /** Sees the server's key and certificate; throws AccessDenied to break off. */
  readonly verifyHost: (host: { certificate?: Certificate }) => void;
  /** Milliseconds for TCP and the SSH handshake, each; 30 s when omitted. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly dial?: Dial;
}

export interface AuthDialResult {
  readonly ssh: SshClient;
  readonly api: ApiClient;
}

/**
 * @throws ConnectionProblem when the server cannot be reached
 * @throws AccessDenied when either side refuses the other
 */
export async function dialAuth(o: AuthDialOptions): Promise<AuthDialResult> {
  const timeoutMs = o.timeoutMs ?? 30_000;
  const dial = o.dial ?? ((address, options) => dialTcp({ ...address, ...options }));
  const signal = o.signal ? { signal: o.signal } : {};
  const stream = await dial(parseAddr(o.address, AUTH_PORT), { timeoutMs, ...signal });
  const ssh = await connectSsh({
    stream,
    username: o.username,
    credentials: o.credentials,
    verifyHost: o.verifyHost,
    readyTimeoutMs: timeoutMs,
    keepAlive: { intervalMs: 20_000, countMax: 3 },
    ...signal,
  });
  try {
    const channel = await ssh.subsystem(AUTH_API_SUBSYSTEM);
    return { ssh, api: ApiClient.over(channel.stream) };
  } catch (error) {
    ssh.close();
    throw error;
  }
}

/**
 * Is this certificate an auth server's, of a cluster that we trust? The name is not looked at:
 * auth servers are reached by addresses and balancers that no certificate lists, and the role
 * `Auth` is given to auth servers only.
 *
 * @throws AccessDenied saying what is wrong
 */
export function checkAuthServer(
  certificate: Certificate | undefined,
  authorities: TrustedAuthority[],
  nowMs: number,
): void {
  if (!certificate) {
    throw new AccessDenied(
      "the server presented a bare key where an auth server has a host certificate; " +
        "is this the address of the auth service (port 3025)?",
    );
  }
  const claims = hostIdentityOf(
    checkCertificate(certificate, { type: "host", authorities, anyPrincipal: true, nowMs }),
  );
  if (!claims.roles.includes("Auth")) {
    throw new AccessDenied(
      `the server is a ${
        claims.roles.join(", ") || "host"
      } of the cluster and not its auth service; ` +
        "set auth_servers to the address of the auth service (port 3025)",
    );
  }
}

/** Refuses an empty list early, with words for the one who wrote the configuration. */
export function requireAuthServers(addresses: readonly string[]): void {
  if (addresses.length === 0) {
    throw new BadParameter(
      "no auth server is configured; set auth_servers in teleport.yaml or pass --auth-server",
    );
  }
}
