/**
 * The sessions that run now, as their hosts say: in memory only, because they say it again every
 * few seconds. And the way back: an order to end one.
 */
import type { ActiveSession, WatchEvent } from "../api/types.ts";
import type { Clock } from "../base/clock.ts";
import { AccessDenied, ConnectionProblem, NotFound } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { ServerSpec } from "../resources/types.ts";

/** For how long what a host says is believed when it says nothing more, in milliseconds. */
export const SESSIONS_TTL_MS = 30_000;

/** One role of a host: its node and its proxy have sessions of their own. */
export interface SessionHost {
  readonly kind: "node" | "proxy";
  readonly hostId: string;
}

interface Report {
  readonly host: SessionHost;
  readonly expiresMs: number;
  readonly sessions: ReadonlyMap<string, ActiveSession>;
}

type Order = Extract<WatchEvent, { type: "delete" }>;

export class ActiveSessions {
  readonly #clock: Clock;
  /** By "kind/host id", as the watchers. */
  readonly #reports = new Map<string, Report>();
  readonly #watchers = new Map<string, Set<Watcher>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes all sessions that a host has now.
   *
   * @param known the host's announcement, if there is one: it counts more than the report
   * @throws AccessDenied for a session that is not on this host; then nothing is taken
   */
  report(
    host: SessionHost,
    sessions: readonly ActiveSession[],
    known: Pick<ServerSpec, "hostname" | "addr" | "public_addr"> | undefined,
  ): void {
    const { kind, hostId } = host;
    const foreign = sessions.find(({ server_id }) => server_id !== hostId);
    if (foreign) {
      throw new AccessDenied(`host ${hostId} may not report sessions of ${foreign.server_id}`);
    }
    const place = known === undefined
      ? {}
      : { server_hostname: known.hostname, server_addr: known.public_addr ?? known.addr };
    const own = new Map<string, ActiveSession>();
    for (const { join_modes: _, ...session } of sessions) {
      // Ids are random: the second one that has it has it from the first. A proxy that records a
      // session and its node have it both.
      const others = this.#find(session.sid).filter((other) => other.host.hostId !== hostId);
      if (others.some((other) => other.host.kind === kind)) {
        log("auth").warn("A session of another host was reported", { host: hostId, ...session });
        continue;
      }
      own.set(session.sid, { ...session, ...place });
    }
    const expiresMs = this.#clock.now() + SESSIONS_TTL_MS;
    if (own.size > 0) {
      this.#reports.set(keyOf(host), { host: { kind, hostId }, expiresMs, sessions: own });
    } else this.#reports.delete(keyOf(host));
  }

  /** The oldest first. Where a proxy records a session of a node, the node's word counts. */
  list(): ActiveSession[] {
    const now = this.#clock.now();
    for (const [key, { expiresMs }] of this.#reports) {
      if (expiresMs <= now) this.#reports.delete(key);
    }
    const proxiesFirst = [...this.#reports.values()].sort((a, b) => rank(b) - rank(a));
    const sessions = new Map(proxiesFirst.flatMap((report) => [...report.sessions]));
    return [...sessions.values()].sort((a, b) => a.started < b.started ? -1 : 1);
  }

  /**
   * Tells the session's host to end it.
   *
   * @throws NotFound when no host has it, ConnectionProblem when its host cannot be told now
   */
  kill(sid: string, by: string, reason?: string): void {
    const reports = this.#find(sid);
    const [best] = reports;
    if (!best) throw new NotFound(`session ${sid} is not found: it is over, or there was none`);
    const watchers = reports.map(({ host }) => this.#watchers.get(keyOf(host)))
      .find((each) => each !== undefined);
    if (!watchers) {
      throw new ConnectionProblem(
        `${
          best.sessions.get(sid)!.server_hostname
        } is not connected to the auth service now, so it cannot be told ` +
          `to end session ${sid}: try again`,
      );
    }
    const order: Order = {
      type: "delete",
      kind: "session",
      name: sid,
      by,
      ...(reason === undefined ? {} : { reason }),
    };
    for (const watcher of watchers) watcher.push(order);
  }

  /** Orders for one host, until `signal` is aborted. Begins with "init". */
  async *watch(
    host: SessionHost,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent[], void, undefined> {
    const watcher = new Watcher();
    const watchers = this.#watchers.get(keyOf(host)) ?? new Set();
    this.#watchers.set(keyOf(host), watchers.add(watcher));
    const wake = () => watcher.wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      yield [{ type: "init" }];
      while (!signal.aborted) {
        const orders = watcher.take();
        if (orders.length > 0) yield orders;
        else await watcher.more();
      }
    } finally {
      signal.removeEventListener("abort", wake);
      watchers.delete(watcher);
      if (watchers.size === 0) this.#watchers.delete(keyOf(host));
    }
  }

  /** Who has it, a node before a proxy. */
  #find(sid: string): Report[] {
    const now = this.#clock.now();
    return [...this.#reports.values()]
      .filter(({ expiresMs, sessions }) => expiresMs > now && sessions.has(sid))
      .sort((a, b) => rank(a) - rank(b));
  }
}

function rank({ host }: Report): number {
  return host.kind === "node" ? 0 : 1;
}

function keyOf({ kind, hostId }: SessionHost): string {
  return `${kind}/${hostId}`;
}

class Watcher {
  #orders: Order[] = [];
  #wake: (() => void) | undefined;

  push(order: Order): void {
    this.#orders.push(order);
    this.wake();
  }

  take(): Order[] {
    return this.#orders.splice(0);
  }

  more(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
