/** Recordings at the auth service, page by page, and how they are shown. */
import type { ApiClient } from "../../api/client.ts";
import type { RecordingInfo } from "../../api/types.ts";
import { timeText } from "./player.ts";

export interface RecordingQuery {
  /** When the session started, RFC 3339. */
  from?: string;
  to?: string;
  /** Who took part. */
  user?: string;
  /** Name or id. */
  node?: string;
}

const PAGE = 1000;

/** The newest first, `limit` at most. */
export async function listRecordings(
  api: Pick<ApiClient, "call">,
  query: RecordingQuery,
  limit: number,
): Promise<RecordingInfo[]> {
  const found: RecordingInfo[] = [];
  let after: string | undefined;
  do {
    const page = await api.call("recordings.list", {
      ...query,
      limit: Math.min(PAGE, limit - found.length),
      ...(after === undefined ? {} : { after }),
    });
    found.push(...page.recordings);
    after = page.next;
  } while (after !== undefined && found.length < limit);
  return found;
}

export const RECORDING_TITLES = ["ID", "Started (UTC)", "Length", "User", "Login", "Node", "Size"];

/** One row of a table. */
export function recordingRow(info: RecordingInfo): string[] {
  const length = info.duration_ms === undefined ? "" : timeText(info.duration_ms / 1000);
  return [
    info.sid,
    info.started.slice(0, 19).replace("T", " "),
    !info.finished ? "running" : info.torn ? `${length} (cut off)` : length,
    info.participants.length > 1 ? info.participants.join(", ") : info.user,
    info.login,
    info.server_hostname || info.server_addr,
    sizeText(info.size),
  ];
}

/** Bytes as people read them: "812 B", "1.4 MB". */
export function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}
