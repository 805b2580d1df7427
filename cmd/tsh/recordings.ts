import { formatOption, type OptionSpec } from "../../lib/cli/flags.ts";
import { printData, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { rangeOf, rangeOptions } from "../../lib/cli/when.ts";
import { listRecordings, RECORDING_TITLES, recordingRow } from "../../lib/client/player/list.ts";
import { connectCluster } from "./credentials.ts";

const LIMIT: OptionSpec = {
  flags: "--limit <count>",
  description: "how many at most",
  default: "200",
};

export const command: CommandSpec = {
  name: "recordings ls",
  summary: "list the recordings of sessions",
  description: "Lists the recordings of sessions, the newest first.",
  options: [
    ...rangeOptions,
    { flags: "--user <name>", description: "only sessions that this user took part in" },
    { flags: "--node <name>", description: "only sessions on the node of this name or id" },
    LIMIT,
    formatOption,
  ],
  examples: [
    ["tsh recordings ls", "the newest recordings"],
    ["tsh recordings ls --from=24h --user=alice", "alice's of the last day"],
    ["tsh recordings ls --node=db-1 --format=json | jq -r '.[].sid'", "for scripts"],
  ],
  async run(_args, flags) {
    const format = flags.format();
    const [user, node] = [flags.text("user"), flags.text("node")];
    const limit = flags.int("limit", 1, 1_000_000) ?? 200;
    const query = {
      ...rangeOf(flags),
      ...(user === undefined ? {} : { user }),
      ...(node === undefined ? {} : { node }),
    };
    // Elsewhere, --user says who is logged in.
    const { cluster } = await connectCluster(flags.without("user"));
    using _cluster = cluster;
    const api = await cluster.connectAuth();
    const recordings = await listRecordings(api, query, limit);
    api.close();
    printData(format, recordings, () => {
      if (recordings.length > 0) return table(RECORDING_TITLES, recordings.map(recordingRow));
      say("No recordings found.");
      return "";
    });
  },
};
