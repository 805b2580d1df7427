import { formatOption } from "../../lib/cli/flags.ts";
import { printData, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { rangeOf, rangeOptions } from "../../lib/cli/when.ts";
import { listRecordings, RECORDING_TITLES, recordingRow } from "../../lib/client/player/list.ts";
import { withAuth } from "./connect.ts";
import { given } from "./options.ts";

const DEFAULT_LIMIT = 200;

export const command: CommandSpec = {
  name: "recordings ls",
  summary: "list the recordings of sessions",
  description: "Lists the recordings of sessions, the newest first.",
  options: [
    ...rangeOptions,
    { flags: "--user <name>", description: "only sessions that this user took part in" },
    { flags: "--node <name>", description: "only sessions on the node of this name or id" },
    {
      flags: "--limit <count>",
      description: "how many at most",
      default: String(DEFAULT_LIMIT),
    },
    formatOption,
  ],
  examples: [
    ["tctl recordings ls", "the newest recordings"],
    ["tctl recordings ls --from=2026-03-01 --to=2026-03-31 --node=db-1", "a month of one node"],
  ],
  run: (_args, flags) => {
    const format = flags.format();
    const limit = flags.int("limit", 1, 1_000_000) ?? DEFAULT_LIMIT;
    const query = {
      ...rangeOf(flags),
      ...given("user", flags.text("user")),
      ...given("node", flags.text("node")),
    };
    return withAuth(flags, async ({ api }) => {
      const recordings = await listRecordings(api, query, limit);
      printData(format, recordings, () => {
        if (recordings.length > 0) return table(RECORDING_TITLES, recordings.map(recordingRow));
        say("No recordings found.");
        return "";
      });
    });
  },
};
