/** One connection at the server: its services in their order, its channels, what is refused. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import type { TeleportError } from "../base/errors.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { WireReader } from "../sshwire/codec.ts";
import type { PublicKey } from "../sshwire/keys.ts";
import { signatureAlgorithms } from "./algorithms.ts";
import type { Channel } from "./channel.ts";
import { type ChannelRequest, Channels, type OpenRequest } from "./channels.ts";
import type { PeerAddress } from "./client_address.ts";
import type { ForwardedTcpip } from "./forwarding.ts";
import { type GlobalAnswer, type GlobalRequest, GlobalRequests } from "./global_requests.ts";
import type { KeepAlive } from "./liveness.ts";
import { authSuccess, DISCONNECT, extInfo, MSG, OPEN_FAILURE, serviceAccept } from "./messages.ts";
import { ServerAuth } from "./server_auth.ts";
import {
  type ForwardingHandlers,
  isForwardRequest,
  refuseFor,
  ServerForwarding,
} from "./server_forwarding.ts";
import { ServerSession, type SessionHandlers } from "./server_session.ts";
import {
  Disconnect,
  Transport,
  type TransportHandler,
  type TransportOptions,
} from "./transport.ts";

export interface AuthAttempt {
  username: string;
  key: PublicKey;
  /** Not checked in any way, except that it is of `key`. */
  certificate?: Certificate;
  remote: PeerAddress;
  local: PeerAddress;
  connectionId: string;
}

export interface ConnectionHandlers extends ForwardingHandlers {
  /** Called for each session channel. Throws AccessDenied to refuse the channel. */
  session?(): SessionHandlers;
  /** So many channels more than `maxChannels` may be open, all of them forwarded connections. */
  maxForwards?: number;
}

/** An authenticated connection. */
export interface ServerConnection<I> {
  readonly id: string;
  readonly identity: I;
  readonly username: string;
  readonly remote: PeerAddress;
  readonly local: PeerAddress;
  /** The address of the proxy that relays, when `remote` was told by it. */
  readonly relayedBy?: PeerAddress;
  /** The client's software, safe to show. */
  readonly clientVersion: string;
  readonly closed: Promise<void>;
  /** How many channels are open. */
  readonly channelCount: number;
  /** Tells the client the reason, and closes. */
  close(reason?: string): void;
  /** What the client asks for waits until this is called; it is called once. */
  handle(handlers: ConnectionHandlers): void;
  /**
   * Opens a channel for a connection that came to a listener of the client's.
   * @throws AccessDenied, LimitExceeded, ConnectionProblem; so do the next two
   */
  openForwardedTcpip(forwarded: ForwardedTcpip): Promise<Duplex>;
  /** Opens a channel to the client's agent. Only when it has offered it. */
  openAgent(): Promise<Duplex>;
  /** Opens a channel to the client's display. Only when it has offered it. */
  openX11(origin: { originHost: string; originPort: number }): Promise<Duplex>;
  /** Says something to the client as a whole, and wants no answer. */
  sendGlobalRequest(name: string, payload: Uint8Array): void;
}

export interface ServerConnectionOptions<I> {
  id: string;
  remote: PeerAddress;
  local: PeerAddress;
  relayedBy?: PeerAddress;
  transport: TransportOptions;
  maxTries: number;
  maxChannels: number;
  keepAlive: KeepAlive;
  offered(attempt: AuthAttempt): boolean;
  authenticate(attempt: AuthAttempt): I | Promise<I>;
  onAuthenticated(connection: ServerConnection<I>): void;
  onAuthFailure(username: string, message: string, certificate: Certificate | undefined): void;
  onClosed(): void;
}

/** Openings that may wait for handle(). */
const maxWaiting = 64;

export class Connection<I> implements TransportHandler {
  readonly #options: ServerConnectionOptions<I>;
  readonly #transport: Transport;
  readonly #auth: ServerAuth<I>;
  readonly #channels: Channels;
  readonly #globals: GlobalRequests;
  readonly #sessions = new Map<Channel, ServerSession>();
  readonly #closed = Promise.withResolvers<void>();
  #state: "kex" | "service" | "auth" | "open" | "closed" = "kex";
  readonly #handled = Promise.withResolvers<void>();
  #handlers: ConnectionHandlers | undefined;
  #forwarding: ServerForwarding;
  #waiting: OpenRequest[] = [];
  #noMoreSessions = false;

  constructor(stream: Duplex, options: ServerConnectionOptions<I>) {
    this.#options = options;
    this.#transport = new Transport(stream, options.transport, this);
    this.#channels = new Channels(this.#transport, options.maxChannels, {
      onOpen: (request) => this.#onOpen(request),
      onRequest: (request) => this.#onChannelRequest(request),
    });
    this.#forwarding = new ServerForwarding(this.#channels, {});
    this.#globals = new GlobalRequests({
      send: (payload) => this.#transport.send(payload),
      answer: (request) => this.#onGlobalRequest(request),
    });
    this.#auth = new ServerAuth<I>({
      maxTries: options.maxTries,
      sessionId: () => this.#transport.sessionId,
      send: (payload) => this.#transport.send(payload),
      disconnect: (reason, message) => this.#transport.disconnect(reason, message),
      offered: (username, key) => options.offered(this.#attempt(username, key)),
      authenticate: (username, key) => options.authenticate(this.#attempt(username, key)),
      succeed: (username, identity) => this.#onAuthenticated(username, identity),
      failed: (username, message, key) =>
        options.onAuthFailure(username, message, key?.certificate),
    });
  }

  get isAuthenticated(): boolean {
    return this.#state === "open";
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Resolves when its stream is closed, a little after `closed`. */
  get gone(): Promise<void> {
    return this.#transport.gone;
  }

  get channelCount(): number {
    return this.#channels.size;
  }

  start(already?: Buffer): void {
    this.#transport.start(already);
  }

  close(reason = ""): void {
    this.#transport.disconnect(DISCONNECT.BY_APPLICATION, reason);
  }

  // --- from the transport ---

  onReady(): void {
    this.#state = "service";
    if (this.#transport.peerWantsExtInfo) {
      this.#transport.send(extInfo({ "server-sig-algs": signatureAlgorithms.join(",") }));
    }
  }

  onMessage(type: number, payload: Buffer): void {
    if (this.#state === "open") this.#onOpenMessage(type, payload);
    else if (type === MSG.SERVICE_REQUEST && this.#state === "service") this.#onService(payload);
    else if (type === MSG.USERAUTH_REQUEST && this.#state === "auth") this.#auth.onRequest(payload);
    else throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Unexpected message ${type}`);
  }

  onDrain(): void {
    this.#channels.onDrain();
  }

  onClosed(_error: TeleportError | undefined): void {
    this.#state = "closed";
    this.#waiting = [];
    this.#auth.stop();
    this.#globals.close();
    this.#channels.abandon();
    this.#options.onClosed();
    this.#closed.resolve();
  }

  // --- services and authentication ---

  #onService(payload: Buffer): void {
    const name = new WireReader(payload.subarray(1), "service request").utf8();
    if (name !== "ssh-userauth") {
      throw new Disconnect(DISCONNECT.SERVICE_NOT_AVAILABLE, "Only ssh-userauth is served here");
    }
    this.#state = "auth";
    this.#transport.send(serviceAccept(name));
  }

  #attempt(username: string, key: { key: PublicKey; certificate?: Certificate }): AuthAttempt {
    const { remote, local, id } = this.#options;
    return { username, ...key, remote, local, connectionId: id };
  }

  #onAuthenticated(username: string, identity: I): void {
    this.#transport.send(authSuccess());
    this.#state = "open";
    this.#transport.authenticated(this.#options.keepAlive, () => this.#globals.askAlive());
    const { id, remote, local, relayedBy } = this.#options;
    const channels = this.#channels;
    this.#options.onAuthenticated({
      id,
      identity,
      username,
      remote,
      local,
      ...(relayedBy && { relayedBy }),
      clientVersion: this.#transport.peerVersion,
      closed: this.closed,
      get channelCount() {
        return channels.size;
      },
      close: (reason) => this.close(reason),
      handle: (handlers) => this.#handle(handlers),
      openForwardedTcpip: (forwarded) => this.#forwarding.openForwardedTcpip(forwarded),
      openAgent: () => this.#forwarding.openAgent(),
      openX11: ({ originHost, originPort }) =>
        this.#forwarding.openX11({ host: originHost, port: originPort }),
      sendGlobalRequest: (name, payload) => this.#globals.tell(name, payload),
    });
  }

  // --- after authentication ---

  #onOpenMessage(type: number, payload: Buffer): void {
    switch (type) {
      case MSG.USERAUTH_REQUEST:
        return; // RFC 4252 §5.3: to be ignored
      case MSG.GLOBAL_REQUEST:
        return this.#globals.onRequest(payload);
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        return this.#globals.onReply(type === MSG.REQUEST_SUCCESS, payload);
      default:
        if (type < MSG.CHANNEL_OPEN) {
          throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Unexpected message ${type}`);
        }
        this.#channels.onMessage(type, payload);
    }
  }

  #onGlobalRequest(request: GlobalRequest): GlobalAnswer | Promise<GlobalAnswer> {
    if (request.name === "no-more-sessions@openssh.com") this.#noMoreSessions = true;
    // At once: a keep-alive is not to wait for what decides about the connection.
    if (!isForwardRequest(request.name)) return false;
    if (this.#handlers) return this.#forwarding.onGlobalRequest(request);
    return this.#handled.promise.then(() => this.#forwarding.onGlobalRequest(request));
  }

  #handle(handlers: ConnectionHandlers): void {
    if (this.#handlers) return;
    this.#handlers = handlers;
    this.#forwarding = new ServerForwarding(this.#channels, handlers);
    this.#channels.max = this.#options.maxChannels + (handlers.maxForwards ?? 0);
    this.#handled.resolve();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) this.#onOpen(request);
  }

  #onOpen(request: OpenRequest): void {
    if (!this.#handlers) {
      if (this.#waiting.length < maxWaiting) this.#waiting.push(request);
      else this.#channels.refuse(request, OPEN_FAILURE.RESOURCE_SHORTAGE, "Too many openings");
    } else if (request.type === "session") {
      this.#onSession(request, this.#handlers);
    } else if (!this.#forwarding.onOpen(request)) {
      const text = "Channels of this type are not served";
      this.#channels.refuse(request, OPEN_FAILURE.UNKNOWN_TYPE, text);
    }
  }

  #onSession(request: OpenRequest, { session }: ConnectionHandlers): void {
    const { maxChannels } = this.#options;
    if (!session || this.#noMoreSessions) {
      this.#channels.refuse(request, OPEN_FAILURE.PROHIBITED, "Sessions are not served here");
      return;
    }
    if (this.#sessions.size >= maxChannels) {
      const text = `No more than ${maxChannels} sessions`;
      this.#channels.refuse(request, OPEN_FAILURE.RESOURCE_SHORTAGE, text);
      return;
    }
    try {
      const handlers = session();
      const channel = this.#channels.accept(request, { closeRule: "on-request", stderr: "out" });
      if (!channel) return;
      this.#sessions.set(channel, new ServerSession(channel, handlers));
      channel.closed.then(() => this.#sessions.delete(channel));
    } catch (error) {
      refuseFor(this.#channels, request, error);
    }
  }

  #onChannelRequest(request: ChannelRequest): void {
    const session = this.#sessions.get(request.channel);
    if (session) session.onRequest(request);
    else if (request.wantReply) request.channel.reply(false);
  }
}
