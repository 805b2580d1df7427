import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { isUuid } from "../../lib/base/ids.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "recordings rm",
  summary: "delete the recording of a session",
  description:
    "Deletes the recording of a session for good. The audit log keeps what it knows of " +
    "the session. Recordings of running sessions cannot be deleted.",
  arguments: [{ name: "<session>", about: "the session's id, all of it" }],
  examples: [
    ["tctl recordings rm 4c146ec8-5f16-4f0e-8d4b-3a1f0c6f2b11", "one recording"],
  ],
  run: ([session = ""], flags) => {
    const sid = session.toLowerCase();
    if (!isUuid(sid)) {
      throw new UsageError("write all of the session's id; `tctl recordings ls` shows the ids");
    }
    return withAuth(flags, async ({ api }) => {
      await api.call("recordings.delete", { sid });
      out(`The recording of session ${sid} has been deleted`);
    });
  },
};
