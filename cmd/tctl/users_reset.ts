import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { withAuth } from "./connect.ts";
import { printLink } from "./links.ts";
import { given, ttlOf } from "./options.ts";

const DEFAULT_TTL_MS = 8 * 3_600_000;

export const command: CommandSpec = {
  name: "users reset",
  summary: "print a link to set a new password and second factor",
  description:
    "The user's password and second factor stop to work at once; certificates that the " +
    "user has stay good until they expire.",
  arguments: [{ name: "<account>", about: "name of the user" }],
  options: [
    { flags: "--ttl <duration>", description: "life of the link, at most 24h", default: "8h" },
    formatOption,
  ],
  examples: [["tctl users reset joe", "joe has lost the telephone"]],
  run: ([name = ""], flags) =>
    withAuth(flags, async (session) => {
      const ttlMs = ttlOf(flags);
      const link = await session.api.call("users.reset", { name, ...given("ttl_ms", ttlMs) });
      await printLink(session, flags, link, {
        path: "reset",
        ttlMs: ttlMs ?? DEFAULT_TTL_MS,
        what: "reset. Share this URL with the user to complete password reset",
      });
    }),
};
