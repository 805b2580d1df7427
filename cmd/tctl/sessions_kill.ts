import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { findSession } from "../../lib/client/join.ts";
import { withAuth } from "./connect.ts";
import { given } from "./options.ts";

export const command: CommandSpec = {
  name: "sessions kill",
  summary: "end a session for everybody who is in it",
  description:
    "The node ends the session's programs at once; who is in it reads that an administrator did it.",
  arguments: [
    { name: "<session>", about: "its id as `tctl sessions ls` shows it; the beginning is enough" },
  ],
  options: [
    { flags: "--reason <text>", description: "what who is in it reads; it is in the audit log" },
  ],
  examples: [
    ["tctl sessions kill 3f1c", "end the session whose id begins so"],
    ['tctl sessions kill 3f1c --reason="maintenance at noon"', "and say why"],
  ],
  run: ([text = ""], flags) =>
    withAuth(flags, async ({ api }) => {
      const { sessions } = await api.call("sessions.list", {});
      const { sid, user, login, server_hostname } = findSession(sessions, text, "tctl");
      await api.call("sessions.kill", { sid, ...given("reason", flags.text("reason")) });
      out(`Session ${sid} of ${user}, ${login}@${server_hostname}, is being ended`);
    }),
};
