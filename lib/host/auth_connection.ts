/**
 * The one connection of a daemon to the auth service, kept for as long as the daemon lives: made
 * again with a growing, random pause when it breaks, at the next server of the list.
 */
import type { ApiClient } from "../api/client.ts";
import type { ApiParams, ApiResult, MethodName } from "../api/contract.ts";
import { Backoff, sleep } from "../base/backoff.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { TrustedAuthority } from "../cert/check.ts";
import {
  type AuthDialResult,
  checkAuthServer,
  type Dial,
  dialAuth,
  requireAuthServers,
} from "./auth_dial.ts";
import { type HostIdentity, hostUserName } from "./identity.ts";

export interface AuthConnectionOptions {
  /** `host` or `host:port`, tried in turn. */
  readonly authServers: readonly string[];
  /** Asked at each connection, because renewals replace the certificate. */
  readonly identity: () => HostIdentity;
  /** Host authorities that may vouch for an auth server; asked at each connection. */
  readonly authorities: () => TrustedAuthority[];
  readonly clock?: Clock;
  readonly dial?: Dial;
  readonly backoff?: Backoff;
}

export type AuthState =
  | { readonly status: "connected"; readonly address: string; readonly sinceMs: number }
  /** Before the first attempt has ended. */
  | { readonly status: "connecting" }
  | { readonly status: "away"; readonly sinceMs: number; readonly error: string };

/** How long a call waits for a connection that is being made, in milliseconds. */
const WAIT_FOR_CONNECTION_MS = 5_000;
/** Somebody who waits for auth shortens the pause between two attempts to this, in milliseconds. */
const HURRIED_PAUSE_MS = 1_000;
/** A connection that held for so long was a good one: the next pause is short again. */
const GOOD_CONNECTION_MS = 10_000;

export class AuthConnection {
  readonly #options: AuthConnectionOptions;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #log = log("auth-connection");
  readonly #listeners = new Set<(state: AuthState) => void>();
  #state: AuthState = { status: "connecting" };
  #current: AuthDialResult | undefined;
  #arrival = Promise.withResolvers<ApiClient>();
  /** Rejected when all servers were tried in vain, then made anew. */
  #round = Promise.withResolvers<never>();
  #hurry = () => {};
  /** Calls that wait and will not wait for ever. */
  #impatient = 0;
  #loop: Promise<void>;

  /** Begins to connect at once. */
  constructor(options: AuthConnectionOptions) {
    requireAuthServers(options.authServers);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#backoff = options.backoff ?? new Backoff({ minMs: 250, maxMs: 30_000 });
    this.#arrival.promise.catch(() => {});
    this.#round.promise.catch(() => {});
    this.#loop = this.#run();
  }

  /** The servers that are tried, as they were given. */
  get authServers(): readonly string[] {
    return this.#options.authServers;
  }

  get state(): AuthState {
    return this.#state;
  }

  /** Resolves when an attempt to reach the auth service has failed; at once while it is away. */
  away(): Promise<void> {
    if (this.#state.status === "away") return Promise.resolve();
    return new Promise((resolve) => {
      const stop = this.onState(({ status }) => {
        if (status !== "away") return;
        stop();
        resolve();
      });
    });
  }

  /** Calls the listener at each change; the answer takes it off again. */
  onState(listener: (state: AuthState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The API, as soon as there is a connection. Who does not want to wait for ever learns after the
   * next attempt, which comes soon, that the auth service is away.
   *
   * @param o.waitMs how long to wait at most, 5 s when omitted, Infinity for ever
   * @throws ConnectionProblem when the auth service stays away
   */
  async api(o: { waitMs?: number; signal?: AbortSignal } = {}): Promise<ApiClient> {
    if (this.#current) return this.#current.api;
    const waitMs = o.waitMs ?? WAIT_FOR_CONNECTION_MS;
    const patient = !Number.isFinite(waitMs);
    const done = new AbortController();
    const signal = o.signal ? AbortSignal.any([o.signal, done.signal]) : done.signal;
    const giveUp = patient
      ? rejectOnAbort(signal)
      : Promise.race([this.#round.promise, this.#afterWaiting(waitMs, signal)]);
    if (!patient) {
      this.#impatient++;
      this.#hurry();
    }
    giveUp.catch(() => {});
    try {
      return await Promise.race([this.#arrival.promise, giveUp]);
    } finally {
      if (!patient) this.#impatient--;
      done.abort();
    }
  }

  /**
   * One call to the auth service. It is not repeated when the connection breaks while it runs:
   * only the caller knows whether doing it twice is harmless.
   *
   * @throws ConnectionProblem when the auth service is away; else what the service answers
   */
  async call<M extends MethodName>(
    method: M,
    params: ApiParams<M>,
    o: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<ApiResult<M>> {
    const api = await this.api(o.signal ? { signal: o.signal } : {});
    return await api.call(method, params, o);
  }

  /** Drops the present connection, so that the next one is made with the newest certificate. */
  reconnect(): void {
    this.#current?.ssh.close();
  }

  async close(): Promise<void> {
    this.#stop.abort(new ConnectionProblem("the connection to the auth service was closed"));
    this.#arrival.reject(this.#stop.signal.reason);
    this.#current?.api.close();
    this.#current?.ssh.close();
    await this.#loop;
  }

  async #afterWaiting(ms: number, signal: AbortSignal): Promise<never> {
    await sleep(ms, signal);
    throw this.#awayError();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let turn = 0;
    while (!signal.aborted) {
      const address = this.#options.authServers[turn++ % this.#options.authServers.length]!;
      let failed = false;
      try {
        await this.#connectOnce(address);
      } catch (error) {
        failed = true;
        this.#setAway(`${address}: ${messageOf(error)}`);
      }
      // A whole round without success before the pause: another server may be there at once.
      if (turn % this.#options.authServers.length !== 0) continue;
      if (failed) this.#endRound();
      await this.#pause(signal);
    }
  }

  #endRound(): void {
    this.#round.reject(this.#awayError());
    this.#round = Promise.withResolvers<never>();
    this.#round.promise.catch(() => {});
  }

  #pause(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const endsAt = performance.now() + this.#backoff.next();
    const soonest = performance.now() + HURRIED_PAUSE_MS;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#hurry = () => {};
        signal.removeEventListener("abort", end);
        resolve();
      };
      const until = (at: number) => setTimeout(end, Math.max(0, at - performance.now()));
      let timer = until(endsAt);
      this.#hurry = () => {
        clearTimeout(timer);
        timer = until(Math.min(endsAt, soonest));
      };
      if (this.#impatient > 0) this.#hurry();
      signal.addEventListener("abort", end, { once: true });
    });
  }

  async #connectOnce(address: string): Promise<void> {
    const o = this.#options;
    const identity = o.identity();
    const connection = await dialAuth({
      address,
      username: hostUserName(identity),
      credentials: [{ key: identity.key, certificate: identity.certificate }],
      verifyHost: ({ certificate }) =>
        checkAuthServer(certificate, o.authorities(), this.#clock.now()),
      signal: this.#stop.signal,
      ...(o.dial ? { dial: o.dial } : {}),
    });
    const sinceMs = this.#clock.now();
    try {
      this.#current = connection;
      this.#arrival.resolve(connection.api);
      this.#setState({ status: "connected", address, sinceMs });
      this.#log.info("Connected to the auth service", { address });
      await Promise.race([connection.ssh.closed, connection.api.closed]);
    } finally {
      this.#current = undefined;
      if (!this.#stop.signal.aborted) this.#arrival = Promise.withResolvers<ApiClient>();
      this.#arrival.promise.catch(() => {});
      connection.api.close();
      connection.ssh.close();
    }
    if (this.#clock.now() - sinceMs >= GOOD_CONNECTION_MS) this.#backoff.reset();
    this.#setAway(`${address}: the connection was lost`);
  }

  #setAway(error: string): void {
    if (this.#stop.signal.aborted) return;
    const since = this.#state.status === "away" ? this.#state.sinceMs : this.#clock.now();
    // Said once when it goes away; each further attempt is of interest to a debugger only.
    const say = this.#state.status === "away" ? this.#log.debug : this.#log.warn;
    say("The auth service is away, trying again", { error });
    this.#setState({ status: "away", sinceMs: since, error });
  }

  #setState(state: AuthState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }

  #awayError(): ConnectionProblem {
    const why = this.#state.status === "away" ? this.#state.error : "no answer yet";
    return new ConnectionProblem(`the auth service is away (${why})`);
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
