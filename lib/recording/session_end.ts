/** The end of a session that nobody reported, made up from its recording. */
import { type AuditEvent, LAST_INDEX, type RecordingMode } from "../audit/events.ts";
import { sessionEndUid } from "../audit/session_end.ts";
import type { RecordingMeta } from "./meta.ts";

export interface RecoveredEnd {
  readonly meta: RecordingMeta;
  /** The host that recorded it. */
  readonly hostId: string;
  readonly participants: readonly string[];
  /** RFC 3339: the last sign of life. */
  readonly ended: string;
  readonly torn: boolean;
}

/** `session.end` with the uid that every report of this session's end has. */
export function recoveredSessionEnd(
  { meta, hostId, participants, ended, torn }: RecoveredEnd,
): AuditEvent {
  const isProxy = meta.recorded_by === "proxy";
  return {
    event: "session.end",
    code: "T2004I",
    uid: sessionEndUid(meta.sid),
    ei: LAST_INDEX,
    sid: meta.sid,
    user: meta.user,
    login: meta.login,
    server_id: hostId,
    namespace: "default",
    // A proxy reports under its own id where the session leads.
    ...(isProxy
      ? {
        ...(meta.server_id === "" ? {} : { target_id: meta.server_id }),
        target_hostname: meta.server_hostname,
        target_addr: meta.server_addr,
      }
      : { server_hostname: meta.server_hostname, server_addr: meta.server_addr }),
    "addr.remote": meta.addr_remote,
    proto: "ssh",
    enhanced_recording: false,
    interactive: true,
    participants: [...participants],
    session_start: meta.started,
    session_stop: ended,
    session_recording: meta.recorded_by satisfies RecordingMode,
    ...(torn ? { torn: true as const } : {}),
  };
}
