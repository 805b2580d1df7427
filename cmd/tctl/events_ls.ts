import type { ApiClient } from "../../lib/api/client.ts";
import type { StoredEvent } from "../../lib/audit/events.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { table } from "../../lib/cli/table.ts";
import { rangeOptions } from "../../lib/cli/when.ts";
import { withAuth } from "./connect.ts";
import { EVENT_TITLES, eventRow } from "./event_text.ts";
import { type EventFilter, filterOf, filterOptions } from "./events_options.ts";

const DEFAULT_LIMIT = 200;
const PAGE = 500;

export const command: CommandSpec = {
  name: "events ls",
  summary: "search the audit log",
  description: "Searches the audit log. The newest events come first.",
  options: [
    ...rangeOptions,
    ...filterOptions,
    { flags: "--limit <count>", description: "how many at most", default: String(DEFAULT_LIMIT) },
    formatOption,
  ],
  examples: [
    ["tctl events ls --from=2h --user=joe", "what joe did in the last two hours"],
    ["tctl events ls --type=user.login,auth --from=2026-03-01 --to=2026-03-31", "a month's logins"],
    ["tctl events ls --text=/etc/shadow --format=json", "everything about an event, for scripts"],
  ],
  run: (_args, flags) => {
    const format = flags.format();
    const filter = filterOf(flags, { withRange: true });
    const limit = flags.int("limit", 1, 1_000_000) ?? DEFAULT_LIMIT;
    return withAuth(flags, async ({ api }) => {
      const events = await search(api, filter, limit);
      printData(format, events, () => {
        if (events.length > 0) return table(EVENT_TITLES, events.map(eventRow));
        say("No events found.");
        return "";
      });
    });
  },
};

async function search(
  api: ApiClient,
  filter: EventFilter,
  limit: number,
): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  let cursor: string | undefined;
  do {
    const page = await api.call("events.search", {
      ...filter,
      order: "desc",
      limit: Math.min(PAGE, limit - events.length),
      ...(cursor === undefined ? {} : { cursor }),
    });
    events.push(...page.events);
    cursor = page.next;
  } while (cursor !== undefined && events.length < limit);
  return events;
}
