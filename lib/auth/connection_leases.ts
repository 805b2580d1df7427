/**
 * How many connections a user has at one time, over all hosts: one lease each. A host renews its
 * leases; those of a host that died run out. Kept in the backend, so that a restart forgets none.
 */
import { AlreadyExists, CompareFailed, LimitExceeded, NotFound } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Backend } from "../storage/backend.ts";
import { hashSecret, readJson } from "./store.ts";

interface Lease {
  id: string;
  host: string;
  expiresMs: number;
}

export class ConnectionLeases {
  constructor(
    private readonly backend: Backend,
    private readonly clock: Clock,
    /** How long a lease is good for without being renewed, milliseconds. */
    private readonly ttlMs: number,
  ) {}

  /**
   * The same lease may be asked for again, when the answer was lost.
   * @returns when it runs out, milliseconds since 1970
   * @throws LimitExceeded when the user has `max` already
   */
  async acquire(host: string, { user, lease: id, max }: {
    user: string;
    lease: string;
    max: number;
  }): Promise<number> {
    const expiresMs = this.clock.now() + this.ttlMs;
    await this.#update(user, (leases) => {
      const others = leases.filter((lease) => lease.id !== id);
      if (others.length >= max) {
        throw new LimitExceeded(
          `too many concurrent ssh connections for user "${user}" (max=${max})`,
        );
      }
      return [...others, { id, host, expiresMs }];
    });
    return expiresMs;
  }

  /** @returns those of the ids that have run out, or are another host's */
  async renew(host: string, user: string, ids: readonly string[]): Promise<string[]> {
    const expiresMs = this.clock.now() + this.ttlMs;
    let lost: string[] = [];
    await this.#update(user, (leases) => {
      const mine = new Set(leases.filter((lease) => lease.host === host).map(({ id }) => id));
      lost = ids.filter((id) => !mine.has(id));
      const renewed = new Set(ids.filter((id) => mine.has(id)));
      return leases.map((lease) => renewed.has(lease.id) ? { ...lease, expiresMs } : lease);
    });
    return lost;
  }

  async release(host: string, user: string, id: string): Promise<void> {
    await this.#update(
      user,
      (leases) => leases.filter((lease) => lease.id !== id || lease.host !== host),
    );
  }

  /** Of two changes at one time one is made first, and the other anew on what it left. */
  async #update(user: string, change: (leases: Lease[]) => Lease[]): Promise<void> {
    // Whatever a host calls a user becomes a usable key.
    const key = `/connection_leases/${hashSecret(user)}`;
    while (true) {
      const stored = await readJson<Lease[]>(this.backend, key);
      const now = this.clock.now();
      const leases = change((stored?.value ?? []).filter(({ expiresMs }) => expiresMs > now));
      const expiresMs = Math.max(now, ...leases.map((lease) => lease.expiresMs));
      const value = JSON.stringify(leases);
      try {
        if (leases.length === 0) {
          if (stored !== undefined) await this.backend.delete(key, stored);
        } else if (stored === undefined) await this.backend.create(key, value, { expiresMs });
        else await this.backend.compareAndSwap(key, stored, value, { expiresMs });
        return;
      } catch (e) {
        const raced = e instanceof CompareFailed || e instanceof NotFound ||
          e instanceof AlreadyExists;
        if (!raced) throw e;
      }
    }
  }
}
