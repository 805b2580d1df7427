/**
 * Leases of connections whose number a role limits over the whole cluster (max_connections). The
 * auth service counts. A host renews its leases, and ends their connections when it has been out of
 * touch for longer than they are good for: by then they count no more.
 */
import { AccessDenied, LimitExceeded, messageOf } from "../base/errors.ts";
import { formatDuration } from "../base/duration.ts";
import { uuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import type { AuthConnection } from "./auth_connection.ts";

export interface ConnectionLeasesOptions {
  readonly auth: Pick<AuthConnection, "call">;
  /** The cluster's session_control_timeout, milliseconds. */
  readonly timeoutMs: () => number;
}

export interface ConnectionLease {
  /**
   * The connection is there. Until then the lease is given back after a minute.
   *
   * @param onLost is told why the connection must end
   */
  hold(onLost: (reason: string) => void): void;
  /** The connection has ended. */
  release(): void;
}

const ACQUIRE_TIMEOUT_MS = 5_000;
const UNHELD_MS = 60_000;
/** Leases of one call. */
const BATCH = 1_000;

interface Held {
  readonly user: string;
  readonly lease: string;
  renewedAt: number;
  onLost: (reason: string) => void;
}

export class ConnectionLeases {
  readonly #options: ConnectionLeasesOptions;
  readonly #held = new Set<Held>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(options: ConnectionLeasesOptions) {
    this.#options = options;
  }

  /**
   * @throws LimitExceeded when the user has `max` connections
   * @throws AccessDenied when that cannot be known now
   */
  async acquire(user: string, max: number): Promise<ConnectionLease> {
    const lease = uuid();
    try {
      await this.#options.auth.call("connections.acquire", { user, lease, max }, {
        timeoutMs: ACQUIRE_TIMEOUT_MS,
      });
    } catch (error) {
      if (error instanceof LimitExceeded && error.message.startsWith("too many concurrent")) {
        throw error;
      }
      // The answer may have been lost.
      this.#giveBack(user, lease);
      throw new AccessDenied(
        `it cannot be told now how many connections "${user}" has (max=${max}): the auth service ` +
          "is out of reach; try again later",
        { cause: error },
      );
    }
    return this.#keep(user, lease);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #keep(user: string, lease: string): ConnectionLease {
    const held: Held = { user, lease, renewedAt: performance.now(), onLost: () => {} };
    this.#held.add(held);
    this.#schedule();
    const release = () => {
      clearTimeout(unheld);
      if (this.#held.delete(held)) this.#giveBack(user, lease);
    };
    const unheld = setTimeout(release, UNHELD_MS);
    Deno.unrefTimer(unheld);
    return {
      hold: (onLost) => {
        clearTimeout(unheld);
        held.onLost = onLost;
      },
      release,
    };
  }

  /** One that is not given back runs out. */
  #giveBack(user: string, lease: string): void {
    this.#options.auth.call("connections.release", { user, lease }).catch((error) => {
      log("node").debug("A connection's lease was not given back", { error: messageOf(error) });
    });
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#isClosed || this.#held.size === 0) return;
    this.#timer = setTimeout(async () => {
      await this.#renew();
      this.#timer = undefined;
      this.#schedule();
    }, this.#options.timeoutMs() / 4);
  }

  async #renew(): Promise<void> {
    const all = [...this.#held];
    for (let i = 0; i < all.length; i += BATCH) await this.#renewBatch(all.slice(i, i + BATCH));
    const timeoutMs = this.#options.timeoutMs();
    for (const held of this.#held) {
      if (performance.now() - held.renewedAt < timeoutMs) continue;
      this.#lose(
        held,
        `the auth service was out of reach for ${formatDuration(timeoutMs)}, and the number of ` +
          "this user's connections is limited",
      );
    }
  }

  async #renewBatch(batch: Held[]): Promise<void> {
    const asked = performance.now();
    try {
      const leases = batch.map(({ user, lease }) => ({ user, lease }));
      const { lost } = await this.#options.auth.call("connections.renew", { leases }, {
        timeoutMs: ACQUIRE_TIMEOUT_MS,
      });
      const isLost = new Set(lost);
      for (const held of batch) {
        if (!isLost.has(held.lease)) held.renewedAt = asked;
        else this.#lose(held, "the auth service does not count this connection any more");
      }
    } catch (error) {
      log("node").debug("Leases of connections are not renewed", { error: messageOf(error) });
    }
  }

  #lose(held: Held, reason: string): void {
    if (this.#held.delete(held)) held.onLost(reason);
  }
}
