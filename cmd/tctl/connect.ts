/** tctl's connection to the auth service, as the host's administrator or as an identity from a file. */
import type { ApiClient } from "../../lib/api/client.ts";
import { AccessDenied, BadParameter, ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { formatAddr, parseAddr } from "../../lib/base/net.ts";
import type { TrustedAuthority } from "../../lib/cert/check.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { warn } from "../../lib/cli/output.ts";
import { type Config, loadConfig } from "../../lib/config/mod.ts";
import { AUTH_PORT, checkAuthServer, dialAuth } from "../../lib/host/auth_dial.ts";
import { trustedAuthorities } from "../../lib/host/authorities.ts";
import { hostUserName, identityDirectory, readIdentity } from "../../lib/host/identity.ts";
import type { ClientCredential } from "../../lib/ssh/client.ts";

export interface Session {
  readonly api: ApiClient;
  readonly config: Config;
  /** The auth server that answered, "host:port". */
  readonly address: string;
}

interface Credentials {
  readonly username: string;
  readonly credential: ClientCredential;
  readonly authorities: TrustedAuthority[];
}

/** How long an auth server may take to answer, in milliseconds. */
const TIMEOUT_MS = 10_000;

/**
 * Connects, does the work and closes.
 *
 * @throws AccessDenied when the identity cannot be read or the auth service refuses it
 * @throws ConnectionProblem when the auth service is not there
 */
export async function withAuth<T>(flags: Flags, work: (s: Session) => Promise<T>): Promise<T> {
  const config = await loadConfig({
    flags: { config: flags.text("config"), configString: flags.text("config-string") },
    env: (name) => Deno.env.get(name),
  });
  const identityPath = flags.text("identity");
  const credentials = identityPath === undefined
    ? await administrator(config.dataDir)
    : await fromFile(identityPath);
  if (flags.on("insecure")) warn("The auth server's certificate is not checked (--insecure)");
  const failures: string[] = [];
  for (const address of authAddresses(flags.list("auth-server"), config)) {
    let connection;
    try {
      connection = await dialAuth({
        address,
        username: credentials.username,
        credentials: [credentials.credential],
        verifyHost: ({ certificate }) => {
          if (flags.on("insecure")) return;
          checkAuthServer(certificate, credentials.authorities, Date.now());
        },
        timeoutMs: TIMEOUT_MS,
      });
    } catch (error) {
      if (!(error instanceof ConnectionProblem)) throw error;
      failures.push(messageOf(error));
      continue;
    }
    try {
      return await work({ api: connection.api, config, address });
    } finally {
      connection.api.close();
      connection.ssh.close();
    }
  }
  throw new ConnectionProblem(
    `cannot reach the auth service: ${failures.join("; ")}; is \`teleport start\` running there ` +
      "with the auth role?",
  );
}

/** `--auth-server`, else the auth service of this host, else those in the configuration. */
export function authAddresses(given: readonly string[], config: Config): string[] {
  if (given.length > 0) return given.map((addr) => formatAddr(parseAddr(addr, AUTH_PORT)));
  if (!config.auth.enabled) return config.authServers;
  const { host, port } = parseAddr(config.auth.listenAddr, AUTH_PORT);
  const local = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return [formatAddr({ host: local, port })];
}

/** The identity that the auth service wrote for whoever may read its data directory. */
async function administrator(dataDir: string): Promise<Credentials> {
  const directory = identityDirectory(dataDir, "Admin");
  let identity;
  try {
    identity = await readIdentity(directory);
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new AccessDenied(
      `cannot read the administrator's identity in ${directory}: permission denied; run tctl as ` +
        "root, or as the user that teleport runs as",
      { cause: error },
    );
  }
  if (!identity) {
    throw new BadParameter(
      `there is no administrator's identity in ${directory}: run tctl on the host of the auth ` +
        "service after its first start (with the same -c), or name both --auth-server and -i",
    );
  }
  return {
    username: hostUserName(identity),
    credential: { key: identity.key, certificate: identity.certificate },
    authorities: trustedAuthorities(identity.authorities, "host"),
  };
}

/** An identity file of `tctl auth sign`, or a copy of a host's identity directory. */
async function fromFile(path: string): Promise<Credentials> {
  const info = await Deno.stat(path).catch((error: unknown) => {
    throw new BadParameter(`cannot read the identity ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  });
  if (info.isDirectory) {
    const identity = await readIdentity(path);
    if (!identity) throw new BadParameter(`there is no identity in the directory ${path}`);
    return {
      username: hostUserName(identity),
      credential: { key: identity.key, certificate: identity.certificate },
      authorities: trustedAuthorities(identity.authorities, "host"),
    };
  }
  const { readIdentityFile } = await import("../../lib/client/identity_file.ts");
  const { authoritiesOf, outerLogin } = await import("../../lib/client/identity.ts");
  const identity = readIdentityFile(path);
  return {
    username: outerLogin(identity.certificate),
    credential: { key: identity.key, certificate: identity.certificate },
    authorities: authoritiesOf(identity),
  };
}
