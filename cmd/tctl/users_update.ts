import type { CommandSpec } from "../../lib/cli/program.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import { withAuth } from "./connect.ts";
import { given, splitList } from "./options.ts";

export const command: CommandSpec = {
  name: "users update",
  summary: "change a user's roles or logins",
  description: "What is given takes the place of what was there, at the user's next login.",
  arguments: [{ name: "<account>", about: "name of the user" }],
  options: [
    { flags: "--set-roles <list>", description: "roles, e.g. admin,dev" },
    { flags: "--set-logins <list>", description: "OS logins, e.g. joe,root" },
    formatOption,
  ],
  examples: [["tctl users update joe --set-roles=dev,auditor", "joe has two roles from now on"]],
  run: async ([name = ""], flags) => {
    const roles = flags.text("set-roles");
    const logins = flags.text("set-logins");
    if (roles === undefined && logins === undefined) {
      throw new UsageError("nothing to update: give --set-roles, --set-logins, or both");
    }
    await withAuth(flags, async ({ api }) => {
      const { user } = await api.call("users.update", {
        name,
        ...given("roles", roles === undefined ? undefined : splitList(roles)),
        ...given("logins", logins === undefined ? undefined : splitList(logins)),
      });
      printData(
        flags.format(),
        user,
        () =>
          `User "${name}" has been updated: roles ${user.spec.roles.join(",")}; logins ` +
          (user.spec.traits.logins ?? []).join(","),
      );
    });
  },
};
