import type { ActiveSession } from "../../lib/api/types.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { SESSION_TITLES, sessionRow } from "../../lib/client/session_rows.ts";
import { connectCluster } from "./credentials.ts";
import { listSessions } from "./list_sessions.ts";

export const command: CommandSpec = {
  name: "sessions ls",
  summary: "list the sessions that run now: yours, and those you may join",
  options: [formatOption],
  notes: "Finished sessions are listed by `tsh recordings ls`.",
  examples: [
    ["tsh sessions ls", "what runs now"],
    ["tsh join 3f1c", "join the session whose id begins so"],
    ["tsh sessions ls --format=json | jq -r '.[].sid'", "for scripts"],
  ],
  async run(_args, flags) {
    const format = flags.format();
    const { cluster } = await connectCluster(flags);
    using _cluster = cluster;
    const sessions = await listSessions(cluster);
    printData(format, sessions, () => textOf(sessions));
  },
};

function textOf(sessions: readonly ActiveSession[]): string {
  if (sessions.length === 0) return "No session of yours, or that you may join, runs now.";
  const now = Date.now();
  return table(
    [...SESSION_TITLES, "Join as"],
    sessions.map((session) => [
      ...sessionRow(session, now),
      session.join_modes?.join(", ") || "-",
    ]),
  );
}
