import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import { table } from "../../lib/cli/table.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "users ls",
  summary: "list users",
  options: [formatOption],
  examples: [["tctl users ls --format=json", "everything about each user"]],
  run: (_args, flags) =>
    withAuth(flags, async ({ api }) => {
      const { users } = await api.call("users.list", {});
      printData(flags.format(), users, () => {
        if (users.length === 0) return "No users found";
        return table(
          ["User", "Allowed logins"],
          users.map((user) => [user.metadata.name, (user.spec.traits.logins ?? []).join(",")]),
        );
      });
    }),
};
