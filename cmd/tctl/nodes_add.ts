import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { withAuth } from "./connect.ts";
import { printJoinCommand } from "./join_command.ts";
import { given, splitList, ttlOf } from "./options.ts";

const DEFAULT_TTL_MS = 30 * 60_000;

export const command: CommandSpec = {
  name: "nodes add",
  summary: "make a join token and print the command for the new node",
  description: "Any number of hosts may join with the token until it expires.",
  options: [
    {
      flags: "--roles <list>",
      description: "what the host may join as: node, proxy",
      default: "node",
    },
    { flags: "--ttl <duration>", description: "life of the token, at most 48h", default: "30m" },
    { flags: "--token <token>", description: "use this token (default: a random one)" },
    formatOption,
  ],
  examples: [
    ["tctl nodes add", "a token for a node, good for 30 minutes"],
    ["tctl nodes add --roles=proxy --ttl=1h", "a token for a proxy"],
  ],
  run: (_args, flags) =>
    withAuth(flags, async (session) => {
      const roles = splitList(flags.text("roles") ?? "node").map((role) => role.toLowerCase());
      const ttlMs = ttlOf(flags) ?? DEFAULT_TTL_MS;
      const { token, expires } = await session.api.call("tokens.create", {
        roles,
        ttl_ms: ttlMs,
        ...given("value", flags.text("token")),
      });
      await printJoinCommand(session, flags, { token, roles, ttlMs, expires });
    }),
};
