import type { ApiClient } from "../../lib/api/client.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { Node } from "../../lib/resources/types.ts";
import { withAuth } from "./connect.ts";
import { nodeTable } from "./resource_tables.ts";

export const command: CommandSpec = {
  name: "nodes ls",
  summary: "list nodes",
  options: [
    { flags: "--namespace <name>", description: "namespace of the nodes", default: "default" },
    formatOption,
  ],
  examples: [["tctl nodes ls --format=json", "everything about each node"]],
  run: (_args, flags) => {
    if (flags.text("namespace") !== "default") {
      throw new UsageError("there is one namespace in this version: default");
    }
    return withAuth(flags, async ({ api }) => {
      const nodes = await allNodes(api);
      printData(flags.format(), nodes, () => nodeTable(nodes));
    });
  },
};

async function allNodes(api: ApiClient): Promise<Node[]> {
  const nodes: Node[] = [];
  let after: string | undefined;
  do {
    const page = await api.call("nodes.list", after === undefined ? {} : { after });
    nodes.push(...page.nodes);
    after = page.next;
  } while (after !== undefined);
  return nodes;
}
