import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { withAuth } from "./connect.ts";
import { splitList } from "./options.ts";

export const command: CommandSpec = {
  name: "users rm",
  summary: "delete users",
  description:
    "The users cannot log in any more; certificates that they have stay good until they " +
    "expire.",
  arguments: [{ name: "<accounts>", about: "names, e.g. joe,ann" }],
  examples: [["tctl users rm joe,ann", "delete two users"]],
  run: ([names = ""], flags) =>
    withAuth(flags, async ({ api }) => {
      for (const name of splitList(names)) {
        await api.call("users.delete", { name });
        out(`User "${name}" has been deleted`);
      }
    }),
};
