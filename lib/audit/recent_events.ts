/** What the audit log has stored lately: enough to recognise a batch that comes a second time. */
import type { StoredEvent } from "./events.ts";

/** Delivered events that are remembered: a host repeats its last batch, not last week's. */
const MAX_EVENTS = 50_000;
const MAX_SESSIONS = 50_000;

/** The host of each kind that was the first to speak of a session. */
export interface SessionOwners {
  readonly node?: string;
  readonly proxy?: string;
}

export class RecentEvents {
  /** Oldest first. */
  readonly #keys = new Set<string>();
  readonly #owners = new Map<string, SessionOwners>();

  add(event: StoredEvent): void {
    const key = keyOf(event);
    if (key === undefined) return;
    this.#keys.add(key);
    if (this.#keys.size > MAX_EVENTS) dropOldest(this.#keys);
    const { reported_by: host, reported_service: service } = event;
    if (!("sid" in event) || event.sid === undefined) return;
    if (host === undefined || service === undefined) return;
    const owners = this.#owners.get(event.sid);
    if (owners?.[service] !== undefined) return;
    this.#owners.set(event.sid, { ...owners, [service]: host });
    if (this.#owners.size > MAX_SESSIONS) dropOldest(this.#owners);
  }

  has(event: StoredEvent): boolean {
    const key = keyOf(event);
    return key !== undefined && this.#keys.has(key);
  }

  /** @param sid UUID of a session */
  ownersOf(sid: string): SessionOwners | undefined {
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
