/** How recordings are found, read and removed. */
import type { ApiService } from "../api/service.ts";
import { callerName } from "../api/server.ts";
import type { Caller } from "../api/types.ts";
import { toBase64 } from "../base/bytes.ts";
import { BadParameter, CompareFailed, NotFound } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { ParsedParams } from "../api/contract.ts";
import type { RecordingInfo } from "../recording/meta.ts";
import { readAt } from "../recording/reader.ts";
import { requireRule } from "./caller_roles.ts";
import type { AuthParts } from "./parts.ts";

type ViewMethods = "recordings.list" | "recordings.read" | "recordings.delete";

export function recordingsViewApi({ recordings, hub }: AuthParts): Pick<ApiService, ViewMethods> {
  const { store } = recordings;
  const require = (caller: Caller, verb: "list" | "read") =>
    requireRule(hub, caller, { resource: "session", verb });

  return {
    "recordings.list": async (query, { caller }) => {
      require(caller, "list");
      return pageOf(await store.all(), query);
    },

    "recordings.read": async ({ sid, offset, length }, { caller }) => {
      require(caller, "read");
      const info = await store.info(sid);
      if (info === undefined) throw unknown(sid);
      const { size, finished } = info;
      const count = Math.min(length, size - offset);
      if (count <= 0) return { data: "", size, finished };
      using file = await Deno.open(store.path(sid));
      return { data: toBase64(await readAt(file, offset, count)), size, finished };
    },

    "recordings.delete": async ({ sid }, { caller }) => {
      const info = await store.info(sid);
      if (info === undefined) throw unknown(sid);
      if (!await store.remove(sid)) {
        throw new CompareFailed(
          `the recording ${sid} is not finished: its session is running, or ` +
            `${info.server_hostname} has not sent all of it`,
        );
      }
      log("recordings").info("A recording was removed", {
        sid,
        user: info.user,
        started: info.started,
        by: callerName(caller),
      });
      return {};
    },
  };
}

function unknown(sid: string): NotFound {
  return new NotFound(`there is no recording of a session ${sid}`);
}

/** The newest first. */
function pageOf(
  all: readonly RecordingInfo[],
  query: ParsedParams<"recordings.list">,
): { recordings: RecordingInfo[]; next?: string } {
  const from = query.from === undefined ? -Infinity : Date.parse(query.from);
  const to = query.to === undefined ? Infinity : Date.parse(query.to);
  const after = query.after === undefined ? undefined : positionOf(query.after);
  const found = all
    .map((info) => ({ info, started: Date.parse(info.started) }))
    .filter(({ info, started }) =>
      started >= from && started <= to &&
      (query.user === undefined || info.participants.includes(query.user)) &&
      (query.node === undefined || [info.server_hostname, info.server_id].includes(query.node)) &&
      (query.sid_prefix === undefined || info.sid.startsWith(query.sid_prefix)) &&
      (after === undefined || started < after.started ||
        (started === after.started && info.sid > after.sid))
    )
    .sort((a, b) => b.started - a.started || (a.info.sid < b.info.sid ? -1 : 1));
  const page = found.slice(0, query.limit);
  const last = page.at(-1);
  return {
    recordings: page.map(({ info }) => info),
    ...(last && found.length > page.length ? { next: `${last.started}/${last.info.sid}` } : {}),
  };
}

/** Where a page begins: after the recording with this start and id. */
function positionOf(after: string): { started: number; sid: string } {
  const [, started, sid] = /^(-?\d{1,16})\/([0-9a-f-]{36})$/.exec(after) ?? [];
  if (started === undefined || sid === undefined) {
    throw new BadParameter("`after` is not what the last page gave as `next`");
  }
  return { started: Number(started), sid };
}
