/** How hosts bring their recordings. */
import type { ApiService } from "../api/service.ts";
import type { Caller } from "../api/types.ts";
import { fromBase64 } from "../base/bytes.ts";
import { InternalError } from "../base/errors.ts";
import type { RecordingHost } from "../recording/store.ts";
import type { AuthParts } from "./parts.ts";

type RecordingMethods = "recordings.append" | "recordings.finish" | "recordings.state";

export function recordingsApi({ recordings }: AuthParts): Pick<ApiService, RecordingMethods> {
  return {
    "recordings.append": ({ sid, offset, data }, { caller }) =>
      recordings.store.append(hostOf(caller), { sid, offset, data: fromBase64(data) }),

    "recordings.finish": (request, { caller }) => recordings.store.finish(hostOf(caller), request),

    "recordings.state": ({ sid }, { caller }) => recordings.store.state(hostOf(caller), sid),
  };
}

function hostOf(caller: Caller): RecordingHost {
  if (caller.kind === "node" || caller.kind === "proxy") return caller;
  // The table lets nobody else in.
  throw new InternalError(`${caller.kind} is not a host`);
}
