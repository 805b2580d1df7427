import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import { table } from "../../lib/cli/table.ts";
import { SESSION_TITLES, sessionRow } from "../../lib/client/session_rows.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "sessions ls",
  summary: "list the sessions that run now",
  description: "Sessions of all users on all nodes, with a terminal and without.",
  options: [formatOption],
  notes: "Finished sessions are listed by `tctl recordings ls`.",
  examples: [
    ["tctl sessions ls", "who is connected where"],
    ["tctl sessions ls --format=json | jq -r '.[] | select(.user==\"joe\").sid'", "for scripts"],
  ],
  run: (_args, flags) =>
    withAuth(flags, async ({ api }) => {
      const { sessions } = await api.call("sessions.list", {});
      printData(flags.format(), sessions, () => {
        if (sessions.length === 0) return "No session runs now.";
        const now = Date.now();
        return table(SESSION_TITLES, sessions.map((session) => sessionRow(session, now)));
      });
    }),
};
