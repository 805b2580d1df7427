/**
 * The auth API's door: SSH on port 3025, subsystem `auth-api`. Who calls is what the certificate
 * says: a user's is a user; a host's, by its role, is a node, a proxy or the administrator on the
 * auth server's own machine; a bare key under the name `-teleport-join` is a host that wants to
 * join. Nothing but the API is served.
 */
import { serveApi } from "../api/server.ts";
import { AUTH_API_SUBSYSTEM, type Caller, JOIN_USER } from "../api/types.ts";
import { EventCode } from "../audit/events.ts";
import { AccessDenied } from "../base/errors.ts";
import { formatAddr } from "../base/net.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf, hostPrincipal, userIdentityOf } from "../cert/identity.ts";
import {
  type AuthAttempt,
  type AuthFailure,
  type HostKey,
  type ServerConnection,
  type ServerLimits,
  type SessionHandlers,
  SshServer,
} from "../ssh/server.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import type { AuthService } from "./auth_service.ts";

/** What administrators are called in the audit log. */
export const ADMIN_NAME = "builtin-Admin";
/** API channels of one connection. */
const MAX_CHANNELS = 8;
/** Longer than that no timer runs; the connection is looked at again then. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface AuthSshServerOptions {
  service: AuthService;
  /** The auth server's own. */
  hostId: string;
  hostKeys(): HostKey[];
  limits?: Partial<ServerLimits>;
}

/** Serve with `serve(listener)`, end with `close()`. */
export function authSshServer(options: AuthSshServerOptions): SshServer<Caller> {
  const { service } = options;
  return new SshServer<Caller>({
    hostKeys: () => options.hostKeys(),
    offered: ({ username, certificate }) => certificate !== undefined || username === JOIN_USER,
    authenticate: (attempt) => identify(service, attempt),
    onConnection: (connection) => serve(service, connection),
    onAuthFailure: (failure) => reportFailure(options, failure),
    limits: { ...options.limits, maxChannels: MAX_CHANNELS },
  });
}

/** @throws AccessDenied saying why */
export async function identify(service: AuthService, attempt: AuthAttempt): Promise<Caller> {
  const { certificate, username, key, remote } = attempt;
  if (certificate === undefined) {
    if (username !== JOIN_USER) throw new AccessDenied("A certificate of the cluster is needed");
    return { kind: "joining", key, remote };
  }
  return certificate.type === "user"
    ? identifyUser(service, certificate, attempt)
    : await identifyHost(service, certificate, attempt);
}

function identifyUser(
  { parts: { authorities, clock, hub } }: AuthService,
  certificate: Certificate,
  { username, remote }: AuthAttempt,
): Caller {
  const identity = userIdentityOf(checkCertificate(certificate, {
    type: "user",
    authorities: authorities.trusted("user"),
    principal: username,
    address: remote.host,
    nowMs: clock.now(),
  }));
  if (hub.get("user", identity.user) === undefined) {
    throw new AccessDenied(`The user ${JSON.stringify(identity.user)} does not exist any more`);
  }
  return { kind: "user", identity, remote };
}

async function identifyHost(
  { parts: { authorities, clock, joins } }: AuthService,
  certificate: Certificate,
  { username, key, remote }: AuthAttempt,
): Promise<Caller> {
  const { hostId, cluster, roles } = hostIdentityOf(checkCertificate(certificate, {
    type: "host",
    authorities: authorities.trusted("host"),
    principal: username,
    nowMs: clock.now(),
  }));
  if (username !== hostPrincipal(hostId, cluster)) {
    throw new AccessDenied(`A host logs in as ${hostPrincipal(hostId, cluster)}`);
  }
  const [role, ...others] = roles;
  if (role === undefined || others.length > 0) {
    throw new AccessDenied("A host calls with one role at a time");
  }
  await joins.assertCurrent(hostId, role, key);
  switch (role) {
    case "Admin":
      return { kind: "admin", name: ADMIN_NAME };
    case "Node":
      return { kind: "node", hostId, cluster, key, roles, remote };
    case "Proxy":
      return { kind: "proxy", hostId, cluster, key, roles, remote };
    case "Auth":
      throw new AccessDenied("An auth server does not call the auth API");
  }
}

function serve(service: AuthService, connection: ServerConnection<Caller>): void {
  const caller = connection.identity;
  if (caller.kind === "user") closeAtExpiry(service, connection, caller.identity.validBeforeMs);
  connection.handle({
    session: (): SessionHandlers => ({
      authorize: (request) => {
        if (request.kind === "subsystem" && request.name === AUTH_API_SUBSYSTEM) return;
        throw new AccessDenied(`Only the subsystem ${AUTH_API_SUBSYSTEM} is served here`);
      },
      start: async (_, channel) => {
        const api = serveApi(channel.stream, { caller, service: service.api });
        await Promise.race([api.closed, channel.closed]);
        api.close();
        channel.exit(0);
      },
    }),
  });
}

function closeAtExpiry(
  { parts: { clock } }: AuthService,
  connection: ServerConnection<Caller>,
  validBeforeMs: number,
): void {
  let timer: number;
  const look = () => {
    const left = validBeforeMs - clock.now();
    if (left <= 0) return connection.close("The certificate has expired");
    timer = setTimeout(look, Math.min(left, MAX_TIMER_MS));
    Deno.unrefTimer(timer);
  };
  look();
  connection.closed.then(() => clearTimeout(timer));
}

function reportFailure({ service, hostId }: AuthSshServerOptions, failure: AuthFailure): void {
  // Strangers who knock with bare keys are no news; a certificate that is refused is.
  if (failure.certificate === undefined) return;
  service.parts.audit.emit({
    event: "auth",
    code: EventCode.AuthFailure,
    user: failure.certificate.keyId.slice(0, 255),
    login: failure.username.slice(0, 255),
    success: false,
    error: failure.message,
    message: failure.message,
    server_id: hostId,
    "addr.local": formatAddr(failure.local),
    "addr.remote": formatAddr(failure.remote),
    proto: "ssh",
  });
}
