/**
 * Locks a user name after failed logins in a row. Names that belong to nobody are treated the same,
 * so that neither an answer nor its time says who exists.
 *
 * The number of guesses is exact also when they come side by side: an attempt is let in only while
 * failures and attempts under way together are fewer than allowed; the others wait for their turn.
 */
import {
  AccessDenied,
  AlreadyExists,
  CompareFailed,
  LimitExceeded,
  NotFound,
} from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Backend } from "../storage/backend.ts";
import { deleteIfThere, hashSecret, readJson } from "./store.ts";

export const MAX_FAILURES = 5;
export const LOCK_MS = 20 * 60_000;
/** A failure is forgotten after that. */
export const REMEMBER_MS = 30 * 60_000;
/** Logins of one name that may wait for their turn. */
const MAX_WAITING = 64;

interface Attempts {
  /** When, milliseconds since the epoch. */
  failures: number[];
  lockedUntilMs?: number;
}

interface Gate {
  /** Attempts that wait, run, or are about to. */
  present: number;
  running: number;
  waiting: (() => void)[];
}

/** The name is locked; says until when. */
export class UserLocked extends AccessDenied {}

export class Lockout {
  readonly #gates = new Map<string, Gate>();

  constructor(private readonly backend: Backend, private readonly clock: Clock) {}

  /**
   * Runs one login attempt. `attempt` resolves to undefined when it failed.
   * @throws UserLocked when the name is locked, or by this failure; LimitExceeded when too many
   * logins of this name wait
   */
  async guard<T>(
    user: string,
    attempt: () => Promise<T | undefined>,
    /** Told when this failure locks the name. */
    onLock: (until: Date) => void,
  ): Promise<T | undefined> {
    await this.#enter(user);
    try {
      const result = await attempt();
      if (result !== undefined) {
        await this.reset(user);
        return result;
      }
      const lockedUntilMs = await this.#recordFailure(user);
      if (lockedUntilMs === undefined) return undefined;
      onLock(new Date(lockedUntilMs));
      throw lockedError(user, lockedUntilMs);
    } finally {
      this.#leave(user);
    }
  }

  /** Until when the name is locked, milliseconds since the epoch. */
  async lockedUntil(user: string): Promise<number | undefined> {
    return this.#lockOf((await this.#read(user))?.value);
  }

  /** Forgets failures and lock. */
  reset(user: string): Promise<void> {
    return deleteIfThere(this.backend, key(user));
  }

  async #enter(user: string): Promise<void> {
    const gate = this.#gates.get(user) ?? { present: 0, running: 0, waiting: [] };
    this.#gates.set(user, gate);
    gate.present++;
    for (;;) {
      // Counted while the record is read, so that nobody else slips in meanwhile.
      gate.running++;
      try {
        const attempts = (await this.#read(user))?.value;
        const lockedUntilMs = this.#lockOf(attempts);
        if (lockedUntilMs !== undefined) throw lockedError(user, lockedUntilMs);
        if ((attempts?.failures.length ?? 0) + gate.running <= MAX_FAILURES) return;
        if (gate.waiting.length >= MAX_WAITING) {
          throw new LimitExceeded("too many logins of this user at this moment, try again");
        }
      } catch (e) {
        this.#leave(user);
        throw e;
      }
      gate.running--;
      await new Promise<void>((resolve) => gate.waiting.push(resolve));
    }
  }

  #leave(user: string): void {
    const gate = this.#gates.get(user)!;
    gate.running--;
    if (--gate.present === 0) this.#gates.delete(user);
    else gate.waiting.shift()?.();
  }

  /** Returns the end of the lock when this failure was the last one allowed. */
  async #recordFailure(user: string): Promise<number | undefined> {
    for (;;) {
      const now = this.clock.now();
      const stored = await this.#read(user);
      const failures = [...stored?.value.failures ?? [], now];
      const attempts: Attempts = failures.length >= MAX_FAILURES
        ? { failures: [], lockedUntilMs: now + LOCK_MS }
        : { failures };
      const value = JSON.stringify(attempts);
      const expiresMs = attempts.lockedUntilMs ?? now + REMEMBER_MS;
      try {
        if (stored === undefined) await this.backend.create(key(user), value, { expiresMs });
        else await this.backend.compareAndSwap(key(user), stored, value, { expiresMs });
        return attempts.lockedUntilMs;
      } catch (e) {
        const raced = e instanceof CompareFailed || e instanceof NotFound ||
          e instanceof AlreadyExists;
        if (!raced) throw e;
      }
    }
  }

  async #read(user: string) {
    const stored = await readJson<Attempts>(this.backend, key(user));
    if (stored === undefined) return undefined;
    const since = this.clock.now() - REMEMBER_MS;
    stored.value.failures = stored.value.failures.filter((time) => time > since);
    return stored;
  }

  #lockOf(attempts: Attempts | undefined): number | undefined {
    const until = attempts?.lockedUntilMs;
    return until !== undefined && until > this.clock.now() ? until : undefined;
  }
}

export function lockedError(user: string, untilMs: number): UserLocked {
  return new UserLocked(
    `${user} exceeds ${MAX_FAILURES} failed login attempts, locked until ${humanTime(untilMs)}`,
  );
}

/** "Mon Jan  2 15:04 UTC", as Teleport writes it. */
function humanTime(ms: number): string {
  const [day, date, month, , time] = new Date(ms).toUTCString().replace(",", "").split(" ") as [
    string,
    string,
    string,
    string,
    string,
  ];
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time.slice(0, 5)} UTC`;
}

/** Whatever was typed as a name becomes a usable key, of one length. */
function key(user: string): string {
  return `/attempts/${hashSecret(user)}`;
}
