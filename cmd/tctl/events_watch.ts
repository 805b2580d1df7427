import type { StoredEvent } from "../../lib/audit/events.ts";
import { Backoff, sleep } from "../../lib/base/backoff.ts";
import { ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { out, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { withAuth } from "./connect.ts";
import { eventRow } from "./event_text.ts";
import { filterOf, filterOptions } from "./events_options.ts";

const POLL_MS = 500;

export const command: CommandSpec = {
  name: "events watch",
  summary: "follow the audit log",
  description: "Prints audit events as they arrive, until Ctrl-C. While the auth server is\n" +
    "away, it waits, and then goes on where it was.",
  options: [...filterOptions, { ...formatOption, description: "how to print: text or json" }],
  notes: "With --format=json, one event a line.",
  examples: [
    ["tctl events watch", "everything, as it happens"],
    ["tctl events watch --type=user.login --format=json | jq .user", "who logs in"],
  ],
  run: async (_args, flags) => {
    const format = flags.format();
    if (format === "yaml") throw new UsageError("events are watched as text or json");
    const filter = filterOf(flags, { withRange: false });
    const print = (event: StoredEvent) =>
      out(format === "json" ? JSON.stringify(event) : printable(eventRow(event).join("  ")));
    const backoff = new Backoff({ minMs: 500, maxMs: 10_000 });
    let cursor: string | undefined;
    let isAway = false;
    while (true) {
      try {
        await withAuth(flags, async ({ api }) => {
          while (true) {
            const page = await api.call("events.search", {
              ...filter,
              order: "arrival",
              cursor: cursor ?? "end",
            });
            if (isAway) say("The auth server is back.");
            isAway = false;
            backoff.reset();
            page.events.forEach(print);
            cursor = page.next;
            if (page.events.length === 0) await sleep(POLL_MS);
          }
        });
      } catch (error) {
        // Before the first answer it may never come.
        if (!(error instanceof ConnectionProblem) || cursor === undefined) throw error;
        if (!isAway) say(`${printable(messageOf(error))}; waiting for it`);
        isAway = true;
        await sleep(backoff.next());
      }
    }
  },
};
