/** What the verbs about audit events have in common: how they are searched for, and written. */
import type { ApiParams } from "../../lib/api/contract.ts";
import { isUuid } from "../../lib/base/ids.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags, OptionSpec } from "../../lib/cli/flags.ts";
import { rangeOf } from "../../lib/cli/when.ts";
import { given, splitList } from "./options.ts";

export type EventFilter = Pick<
  ApiParams<"events.search">,
  "from" | "to" | "types" | "user" | "sid" | "server" | "text"
>;

export const filterOptions: readonly OptionSpec[] = [
  {
    flags: "--type <names>",
    description: "only these events, e.g. user.login,session.start",
    repeatable: true,
  },
  { flags: "--user <name>", description: "only events of this user" },
  { flags: "--session <id>", description: "only events of this session" },
  { flags: "--server <name>", description: "only events of the host with this name or id" },
  { flags: "--text <text>", description: "only events in which this occurs, in any case" },
];

/** @throws UsageError */
export function filterOf(flags: Flags, { withRange }: { withRange: boolean }): EventFilter {
  const sid = flags.text("session")?.toLowerCase();
  if (sid !== undefined && !isUuid(sid)) {
    throw new UsageError(`--session=${sid} is not the whole id of a session`);
  }
  const types = flags.list("type").flatMap(splitList);
  return {
    ...(withRange ? rangeOf(flags) : {}),
    ...(types.length > 0 ? { types } : {}),
    ...given("user", flags.text("user")),
    ...given("sid", sid),
    ...given("server", flags.text("server")),
    ...given("text", flags.text("text")),
  };
}
