import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { resolveSession } from "../../lib/client/player/resolve.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "recordings rm",
  summary: "delete the recording of a session",
  description:
    "Deletes the recording of a session for good. The audit log keeps what it knows of " +
    "the session. Recordings of running sessions cannot be deleted.",
  arguments: [{ name: "<session>", about: "the session's id, or how it begins" }],
  examples: [["tctl recordings rm 4c146ec8", "one recording"]],
  run: ([session = ""], flags) =>
    withAuth(flags, async ({ api }) => {
      const sid = await resolveSession(api, session.toLowerCase());
      await api.call("recordings.delete", { sid });
      out(`The recording of session ${sid} has been deleted`);
    }),
};
