import { isIpAddress } from "../../lib/base/net.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { type Format, formats, out, printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { parseLabels } from "../../lib/client/target.ts";
import { printable } from "../../lib/base/text.ts";
import type { Node } from "../../lib/resources/types.ts";
import { connectCluster } from "./credentials.ts";
import { listNodes } from "./list_nodes.ts";

export const command: CommandSpec = {
  name: "ls",
  summary: "list the nodes you can reach",
  arguments: [{ name: "[labels]", about: "only nodes with these labels: env=prod,os=linux" }],
  options: [
    { flags: "-v, --verbose", description: "one line a node, with its id" },
    {
      flags: "-f, --format <format>",
      description: "how to print: text, json, yaml or names",
      default: "text",
    },
    { flags: "--search <words>", description: "only nodes whose name or labels hold these words" },
  ],
  examples: [
    ["tsh ls", "all of them"],
    ["tsh ls env=prod", "those with a label"],
    ["tsh ls --format=names | head -3", "names alone"],
    ["tsh ls --format=json | jq -r '.[].spec.addr'", "for scripts"],
  ],
  async run([labels], flags) {
    const format = formatOf(flags.text("format") ?? "text");
    const search = flags.text("search");
    const query = {
      ...(labels === undefined ? {} : { labels: parseLabels(labels) }),
      ...(search === undefined ? {} : { search }),
    };
    const { cluster } = await connectCluster(flags);
    using _cluster = cluster;
    const nodes = await listNodes(cluster, query);
    if (format === "names") {
      if (nodes.length > 0) out(nodes.map((node) => printable(node.spec.hostname)).join("\n"));
      return;
    }
    printData(format, nodes, () => flags.on("verbose") ? verbose(nodes) : brief(nodes));
  },
};

function formatOf(text: string): Format | "names" {
  const all = [...formats, "names"] as const;
  const found = all.find((format) => format === text);
  if (found) return found;
  throw new UsageError(`--format=${text} is not one of ${all.join(", ")}`);
}

function brief(nodes: Node[]): string {
  return table(
    ["Node Name", "Address", "Labels"],
    nodes.map((node) => [node.spec.hostname, addressOf(node), inPairs(labelsOf(node))]),
  );
}

function verbose(nodes: Node[]): string {
  return table(
    ["Node Name", "Node ID", "Address", "Labels"],
    nodes.map((node) => [
      ...[node.spec.hostname, node.metadata.name],
      ...[addressOf(node), labelsOf(node).join(",")],
    ]),
  );
}

function addressOf(node: Node): string {
  if (node.spec.use_tunnel) return "⟵ Tunnel";
  const { addr } = node.spec;
  return isIpAddress(addr) && addr.includes(":") ? `[${addr}]` : addr;
}

/** Static labels first, then those of commands, each group by name. */
function labelsOf(node: Node): string[] {
  const fixed = Object.entries(node.metadata.labels ?? {});
  const dynamic = Object.entries(node.spec.cmd_labels ?? {})
    .map(([name, label]): [string, string] => [name, label.result ?? ""]);
  return [fixed, dynamic].flatMap((group) =>
    group.sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) =>
      `${printable(name)}=${printable(value)}`
    )
  );
}

/** Two labels a line. */
function inPairs(labels: string[]): string {
  const lines: string[] = [];
  for (let i = 0; i < labels.length; i += 2) lines.push(labels.slice(i, i + 2).join(", "));
  return lines.join("\n");
}
