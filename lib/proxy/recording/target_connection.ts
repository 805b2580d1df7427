/**
 * The proxy's own SSH connection to the host that a client wants: made when it is first needed,
 * with the user's certificate, whose key never leaves the user's agent.
 */
import type { Duplex } from "node:stream";
import {
  AccessDenied,
  ConnectionProblem,
  messageOf,
  TeleportError,
  toTeleportError,
} from "../../base/errors.ts";
import { printable } from "../../base/text.ts";
import type { TrustedAuthority } from "../../cert/check.ts";
import { connectSsh, type SshClient } from "../../ssh/client.ts";
import type { ServerConnection } from "../../ssh/server.ts";
import type { Route } from "../route.ts";
import { ForwardedAgent } from "./agent.ts";
import { AgentOffer } from "./agent_offer.ts";
import { credentialOf } from "./credentials.ts";
import type { RecordedUser } from "./recorded_user.ts";
import { type HostPolicy, verifyTarget } from "./target_host.ts";

export interface TargetConnectionOptions {
  /** The client's connection, which ends here. */
  readonly connection: ServerConnection<RecordedUser>;
  /** The host as the client has named it. */
  readonly asked: string;
  readonly route: Route;
  /** A stream to the host that is open already. */
  readonly first: Duplex;
  /** Opens another one: the host may have closed the first before there was a need for it. */
  readonly dial: () => Promise<Duplex>;
  readonly policy: () => HostPolicy;
  readonly userAuthorities: () => TrustedAuthority[];
}

/** How a user without an agent is told what to do. */
export const NEEDS_AGENT =
  "recording proxy mode needs agent forwarding: connect with -A, and with " +
  "your certificate in the agent (`tsh ssh -A …`, `ssh -A …`, `scp -A …`)";

const EVENT = "x-teleport-event";
const KEEP_ALIVE = { intervalMs: 60_000, countMax: 3 };
/** A stream that is open for longer may have been closed by the host: servers wait half a minute. */
const FRESH_MS = 15_000;
/** Logins that may fail before the client has to connect again. */
const MAX_FAILURES = 6;

export class TargetConnection {
  readonly agent = new AgentOffer();
  /** Resolves when a connection to the host was made and has ended, with the reason if it broke. */
  readonly lost: Promise<TeleportError | undefined>;
  /** What the host said before the login, safe to show. */
  banner = "";
  /** Told of what happens in sessions, as a node tells its clients (`x-teleport-event`). */
  readonly listeners = new Set<(event: Uint8Array) => void>();
  readonly #options: TargetConnectionOptions;
  readonly #lost = Promise.withResolvers<TeleportError | undefined>();
  readonly #gone = new AbortController();
  readonly #freshUntil = performance.now() + FRESH_MS;
  #first: Duplex | undefined;
  #client: Promise<SshClient> | undefined;
  #failures = 0;

  constructor(options: TargetConnectionOptions) {
    this.#options = options;
    this.#first = options.first;
    this.lost = this.#lost.promise;
    options.connection.closed.then(() => this.#close());
  }

  /**
   * The connection, made now if it is not there.
   *
   * @throws AccessDenied when there is no agent, no certificate in it, or the host refuses the
   *   user or is not the one it was taken for; ConnectionProblem
   */
  client(): Promise<SshClient> {
    this.#client ??= this.#logIn().catch((error: unknown) => {
      this.#failures++;
      this.#client = undefined;
      throw this.#named(error);
    });
    return this.#client;
  }

  async #logIn(): Promise<SshClient> {
    const { connection, asked, route, policy } = this.#options;
    if (this.#failures >= MAX_FAILURES) throw new AccessDenied("too many attempts: connect again");
    using agent = await this.#openAgent();
    const credential = await credentialOf(agent, {
      identity: connection.identity.identity,
      login: connection.username,
      address: connection.remote.host,
      authorities: this.#options.userAuthorities(),
      nowMs: policy().nowMs,
    });
    const stream = await this.#stream();
    try {
      const client = await connectSsh({
        stream,
        username: connection.username,
        credentials: [credential],
        verifyHost: (host) => verifyTarget(host, asked, route, policy()),
        onBanner: (text) => this.banner = text,
        onAgentChannel: () => connection.openAgent(),
        onX11Channel: ({ host, port }) =>
          connection.openX11({ originHost: host, originPort: port }),
        onGlobalRequest: (name, payload) => this.#onGlobalRequest(name, payload),
        keepAlive: KEEP_ALIVE,
        signal: this.#gone.signal,
      });
      client.closed.then((error) => this.#lost.resolve(error));
      return client;
    } catch (error) {
      stream.destroy();
      throw error;
    }
  }

  #onGlobalRequest(name: string, payload: Uint8Array): void {
    if (name !== EVENT) return;
    this.#options.connection.sendGlobalRequest(name, payload);
    for (const listener of this.listeners) listener(payload);
  }

  async #openAgent(): Promise<ForwardedAgent> {
    if (!await this.agent.mayAsk()) throw new AccessDenied(NEEDS_AGENT);
    try {
      return new ForwardedAgent(await this.#options.connection.openAgent());
    } catch (cause) {
      throw new AccessDenied(NEEDS_AGENT, { cause });
    }
  }

  async #stream(): Promise<Duplex> {
    const first = this.#first;
    this.#first = undefined;
    if (first && !first.destroyed && performance.now() < this.#freshUntil) return first;
    first?.destroy();
    return await this.#options.dial();
  }

  /** Errors of the SSH layer do not know whom they talk about. */
  #named(error: unknown): TeleportError {
    const where = printable(this.#options.asked);
    const message = messageOf(error);
    if (message.startsWith("recording proxy mode") || message.includes(where)) {
      return toTeleportError(error);
    }
    if (error instanceof AccessDenied) {
      return new AccessDenied(`${where}: ${message}`, { cause: error });
    }
    return error instanceof TeleportError
      ? new ConnectionProblem(`the connection to ${where} failed: ${message}`, { cause: error })
      : toTeleportError(error);
  }

  #close(): void {
    this.agent.close();
    this.#first?.destroy();
    this.#gone.abort(new ConnectionProblem("the client has gone"));
  }
}
