import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { connectCluster } from "./credentials.ts";

export const command: CommandSpec = {
  name: "clusters",
  summary: "list the clusters",
  options: [
    { flags: "-q, --quiet", description: "no titles" },
    formatOption,
  ],
  examples: [["tsh clusters", "all, with their state"]],
  async run(_args, flags) {
    const { cluster } = await connectCluster(flags);
    using _cluster = cluster;
    const sites = await cluster.sites();
    const data = sites.map(({ name, status, lastConnected }) => ({
      name,
      status,
      ...(lastConnected === undefined ? {} : { last_connected: lastConnected }),
    }));
    const titles = flags.on("quiet") ? undefined : ["Cluster Name", "Status"];
    printData(
      flags.format(),
      data,
      () => table(titles, sites.map(({ name, status }) => [name, status])),
    );
  },
};
