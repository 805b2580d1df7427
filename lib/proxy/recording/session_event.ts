/** What a node tells the client of a session (`x-teleport-event`), and the proxy that records it. */
import { isName } from "../../cert/names.ts";
import { JOIN_MODES, type JoinMode } from "../../resources/types.ts";

export type SessionEvent =
  | { readonly event: "resize"; readonly cols: number; readonly rows: number }
  | { readonly event: "session.join"; readonly user: string; readonly mode: JoinMode }
  | { readonly event: "session.leave"; readonly user: string };

const MAX_BYTES = 4096;

/** undefined for what is not of this session, or not understood. */
export function parseSessionEvent(payload: Uint8Array, sid: string): SessionEvent | undefined {
  const fields = payload.length > MAX_BYTES ? undefined : parseObject(payload);
  if (fields?.["sid"] !== sid) return undefined;
  const { event, user, mode, size } = fields;
  if (event === "resize") return parseSize(size);
  if (typeof user !== "string" || !isName(user)) return undefined;
  if (event === "session.leave") return { event, user };
  const known = JOIN_MODES.find((each) => each === mode);
  return event === "session.join" && known ? { event, user, mode: known } : undefined;
}

function parseObject(payload: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(payload));
    return typeof value === "object" && value !== null
      ? value as Record<string, unknown>
      : undefined;
  } catch {
    return undefined;
  }
}

function parseSize(size: unknown): SessionEvent | undefined {
  const [, cols, rows] = /^(\d{1,4}):(\d{1,4})$/.exec(String(size)) ?? [];
  return Number(cols) > 0 && Number(rows) > 0
    ? { event: "resize", cols: Number(cols), rows: Number(rows) }
    : undefined;
}
