import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "tokens rm",
  summary: "delete a join token",
  description: "Hosts that have joined with it stay in the cluster.",
  arguments: [{ name: "<token>", about: "the token, or what `tctl tokens ls` shows of it" }],
  examples: [["tctl tokens rm 0123456789abcdef", "nobody joins with it any more"]],
  run: ([token = ""], flags) =>
    withAuth(flags, async ({ api }) => {
      await api.call("tokens.delete", { token });
      out(`Token ${token} has been deleted`);
    }),
};
