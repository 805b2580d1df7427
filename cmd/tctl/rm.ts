import type { CommandSpec } from "../../lib/cli/program.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { out } from "../../lib/cli/output.ts";
import { withAuth } from "./connect.ts";
import { parseReferences } from "./get.ts";

export const command: CommandSpec = {
  name: "rm",
  summary: "delete a resource",
  arguments: [{ name: "<resource>", about: "kind/name" }],
  examples: [
    ["tctl rm role/dev", "delete a role that nobody has any more"],
    ["tctl rm user/joe", "delete a user"],
  ],
  run: async ([text = ""], flags) => {
    const [reference, ...more] = parseReferences(text);
    if (!reference?.name || more.length > 0) {
      throw new UsageError("one resource is deleted at a time: write it as kind/name");
    }
    const { kind, name } = reference;
    await withAuth(flags, async ({ api }) => {
      await api.call("resources.delete", { kind, name });
      out(`${kind} "${name}" has been deleted`);
    });
  },
};
