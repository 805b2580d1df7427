import type { StoredEvent } from "./events.ts";
import type { EventSink } from "./file_log.ts";

/** Keeps events in memory. For tests. */
export class MemoryLog implements EventSink {
  readonly events: StoredEvent[] = [];

  write(events: readonly StoredEvent[]): void {
    this.events.push(...structuredClone(events));
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  recent(): StoredEvent[] {
    return this.events;
  }

  close(): void {}
}
