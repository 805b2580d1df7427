import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { withAuth } from "./connect.ts";
import { printLink } from "./links.ts";
import { given, splitList, ttlOf } from "./options.ts";

const DEFAULT_TTL_MS = 3_600_000;

export const command: CommandSpec = {
  name: "users add",
  summary: "add a user and print the link to sign up",
  description:
    "Adds a user with the role admin and prints a link, good for one use, by which the " +
    "user sets a password and a second factor.",
  arguments: [
    { name: "<account>", about: "name of the user" },
    {
      name: "[logins]",
      about: "OS logins that the user may use, e.g. joe,root (default: <account>)",
    },
  ],
  options: [
    { flags: "--roles <list>", description: "roles of the user", default: "admin" },
    { flags: "--ttl <duration>", description: "life of the link, at most 48h", default: "1h" },
    { flags: "--k8s-users <list>", description: "", refused: "gives access to Kubernetes" },
    { flags: "--k8s-groups <list>", description: "", refused: "gives access to Kubernetes" },
    formatOption,
  ],
  examples: [
    ["tctl users add joe joe,root", "joe may log in as joe and root"],
    ["tctl users add --roles=dev ann", "ann gets the role dev and the login ann"],
  ],
  run: (args, flags) =>
    withAuth(flags, async (session) => {
      const [name = "", logins] = args;
      const ttlMs = ttlOf(flags);
      const link = await session.api.call("users.create", {
        name,
        ...given("logins", logins === undefined ? undefined : splitList(logins)),
        roles: splitList(flags.text("roles") ?? "admin"),
        ...given("ttl_ms", ttlMs),
      });
      await printLink(session, flags, link, {
        path: "invite",
        ttlMs: ttlMs ?? DEFAULT_TTL_MS,
        what:
          "created but requires a password. Share this URL with the user to complete user setup",
      });
    }),
};
