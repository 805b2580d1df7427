/** From the flags of `tsh ssh` and `tsh scp` to connections with nodes. */
import { NotFound } from "../../lib/base/errors.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say, warn } from "../../lib/cli/output.ts";
import { openTerminal } from "../../lib/cli/prompt.ts";
import type { ClusterClient } from "../../lib/client/cluster_client.ts";
import type { HostKeyPolicy, NodeTarget } from "../../lib/client/node_connection.ts";
import { formatLabels } from "../../lib/client/target.ts";
import type { ConnectOptions, SshClient } from "../../lib/ssh/client.ts";
import type { Credentials } from "./credentials.ts";
import { wantedAgent } from "./forward_flags.ts";
import type { Forwarding } from "./forwarding.ts";
import { listNodes } from "./list_nodes.ts";
import { localUser } from "./local_user.ts";
import type { SshOptions } from "./ssh_options.ts";

export interface NodeAccess {
  cluster: ClusterClient;
  credentials: Credentials;
  /** -q: nothing but errors. */
  quiet: boolean;
  options: SshOptions;
}

/** A node, a proxy or a network that is gone is noticed after about a minute. */
const usualAliveMs = 15_000;
const usualAliveCount = 3;

/**
 * Connects to one node; its banner goes to stderr.
 * @param handlers of what the node may open and say
 */
export async function openNode(
  access: NodeAccess,
  target: NodeTarget,
  handlers: Pick<ConnectOptions, "onAgentChannel" | "onX11Channel" | "onGlobalRequest"> = {},
): Promise<SshClient> {
  const { connectNode, printableBanner } = await import("../../lib/client/node_connection.ts");
  const banners: string[] = [];
  const client = await connectNode(access.cluster, target, {
    ...handlers,
    policy: hostKeyPolicy(access),
    onBanner: (text) => banners.push(printableBanner(text)),
    keepAlive: {
      intervalMs: access.options.serverAliveIntervalMs ?? usualAliveMs,
      countMax: access.options.serverAliveCountMax ?? usualAliveCount,
    },
  });
  // A refused login has its reason in the error; only a node that lets us in says hello.
  if (!access.quiet) { for (const banner of banners) say(banner); }
  return client;
}

/** For -A of commands that forward nothing else; undefined without it. */
export async function agentForwarding(flags: Flags): Promise<Forwarding | undefined> {
  const wanted = wantedAgent(flags);
  if (!wanted) return undefined;
  const { Forwarding } = await import("./forwarding.ts");
  return await Forwarding.prepare(wanted, { hasSession: true, notify: say });
}

/**
 * The nodes that a label selector matches.
 * @throws NotFound when there are none
 */
export async function matchingNodes(
  access: NodeAccess,
  labels: Record<string, string>,
): Promise<{ name: string; id: string }[]> {
  const nodes = await listNodes(access.cluster, { labels });
  if (nodes.length === 0) {
    throw new NotFound(
      `No node that you can reach has the labels ${formatLabels(labels)}: \`tsh ls\` shows the ` +
        "nodes and their labels",
    );
  }
  return nodes.map((node) => ({ name: node.spec.hostname, id: node.metadata.name }));
}

/** The login on the node: of the target, by flag, by -o User, or the user's own name here. */
export function loginFor(target: string | undefined, flags: Flags, options: SshOptions): string {
  const login = target ?? flags.text("login") ?? options.user ?? localUser();
  if (login) return login;
  throw new NotFound("Which login on the node? Give it as login@host or by --login");
}

function hostKeyPolicy(access: NodeAccess): HostKeyPolicy {
  return {
    strict: access.options.strictHostKeyChecking ?? "ask",
    knownHosts: access.credentials.knownHosts,
    async confirm(question) {
      using terminal = openTerminal();
      return terminal ? await terminal.confirm(question) : false;
    },
    warn: access.quiet ? () => {} : warn,
  };
}

/** The port for the proxy: 0 stands for the node's own. */
export function portFor(flags: Flags, name: string, options: SshOptions): number {
  return flags.int(name, 1, 65_535) ?? options.port ?? 0;
}
