/** The sessions of a host that have not ended, with a terminal and without. */
import type { ActiveSession } from "../api/types.ts";

export interface RunningSession {
  readonly id: string;
  /** Whose it is, with the roles of the certificate it was started with. */
  readonly owner: { readonly user: string; readonly roles: readonly string[] };
  /** OS login. */
  readonly login: string;
  describe(): ActiveSession;
  /** Ends it; who is in it reads the reason. */
  end(reason: string): void;
}

export class RunningSessions {
  readonly #sessions = new Map<string, RunningSession>();
  readonly #listeners = new Set<() => void>();

  /** @returns what takes it off again */
  add(session: RunningSession): () => void {
    this.#sessions.set(session.id, session);
    this.changed();
    return () => {
      if (this.#sessions.delete(session.id)) this.changed();
    };
  }

  get(id: string): RunningSession | undefined {
    return this.#sessions.get(id);
  }

  list(): ActiveSession[] {
    return [...this.#sessions.values()].map((session) => session.describe());
  }

  /** @returns false when there is no such session */
  end(id: string, reason: string): boolean {
    const session = this.#sessions.get(id);
    session?.end(reason);
    return session !== undefined;
  }

  endAll(reason: string): void {
    for (const session of [...this.#sessions.values()]) session.end(reason);
  }

  /** Called at each change of what list() says; the answer takes the listener off again. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What a session says of itself has changed. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
