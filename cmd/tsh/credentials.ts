/** Who the user of a command is: an identity file, or the profile; logged in again when expired. */
import { AccessDenied, BadParameter, NotFound } from "../../lib/base/errors.ts";
import type { HostPort } from "../../lib/base/net.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say, warn } from "../../lib/cli/output.ts";
import { openTerminal } from "../../lib/cli/prompt.ts";
import type { ClusterClient } from "../../lib/client/cluster_client.ts";
import { type ClientIdentity, endOf, isExpired, userOf } from "../../lib/client/identity.ts";
import { readIdentityFile } from "../../lib/client/identity_file.ts";
import { keyPaths, readIdentity } from "../../lib/client/keystore.ts";
import {
  type Profile,
  profileDirectory,
  readCurrentProfile,
  readProfile,
} from "../../lib/client/profile.ts";
import { dialTcp } from "../../lib/ssh/stream.ts";
import {
  defaultSshPort,
  defaultWebPort,
  type JumpHost,
  parseJumpHost,
  parseProxyAddress,
  type ProxyAddress,
} from "../../lib/client/proxy_address.ts";
import { refuseOtherCluster } from "./other_cluster.ts";

export interface Credentials {
  identity: ClientIdentity;
  /** The SSH port of the proxy, or the jump host's. */
  ssh: HostPort;
  /** The login at the proxy, where the person has chosen it. */
  outerLogin?: string;
  /** Absent with an identity file. */
  profile?: Profile;
  /** Where keys of hosts without certificates are kept; not with an identity file. */
  knownHosts?: string;
}

/**
 * The credentials of this command. An expired certificate is renewed by asking on the terminal;
 * where there is none, this fails.
 * @param useAgent whether a new certificate goes into the ssh-agent; as the flags say unless given
 * @throws NotFound when nobody is logged in; AccessDenied when the certificate has expired
 */
export async function findCredentials(flags: Flags, useAgent?: boolean): Promise<Credentials> {
  const file = flags.text("identity");
  const found = file === undefined
    ? await fromProfile(flags, useAgent)
    : await fromFile(file, flags);
  refuseOtherCluster(flags, found.identity.cluster);
  const jump = jumpHostOf(flags);
  if (!jump) return found;
  const { address, login } = jump;
  return { ...found, ssh: address, ...(login === undefined ? {} : { outerLogin: login }) };
}

/** A connection to the cluster as the user. Close it by `using`. */
export async function connectCluster(
  flags: Flags,
  useAgent?: boolean,
): Promise<{ cluster: ClusterClient; credentials: Credentials }> {
  const credentials = await findCredentials(flags, useAgent);
  const { identity, ssh, outerLogin: login } = credentials;
  // The code of SSH is loaded while the proxy answers the first packet.
  const stream = dialTcp({ ...ssh });
  stream.catch(() => {});
  const { ClusterClient } = await import("../../lib/client/cluster_client.ts");
  const cluster = await ClusterClient.connect({ identity, address: ssh, login, stream });
  return { cluster, credentials };
}

/** The profile that the flags name, or the one in use; undefined when there is none. */
export function findProfile(flags: Flags, dir = profileDirectory()): Profile | undefined {
  const proxy = proxyOf(flags);
  const profile = proxy === undefined ? readCurrentProfile(dir) : readProfile(dir, proxy.host);
  if (!profile) return undefined;
  const user = flags.text("user");
  const found = user === undefined ? profile : { ...profile, user };
  if (proxy === undefined) return found;
  // The ports are those of the login, unless others are given now.
  const sshPort = proxy.sshPort ?? profile.ssh.port;
  const webPort = proxy.webPortGiven ? proxy.webPort : profile.web.port;
  return {
    ...found,
    web: { ...profile.web, port: webPort },
    ssh: { host: proxy.sshPort === undefined ? profile.ssh.host : proxy.host, port: sshPort },
  };
}

export function proxyOf(flags: Flags): ProxyAddress | undefined {
  const text = flags.text("proxy");
  return text === undefined ? undefined : parseProxyAddress(text);
}

function jumpHostOf(flags: Flags): JumpHost | undefined {
  const text = flags.text("jumphost");
  return text === undefined ? undefined : parseJumpHost(text);
}

async function fromProfile(flags: Flags, useAgent?: boolean): Promise<Credentials> {
  const dir = profileDirectory();
  const profile = findProfile(flags, dir);
  if (!profile) throw notLoggedIn(flags);
  const found = credentialsOf(dir, profile, readIdentity(dir, profile));
  if (!isExpired(found.identity.certificate)) return found;
  return await logInAgain(flags, found.identity, profile, useAgent);
}

function credentialsOf(dir: string, profile: Profile, identity: ClientIdentity): Credentials {
  return { identity, ssh: profile.ssh, profile, knownHosts: keyPaths(dir, profile).knownHosts };
}

function notLoggedIn(flags: Flags): NotFound {
  const proxy = proxyOf(flags);
  return new NotFound(
    proxy === undefined
      ? "Not logged in: run `tsh login --proxy=<address>`"
      : `Not logged in at ${proxy.host}: run \`tsh login --proxy=${flags.text("proxy")}\``,
  );
}

async function logInAgain(
  flags: Flags,
  expired: ClientIdentity,
  profile: Profile,
  useAgent?: boolean,
): Promise<Credentials> {
  const when = new Date(endOf(expired.certificate)).toISOString().replace(/\.\d+Z$/, "Z");
  const user = userOf(expired.certificate);
  // stdin may be the data of the command: only the terminal itself can answer.
  using terminal = openTerminal();
  if (!terminal) {
    throw new AccessDenied(
      `The certificate of ${user} expired at ${when}: run \`tsh login --proxy=${profile.name}\``,
    );
  }
  say(`The certificate of ${user} expired at ${when}; please log in again.`);
  const { logInAndStore } = await import("./log_in.ts");
  const proxy: ProxyAddress = {
    host: profile.name,
    webPort: profile.web.port,
    webPortGiven: true,
    ...(profile.ssh.host === profile.name ? { sshPort: profile.ssh.port } : {}),
  };
  const result = await logInAndStore(flags, proxy, user, () => Promise.resolve(terminal), useAgent);
  return credentialsOf(profileDirectory(), result.profile, result.identity);
}

async function fromFile(file: string, flags: Flags): Promise<Credentials> {
  const identity = readIdentityFile(file);
  const proxy = proxyOf(flags);
  if (!proxy) {
    throw new BadParameter("--identity needs --proxy=<address> (or TELEPORT_PROXY)");
  }
  if (isExpired(identity.certificate)) {
    const when = new Date(endOf(identity.certificate)).toISOString();
    throw new AccessDenied(
      `The certificate in ${file} expired at ${when}: make a new one by \`tsh login --out\` or ` +
        "`tctl auth sign`",
    );
  }
  return { identity, ssh: await sshAddress(proxy, identity, flags) };
}

/** With the usual ports nothing has to be asked; otherwise the proxy knows. */
async function sshAddress(
  proxy: ProxyAddress,
  identity: ClientIdentity,
  flags: Flags,
): Promise<HostPort> {
  const isKnown = proxy.sshPort !== undefined || proxy.webPort === defaultWebPort;
  if (isKnown || jumpHostOf(flags) !== undefined) {
    return { host: proxy.host, port: proxy.sshPort ?? defaultSshPort };
  }
  const { trustProxy } = await import("../../lib/client/trust.ts");
  const { sshAddressOf } = await import("../../lib/client/login.ts");
  const trusted = await trustProxy({
    address: { host: proxy.host, port: proxy.webPort },
    known: identity.tlsAuthorities,
    insecure: flags.on("insecure"),
    warn,
  });
  using _web = trusted.web;
  return sshAddressOf(proxy, trusted.ping);
}
