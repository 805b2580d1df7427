import { BadParameter } from "../../lib/base/errors.ts";
import { transportStatusOf } from "../../lib/cli/exit.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { outputStream, stdinStream } from "../../lib/cli/terminal.ts";
import { parseHost } from "../../lib/client/target.ts";
import { relayToStdio } from "../../lib/client/stdio_relay.ts";
import { connectCluster } from "./credentials.ts";
import {} from "./node_access.ts";

export const command: CommandSpec = {
  name: "proxy ssh",
  summary: "connect stdin and stdout to a node's SSH: ssh's ProxyCommand",
  description:
    "Connect stdin and stdout to the SSH server of a node. This is what `tsh config` makes\n" +
    "stock ssh run; it is of no use on a terminal.",
  usage: "[user@]host[:port]",
  arguments: [{ name: "<target>", about: "the node, as %r@%h:%p of ssh_config" }],
  examples: [["ssh -o ProxyCommand='tsh proxy ssh %r@%h:%p' root@db-1.main", "without tsh config"]],
  statusOf: transportStatusOf,
  async run([target = ""], flags) {
    const { host, port } = parseProxyTarget(target);
    const { cluster, credentials } = await connectCluster(flags);
    using _cluster = cluster;
    const suffix = `.${credentials.identity.cluster}`;
    const name = host.endsWith(suffix) ? host.slice(0, -suffix.length) : host;
    // 3022 is what ssh_config says for want of something better: the node's own port it is.
    const link = await cluster.dial({ host: name, port: port === 3022 ? 0 : port });
    await relayToStdio(link, stdinStream(), outputStream(Deno.stdout));
  },
};

function parseProxyTarget(text: string): { host: string; port: number } {
  const rest = text.slice(text.lastIndexOf("@") + 1);
  const [, host = rest, port] = /^(.*):(\d{1,5})$/.exec(rest) ?? [];
  if (Number(port ?? 0) > 65_535) {
    throw new BadParameter(`${JSON.stringify(text)} has a port above 65535`);
  }
  return { host: parseHost(host), port: Number(port ?? 0) };
}
