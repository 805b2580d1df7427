/** What the audit log has stored lately: enough to recognise a batch that comes a second time. */
import type { StoredEvent } from "./events.ts";

/** Delivered events that are remembered: a host repeats its last batch, not last week's. */
const MAX_EVENTS = 50_000;
const MAX_SESSIONS = 50_000;

export class RecentEvents {
  /** Oldest first. */
  readonly #keys = new Set<string>();
  /** Session → the node that was the first to speak of it. */
  readonly #owners = new Map<string, string>();

  add(event: StoredEvent): void {
    const key = keyOf(event);
    if (key === undefined) return;
    this.#keys.add(key);
    if (this.#keys.size > MAX_EVENTS) dropOldest(this.#keys);
    if (!("sid" in event) || event.sid === undefined || this.#owners.has(event.sid)) return;
    if (event.reported_by === undefined || event.reported_service !== "node") return;
    this.#owners.set(event.sid, event.reported_by);
    if (this.#owners.size > MAX_SESSIONS) dropOldest(this.#owners);
  }

  has(event: StoredEvent): boolean {
    const key = keyOf(event);
    return key !== undefined && this.#keys.has(key);
  }

  /** @param sid UUID of a session */
  ownerOf(sid: string): string | undefined {
    return this.#owners.get(sid);
  }
}

/** Uids are a host's own matter, but for the end of a session, which is one whoever reports it. */
function keyOf(event: StoredEvent): string | undefined {
  if (event.event === "session.end") return event.uid;
  return event.reported_by === undefined ? undefined : `${event.reported_by} ${event.uid}`;
}

function dropOldest(from: { keys(): Iterator<string>; delete(key: string): boolean }): void {
  const { value, done } = from.keys().next();
  if (!done) from.delete(value);
}
