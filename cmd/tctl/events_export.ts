import type { ApiClient } from "../../lib/api/client.ts";
import { utf8Encode } from "../../lib/base/bytes.ts";
import { BadParameter, messageOf, toTeleportError } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import { outBytes, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { rangeOptions } from "../../lib/cli/when.ts";
import { withAuth } from "./connect.ts";
import { type EventFilter, filterOf, filterOptions } from "./events_options.ts";

const PAGE = 1_000;
/** How often the progress is drawn, milliseconds. */
const PROGRESS_MS = 100;

export const command: CommandSpec = {
  name: "events export",
  summary: "write audit events as JSON lines",
  description: "Writes audit events to stdout or to the end of a file, one JSON object a\n" +
    "line, in the order in which they arrived. At its end it says with which\n" +
    "--cursor the next export goes on, so that each event is exported once.",
  options: [
    ...rangeOptions,
    ...filterOptions,
    { flags: "-o, --out <file>", description: "file to append to; - is stdout", default: "-" },
    { flags: "--cursor <cursor>", description: "go on where an earlier export ended" },
  ],
  examples: [
    ["tctl events export --from=30d > events.json", "a month of the log"],
    ["tctl events export --cursor=4711 --out=all.json", "what came since, behind the rest"],
  ],
  run: (_args, flags) => {
    const filter = filterOf(flags, { withRange: true });
    const path = flags.text("out") ?? "-";
    return withAuth(flags, async ({ api }) => {
      if (path === "-") return await exportEvents(api, filter, flags.text("cursor"), outBytes);
      using file = openToAppend(path);
      await exportEvents(api, filter, flags.text("cursor"), (bytes) => {
        for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      });
      await file.syncData();
    });
  },
};

function openToAppend(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { append: true, create: true, mode: 0o600 });
  } catch (error) {
    throw new BadParameter(`cannot write to ${printable(path)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function exportEvents(
  api: ApiClient,
  filter: EventFilter,
  from: string | undefined,
  write: (bytes: Uint8Array) => void,
): Promise<void> {
  const isTerminal = Deno.stderr.isTerminal();
  let cursor = from;
  let count = 0;
  let drawnAt = -Infinity;
  const clear = () => isTerminal && count > 0 && Deno.stderr.writeSync(utf8Encode("\r\x1b[K"));
  try {
    while (true) {
      const { events, next } = await api.call("events.search", {
        ...filter,
        order: "arrival",
        limit: PAGE,
        ...(cursor === undefined ? {} : { cursor }),
      });
      if (events.length > 0) {
        write(utf8Encode(events.map((event) => `${JSON.stringify(event)}\n`).join("")));
      }
      count += events.length;
      // A search for a text may find nothing for a while, and still not be at the end.
      if (next === cursor || next === undefined) break;
      cursor = next;
      if (isTerminal && performance.now() - drawnAt > PROGRESS_MS) {
        drawnAt = performance.now();
        Deno.stderr.writeSync(utf8Encode(`\r${count} events\x1b[K`));
      }
    }
  } catch (error) {
    clear();
    if (cursor !== undefined && cursor !== from) {
      say(`${count} events have been written; go on with --cursor=${cursor}`);
    }
    throw toTeleportError(error);
  }
  clear();
  say(`${count} events have been written; the next export goes on with --cursor=${cursor ?? "0"}`);
}
