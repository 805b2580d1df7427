/** SSH to a node, through the proxy's relay, with the node's identity verified. */
import { AccessDenied, ConnectionProblem, messageOf, TeleportError } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { checkCertificate } from "../cert/check.ts";
import { type ConnectOptions, connectSsh, type SshClient } from "../ssh/client.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { fingerprint, type PublicKey } from "../sshwire/keys.ts";
import type { ClusterClient, DialTarget } from "./cluster_client.ts";
import { readTextIfThere, writeFileAtomic } from "./files.ts";
import { authoritiesOf, type ClientIdentity } from "./identity.ts";
import { formatPlainKey, lookUpPlainKey } from "./known_hosts.ts";

/** What to do about a host that shows a plain key instead of a certificate. */
export interface HostKeyPolicy {
  /** As ssh's StrictHostKeyChecking: refuse, ask the user, or accept with a warning. */
  strict: "yes" | "ask" | "no";
  /** The file of keys that were accepted before; undefined: none is kept. */
  knownHosts: string | undefined;
  confirm?: (question: string) => Promise<boolean>;
  warn(text: string): void;
}

export interface NodeTarget extends DialTarget {
  login: string;
  /** How messages call the node; its host unless given. */
  name?: string;
}

export interface NodeConnectionOptions extends
  Pick<
    ConnectOptions,
    "onBanner" | "onAgentChannel" | "onX11Channel" | "onGlobalRequest" | "keepAlive" | "signal"
  > {
  policy: HostKeyPolicy;
}

/**
 * @throws NotFound and ConnectionProblem as the proxy explains them; AccessDenied when the node
 * refuses the login, or the node is not the one it was taken for
 */
export async function connectNode(
  cluster: ClusterClient,
  target: NodeTarget,
  options: NodeConnectionOptions,
): Promise<SshClient> {
  try {
    return await attempt(cluster, target, options, undefined);
  } catch (e) {
    if (!(e instanceof UnknownHostKey)) throw e;
    const accepted = await acceptPlainKey(target, e.key, options.policy);
    return await attempt(cluster, target, options, accepted);
  }
}

async function attempt(
  cluster: ClusterClient,
  target: NodeTarget,
  options: NodeConnectionOptions,
  accepted: PublicKey | undefined,
): Promise<SshClient> {
  const { identity } = cluster;
  const { policy, ...rest } = options;
  const where = target.name ?? target.host;
  const link = await cluster.dial(target);
  try {
    return await connectSsh({
      ...rest,
      stream: link.stream,
      username: target.login,
      credentials: [identity],
      verifyHost: (host) => verifyNode(identity, target, host, policy, accepted),
    });
  } catch (e) {
    link.stream.destroy();
    throw named(await link.explain(e), where);
  }
}

/** @throws AccessDenied, UnknownHostKey when the user has to be asked */
function verifyNode(
  identity: ClientIdentity,
  target: NodeTarget,
  host: { key: PublicKey; certificate?: Certificate },
  policy: HostKeyPolicy,
  accepted: PublicKey | undefined,
): void {
  if (host.certificate) {
    checkCertificate(host.certificate, {
      type: "host",
      authorities: authoritiesOf(identity),
      principal: target.host,
      nowMs: Date.now(),
    });
    return;
  }
  if (accepted && fingerprint(accepted) === fingerprint(host.key)) return;
  const known = policy.knownHosts === undefined ? "" : readTextIfThere(policy.knownHosts) ?? "";
  const verdict = lookUpPlainKey(known, target.host, target.port, host.key);
  if (verdict === "known") return;
  if (verdict === "different") {
    throw new AccessDenied(
      `The host key of ${target.host} has changed to ${fingerprint(host.key)}: somebody may be ` +
        `in between. If it was changed on purpose, remove its line from ${policy.knownHosts}`,
    );
  }
  throw new UnknownHostKey(target.host, host.key);
}

/** Thrown where nobody can be asked, caught where somebody can. */
class UnknownHostKey extends AccessDenied {
  constructor(host: string, readonly key: PublicKey) {
    super(`The host ${host} shows a key that is not known: ${fingerprint(key)}`);
  }
}

async function acceptPlainKey(
  target: NodeTarget,
  key: PublicKey,
  policy: HostKeyPolicy,
): Promise<PublicKey> {
  const { host, port } = target;
  if (policy.strict === "no") {
    policy.warn(`The authenticity of ${host} is not checked (StrictHostKeyChecking=no)`);
    return key;
  }
  const yes = policy.strict === "ask" && await policy.confirm?.(
    `The authenticity of host '${host}' can't be established: it has no certificate of the ` +
      `cluster.\nIts public key is ${key.type} ${fingerprint(key)}.\n` +
      "Are you sure you want to continue (yes/no)?",
  );
  if (!yes) {
    throw new AccessDenied(
      `The host ${host} has no certificate of the cluster, and its key ${
        fingerprint(key)
      } is not ` +
        "known: give it a certificate by `tctl auth sign --host`, or connect from a terminal and " +
        "say yes to the key",
    );
  }
  if (policy.knownHosts !== undefined) {
    const known = readTextIfThere(policy.knownHosts) ?? "";
    await writeFileAtomic(policy.knownHosts, `${known}${formatPlainKey(host, port, key)}\n`);
  }
  return key;
}

/** Errors of the SSH layer do not know whom they talk about. */
function named(e: unknown, where: string): unknown {
  if (!(e instanceof TeleportError) || e instanceof UnknownHostKey) return e;
  const message = messageOf(e);
  if (message.includes(where)) return e;
  if (e instanceof AccessDenied) return new AccessDenied(`${where}: ${message}`, { cause: e });
  return e instanceof ConnectionProblem
    ? new ConnectionProblem(`The connection to ${where} failed: ${message}`, { cause: e })
    : e;
}

/** A host's banner, safe to show. */
export function printableBanner(text: string): string {
  return printable(text.replaceAll("\r\n", "\n"), { lines: true }).trimEnd();
}
