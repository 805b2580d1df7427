/** The SSH server: takes connections, limits them, authenticates them, hands them over. */
import type { Duplex } from "node:stream";
import { messageOf } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { acceptAll } from "./accept.ts";
import { ciphers, compressions, kexAlgorithms, macs } from "./algorithms.ts";
import { arrive, type Arrived } from "./arrival.ts";
import type { PeerAddress } from "./client_address.ts";
import { type HostKey, offerHostKeys } from "./host_keys.ts";
import { type AuthAttempt, Connection, type ServerConnection } from "./server_connection.ts";
import { Startups } from "./startups.ts";

export type { PeerAddress } from "./client_address.ts";
export { clientAddressLine } from "./client_address.ts";
export type { HostKey } from "./host_keys.ts";
export type { PtyRequest, WindowSize } from "./pty.ts";
export type { DirectTcpip, ForwardBind, ForwardedTcpip, X11Request } from "./forwarding.ts";
export type { AuthAttempt, ConnectionHandlers, ServerConnection } from "./server_connection.ts";
export type { ServerChannel, SessionHandlers, SessionStart } from "./server_session.ts";

export interface ServerLimits {
  /** Milliseconds from the connection to its authentication; 30 s. */
  graceMs: number;
  /** Failed attempts of a connection; 6. */
  maxTries: number;
  /** Connections that are not authenticated yet, overall; 100. Ten times as many wait. */
  maxStartups: number;
  /** The same for one IPv4 address or one IPv6 /64; 20. */
  maxStartupsPerAddress: number;
  /** Channels of a connection; 256. */
  maxChannels: number;
  /** New keys after so many bytes (RFC 4253 §9: 1 GiB) … */
  rekeyBytes: number;
  /** … or so many milliseconds; an hour. */
  rekeyMs: number;
  /** Milliseconds of silence after which a client is asked whether it is there; 5 min, 0 is never. */
  keepAliveIntervalMs: number;
  /** Unanswered questions that end a connection; 3. */
  keepAliveCountMax: number;
}

const defaultLimits: ServerLimits = {
  graceMs: 30_000,
  maxTries: 6,
  maxStartups: 100,
  maxStartupsPerAddress: 20,
  maxChannels: 256,
  rekeyBytes: 2 ** 30,
  rekeyMs: 3_600_000,
  keepAliveIntervalMs: 300_000,
  keepAliveCountMax: 3,
};

/** Milliseconds between two messages about connections that were turned away. */
const turnedAwayEveryMs = 10_000;

export interface AuthFailure {
  username: string;
  remote: PeerAddress;
  local: PeerAddress;
  message: string;
  certificate?: Certificate;
}

export interface SshServerOptions<I> {
  /** Asked at each connection. */
  hostKeys(): HostKey[];
  /** Whether a key is worth a signature; true for certificates unless told. Grants nothing. */
  offered?(attempt: AuthAttempt): boolean;
  /**
   * Called only after a signature proved that the client has the key. Returns who it is; throws
   * AccessDenied to refuse: its message is shown to the client.
   */
  authenticate(attempt: AuthAttempt): I | Promise<I>;
  onConnection(connection: ServerConnection<I>): void;
  onAuthFailure?(failure: AuthFailure): void;
  limits?: Partial<ServerLimits>;
  /** After "SSH-2.0-" in the identification line; "Teleport". */
  version?: string;
  /**
   * Whether `remote` may say whose connection it relays (`Teleport-Proxy{…}\0`). Without it, such a
   * line is no SSH; from a host that is not believed, the line is passed over.
   */
  clientAddressFrom?(remote: PeerAddress, claimed: PeerAddress): boolean;
}

export class SshServer<I> {
  readonly #options: SshServerOptions<I>;
  readonly #limits: ServerLimits;
  readonly #startups: Startups;
  readonly #connections = new Set<Connection<I>>();
  readonly #listeners = new Set<Deno.TcpListener>();
  /** Before SSH began on them. */
  readonly #arriving = new Set<Duplex>();
  #isClosing = false;
  #turnedAway = 0;
  #toldAt = -Infinity;

  constructor(options: SshServerOptions<I>) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#startups = new Startups({
      max: this.#limits.maxStartups,
      maxPerAddress: this.#limits.maxStartupsPerAddress,
    });
  }

  /** Connections in all states, the waiting ones included. */
  get connectionCount(): number {
    return this.#connections.size + this.#arriving.size;
  }

  /** Takes connections until the listener or the server is closed. */
  async serve(listener: Deno.TcpListener): Promise<void> {
    if (this.#isClosing) return;
    this.#listeners.add(listener);
    await acceptAll(listener, (stream, { remote, local }) => {
      this.accept(stream, addressOf(remote), addressOf(local));
    });
    this.#listeners.delete(listener);
  }

  /** Serves a connection that was made by other means. Closes it when there are too many. */
  accept(stream: Duplex, remote: PeerAddress, local: PeerAddress): void {
    stream.on("error", () => {}); // told by "close"
    if (this.#isClosing) return void stream.destroy();
    this.#arriving.add(stream);
    stream.once("close", () => this.#arriving.delete(stream));
    const options = {
      startups: this.#startups,
      graceMs: this.#limits.graceMs,
      clientAddressFrom: this.#options.clientAddressFrom,
    };
    const hasPlace = arrive(stream, remote, options, (arrived) => {
      try {
        this.#begin(arrived, local);
      } catch (error) {
        log("ssh").error("Cannot serve a connection", { remote, error: messageOf(error) });
        stream.destroy();
      }
    });
    if (!hasPlace) this.#turnAway(stream, remote);
  }

  /**
   * Stops listening; waits up to `drainMs` for sessions to end (0: not at all), then closes what is
   * left.
   */
  async close(options: { drainMs?: number } = {}): Promise<void> {
    this.#isClosing = true;
    for (const listener of this.#listeners) listener.close();
    for (const stream of this.#arriving) stream.destroy();
    for (const connection of this.#connections) {
      if (!connection.isAuthenticated || connection.channelCount === 0) connection.close();
    }
    const all = [...this.#connections].map((connection) => connection.gone);
    if (options.drainMs) {
      let timer;
      const timeout = new Promise((resolve) => timer = setTimeout(resolve, options.drainMs));
      await Promise.race([Promise.all(all), timeout]);
      clearTimeout(timer);
    }
    for (const connection of this.#connections) connection.close("The server is stopping");
    await Promise.all(all);
  }

  /** Logged now and then: whoever knocks too often must not fill the disk as well. */
  #turnAway(stream: Duplex, remote: PeerAddress): void {
    // OpenSSH's clients and ours show this line.
    const line = "Exceeded MaxStartups: too many connections begin here at once, try again\r\n";
    stream.end(line, () => stream.destroy());
    this.#turnedAway++;
    const now = performance.now();
    if (now - this.#toldAt < turnedAwayEveryMs) return;
    this.#toldAt = now;
    const { activeCount, waitingCount } = this.#startups;
    log("ssh").warn("Connections are turned away: too many begin at once", {
      last: remote,
      turned_away: this.#turnedAway,
      beginning: activeCount,
      waiting: waitingCount,
    });
  }

  #begin(arrived: Arrived, local: PeerAddress): void {
    const { stream, remote, relayedBy } = arrived;
    const limits = this.#limits;
    const options = this.#options;
    const hostKeys = offerHostKeys(options.hostKeys());
    const connection = new Connection<I>(stream, {
      id: uuid(),
      remote,
      local,
      ...(relayedBy && { relayedBy }),
      transport: {
        ident: options.version ?? "Teleport",
        algorithms: {
          kex: kexAlgorithms,
          serverHostKey: [...hostKeys.keys()],
          cipher: ciphers,
          mac: macs,
          compress: compressions,
        },
        hostKeys,
        rekeyBytes: limits.rekeyBytes,
        rekeyMs: limits.rekeyMs,
      },
      maxTries: limits.maxTries,
      maxChannels: limits.maxChannels,
      keepAlive: { intervalMs: limits.keepAliveIntervalMs, countMax: limits.keepAliveCountMax },
      offered: (attempt) => options.offered?.(attempt) ?? attempt.certificate !== undefined,
      authenticate: (attempt) => options.authenticate(attempt),
      onAuthenticated: (authenticated) => {
        arrived.done();
        try {
          options.onConnection(authenticated);
        } catch (error) {
          log("ssh").error("A connection could not be taken over", { remote, error });
          authenticated.close("Internal error");
        }
      },
      onAuthFailure: (username, message, certificate) => {
        const failure = { username, remote, local, message, ...(certificate && { certificate }) };
        options.onAuthFailure?.(failure);
      },
      onClosed: () => {
        arrived.done();
        connection.gone.then(() => this.#connections.delete(connection));
      },
    });
    arrived.expire = () => connection.close("Login timeout");
    this.#arriving.delete(stream);
    this.#connections.add(connection);
    connection.start(arrived.already);
  }
}

function addressOf(address: Deno.Addr): PeerAddress {
  return "hostname" in address
    ? { host: address.hostname, port: address.port }
    : { host: "unix", port: 0 };
}
