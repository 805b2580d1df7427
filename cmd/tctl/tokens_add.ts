import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { withAuth } from "./connect.ts";
import { printJoinCommand } from "./join_command.ts";
import { given, splitList, ttlOf } from "./options.ts";

const DEFAULT_TTL_MS = 60 * 60_000;

export const command: CommandSpec = {
  name: "tokens add",
  summary: "make a join token",
  description: "Any number of hosts may join with the token until it expires.",
  options: [
    {
      flags: "--type <list>",
      description: "what a host may join as: node, proxy",
      default: "node",
    },
    { flags: "--value <token>", description: "use this token (default: a random one)" },
    { flags: "--ttl <duration>", description: "life of the token, at most 48h", default: "1h" },
    formatOption,
  ],
  examples: [["tctl tokens add --type=node,proxy", "a token for both, good for an hour"]],
  run: (_args, flags) =>
    withAuth(flags, async (session) => {
      const roles = splitList(flags.text("type") ?? "node").map((role) => role.toLowerCase());
      const ttlMs = ttlOf(flags) ?? DEFAULT_TTL_MS;
      const { token, expires } = await session.api.call("tokens.create", {
        roles,
        ttl_ms: ttlMs,
        ...given("value", flags.text("value")),
      });
      await printJoinCommand(session, flags, { token, roles, ttlMs, expires });
    }),
};
