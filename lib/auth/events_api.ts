/** The audit log, for those whose roles let them see it. */
import type { ApiService } from "../api/service.ts";
import type { StoredEvent } from "../audit/events.ts";
import { BadParameter, ConnectionProblem } from "../base/errors.ts";
import { requireRule } from "./caller_roles.ts";
import type { AuthParts } from "./parts.ts";

export function eventsApi(
  { hub, eventIndex }: AuthParts,
): Pick<ApiService, "events.search"> {
  return {
    "events.search": async ({ from, to, ...query }, { caller }) => {
      requireRule(hub, caller, { resource: "event", verb: "list" });
      requireRule(hub, caller, { resource: "event", verb: "read" });
      if (query.cursor === "end" && query.order !== "arrival") {
        throw new BadParameter('the cursor "end" is of the order "arrival"');
      }
      if (eventIndex === undefined) throw new ConnectionProblem("this auth server has no index");
      const { lines, next } = await eventIndex.search({
        ...query,
        fromMs: from === undefined ? undefined : Date.parse(from),
        toMs: to === undefined ? undefined : Date.parse(to),
      });
      const events = lines.map((line) => JSON.parse(line) as StoredEvent);
      return next === undefined ? { events } : { events, next };
    },
  };
}
