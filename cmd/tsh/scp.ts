import { BadParameter } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import { exitStatus, transportStatusOf, UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say, warn } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { copyAll, type CopySource } from "../../lib/client/copy_tree.ts";
import { LocalTree, RemoteTree } from "../../lib/client/file_tree.ts";
import { parseScpPath, type ScpPath } from "../../lib/client/scp_path.ts";
import { SftpClient } from "../../lib/ssh/sftp.ts";
import { connectCluster } from "./credentials.ts";
import { agentFlag } from "./forward_flags.ts";
import { agentForwarding, loginFor, type NodeAccess, openNode, portFor } from "./node_access.ts";
import { ProgressLine } from "./scp_progress.ts";
import { parseSshOptions } from "./ssh_options.ts";

export const command: CommandSpec = {
  name: "scp",
  summary: "copy files to and from nodes",
  usage: "source... target",
  arguments: [{ name: "<paths...>", about: "files here, or [user@]host:path on a node" }],
  options: [
    { flags: "-r, --recursive", description: "copy directories with all that is in them" },
    { flags: "-p, --preserve", description: "keep times and modes" },
    { flags: "-P, --port <port>", description: "the SSH port there (default: the node's own)" },
    { flags: "-q, --quiet", description: "no progress, nothing but errors" },
    {
      flags: "-o, --option <Key=value>",
      description: "an option as in ssh_config",
      repeatable: true,
    },
    agentFlag,
  ],
  notes:
    "Paths on a node start in the login's home directory. A file here whose name holds a colon\n" +
    "is written as ./name. The exit status is 1 when something could not be copied, 255 when the\n" +
    "connection failed or the node refused.",
  examples: [
    ["tsh scp site.tar.gz root@web-1:/srv/", "to a node"],
    ["tsh scp -r root@web-1:/var/log/nginx .", "a directory from a node"],
    ["tsh scp 'root@web-1:/var/log/*.log' logs/", "several files by a pattern"],
  ],
  statusOf: transportStatusOf,
  async run(args, flags) {
    const paths = args.map(parseScpPath);
    const to = paths.pop();
    if (!to || paths.length === 0) {
      throw new UsageError("scp needs at least two paths: what to copy, and where to");
    }
    const toNode = to.remote !== undefined;
    if (!toNode && paths.every((path) => path.remote === undefined)) {
      throw new BadParameter(
        "All paths are on this computer: name a node as [user@]host:path, or use cp",
      );
    }
    if (toNode && paths.some((path) => path.remote !== undefined)) {
      throw new BadParameter(
        "Copying from node to node is not supported: copy to this computer first",
      );
    }
    const quiet = flags.on("quiet");
    const options = parseSshOptions(flags.list("option"), quiet ? () => {} : warn);
    const { cluster, credentials } = await connectCluster(flags, options.addKeysToAgent);
    using _cluster = cluster;
    const nodes = new Nodes({ cluster, credentials, quiet, options }, flags);
    const sources: CopySource[] = [];
    for (const path of paths) sources.push(await nodes.place(path));
    const target = await nodes.place(to);
    using progress = quiet ? undefined : ProgressLine.onTerminal();
    const complete = await copyAll(sources, target, {
      recursive: flags.on("recursive"),
      preserve: flags.on("preserve"),
      onError: (message) => {
        progress?.clear();
        say(`error: ${printable(message)}`);
      },
      ...(progress ? { onProgress: (file) => progress.show(file) } : {}),
    });
    return complete ? exitStatus.ok : exitStatus.error;
  },
};

/** One connection a node and login, however many paths there are. */
class Nodes {
  readonly #access: NodeAccess;
  readonly #flags: Flags;
  readonly #local = new LocalTree();
  readonly #trees = new Map<string, Promise<RemoteTree>>();

  constructor(access: NodeAccess, flags: Flags) {
    this.#access = access;
    this.#flags = flags;
  }

  async place({ remote, path }: ScpPath): Promise<CopySource> {
    if (!remote) return { tree: this.#local, path };
    const login = loginFor(remote.login, this.#flags, this.#access.options);
    const key = `${login}@${remote.host}`;
    const tree = this.#trees.get(key) ?? this.#open(remote.host, login);
    this.#trees.set(key, tree);
    return { tree: await tree, path };
  }

  async #open(host: string, login: string): Promise<RemoteTree> {
    const port = portFor(this.#flags, "port", this.#access.options);
    const forwarding = await agentForwarding(this.#flags);
    const client = await openNode(this.#access, { host, port, login }, forwarding?.handlers);
    const channel = await client.subsystem("sftp", forwarding?.session);
    // What the server's file transfer has to say beside its answers, e.g. that it cannot start.
    channel.stderr.on("data", (chunk: Uint8Array) => {
      say(printable(new TextDecoder().decode(chunk).trimEnd(), { lines: true }));
    });
    return new RemoteTree(await SftpClient.open(channel.stream), host);
  }
}
