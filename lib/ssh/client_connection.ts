/** One connection at the client: its steps up to authentication, its channels. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import {
  AccessDenied,
  BadParameter,
  ConnectionProblem,
  type TeleportError,
} from "../base/errors.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { WireWriter } from "../sshwire/codec.ts";
import { ciphers, compressions, hostKeyAlgorithms, kexAlgorithms, macs } from "./algorithms.ts";
import type { Channel } from "./channel.ts";
import { type ChannelRequest, Channels } from "./channels.ts";
import { ClientAuth, type ClientCredential } from "./client_auth.ts";
import { ClientForwarding } from "./client_forwarding.ts";
import { type ClientChannel, ClientSession } from "./client_session.ts";
import { isPort, type Origin, writeDirectTcpip, writeX11, type X11Request } from "./forwarding.ts";
import { GlobalRequests } from "./global_requests.ts";
import { hostKeyAcceptor, type OfferedHost } from "./host_keys.ts";
import type { KeepAlive } from "./liveness.ts";
import { DISCONNECT, MSG } from "./messages.ts";
import { type PtyRequest, writePty } from "./pty.ts";
import { Disconnect, Transport, type TransportHandler } from "./transport.ts";

export interface ConnectOptions {
  /** Belongs to the connection from now on. */
  stream: Duplex;
  username: string;
  /** Tried in this order. */
  credentials: readonly ClientCredential[];
  /** Decides on the host's key or certificate, before anything secret is said. Throws to refuse. */
  verifyHost(host: OfferedHost): void;
  /** Text of the server, safe to show. */
  onBanner?(text: string): void;
  /** Opens the user's agent, for a session that was given `agentForwarding`. */
  onAgentChannel?(): Promise<Duplex>;
  /** Opens the user's display, for a session that was given `x11`. */
  onX11Channel?(from: Origin): Promise<Duplex>;
  /** What the server says to the connection as a whole, e.g. "x-teleport-event". */
  onGlobalRequest?(name: string, payload: Uint8Array): void;
  keepAlive?: KeepAlive;
  /** Milliseconds until the user must be authenticated; 30 s. */
  readyTimeoutMs?: number;
  /** Ends the connection, also later. */
  signal?: AbortSignal;
  /** New keys after so many bytes (1 GiB) and milliseconds (an hour). */
  rekeyBytes?: number;
  rekeyMs?: number;
}

export interface SessionOptions {
  env?: Record<string, string>;
  pty?: PtyRequest;
  /** Offers the agent behind `onAgentChannel`. */
  agentForwarding?: boolean;
  /** Offers the display behind `onX11Channel`. */
  x11?: Omit<X11Request, "singleConnection"> & { singleConnection?: boolean };
}

/** Channels that may be open, most of them forwarded connections. */
const maxChannels = 4096;

/** What is behind an SshClient. */
export class ClientConnection implements TransportHandler {
  readonly ready: Promise<void>;
  readonly closed: Promise<TeleportError | undefined>;
  readonly forwarding: ClientForwarding;
  hostCertificate: Certificate | undefined;

  readonly #options: ConnectOptions;
  readonly #transport: Transport;
  readonly #channels: Channels;
  readonly #globals: GlobalRequests;
  readonly #auth: ClientAuth;
  readonly #sessions = new WeakMap<Channel, ClientSession>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<TeleportError | undefined>();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #onAbort = () => this.#giveUp(this.#options.signal?.reason);
  #state: "kex" | "auth" | "open" | "closed" = "kex";
  /** Why we end it, when it is our decision. */
  #ownReason: Error | undefined;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.ready = this.#ready.promise;
    this.closed = this.#closed.promise;
    const accept = hostKeyAcceptor((host) => {
      options.verifyHost(host);
      this.hostCertificate = host.certificate;
    });
    this.#transport = new Transport(options.stream, {
      ident: "Teleport",
      algorithms: {
        kex: kexAlgorithms,
        serverHostKey: hostKeyAlgorithms,
        cipher: ciphers,
        mac: macs,
        compress: compressions,
      },
      acceptHostKey: (algorithm, blob) => accept(algorithm, blob),
      rekeyBytes: options.rekeyBytes ?? 2 ** 30,
      rekeyMs: options.rekeyMs ?? 3_600_000,
    }, this);
    this.#channels = new Channels(this.#transport, maxChannels, {
      onOpen: (request) => this.forwarding.onOpen(request),
      onRequest: (request) => this.#onChannelRequest(request),
    });
    this.#globals = new GlobalRequests({
      send: (payload) => this.#transport.send(payload),
      answer: ({ name, fields }) => {
        options.onGlobalRequest?.(name, fields.rest());
        return false;
      },
    });
    this.forwarding = new ClientForwarding({
      channels: this.#channels,
      globals: this.#globals,
      onAgentChannel: options.onAgentChannel,
      onX11Channel: options.onX11Channel,
    });
    this.#auth = new ClientAuth({
      username: options.username,
      credentials: options.credentials,
      onBanner: options.onBanner,
      sessionId: () => this.#transport.sessionId,
      send: (payload) => this.#transport.send(payload),
      succeed: () => this.#onAuthenticated(),
      fail: (error) => this.#giveUp(error),
    });
    const timeoutMs = options.readyTimeoutMs ?? 30_000;
    this.#timer = setTimeout(() => {
      this.#giveUp(new ConnectionProblem(`The SSH server did not answer in ${timeoutMs / 1000} s`));
    }, timeoutMs);
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#onAbort();
    else this.#transport.start();
  }

  get serverVersion(): string {
    return this.#transport.peerVersion;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  close(): void {
    this.#transport.disconnect(DISCONNECT.BY_APPLICATION, "");
  }

  async session(
    kind: "exec" | "shell" | "subsystem",
    fields: Uint8Array | undefined,
    { env = {}, pty, agentForwarding, x11 }: SessionOptions = {},
  ): Promise<ClientChannel> {
    if (agentForwarding) this.forwarding.expectAgent();
    if (x11) this.forwarding.expectX11();
    const channel = await this.#channels.open("session", { closeRule: "on-request", stderr: "in" });
    const session = new ClientSession(channel);
    this.#sessions.set(channel, session);
    for (const [name, value] of Object.entries(env)) {
      channel.request("env", false, new WireWriter().string(name).string(value).bytes());
    }
    // Asked together: the answers come in one round trip.
    const yes = Promise.resolve(true);
    const answers = [
      pty ? channel.ask("pty-req", writePty(pty)) : yes,
      agentForwarding ? channel.ask("auth-agent-req@openssh.com") : yes,
      x11 ? channel.ask("x11-req", writeX11({ singleConnection: false, ...x11 })) : yes,
      channel.ask(kind, fields),
    ];
    const [hasPty, hasAgent, hasX11, hasStarted] = await Promise.all(answers);
    if (!hasAgent) session.refused.push("agent");
    if (!hasX11) session.refused.push("x11");
    if (!hasStarted) throw await session.refusal(`The server refused the ${kind} request`);
    if (!hasPty) {
      channel.close();
      throw new AccessDenied("The server refused a terminal");
    }
    return session;
  }

  async directTcpip(
    host: string,
    port: number,
    origin: { host: string; port: number },
  ): Promise<Duplex> {
    if (!isPort(port)) throw new BadParameter("Bad port");
    const options = { closeRule: "when-both-ended" } as const;
    const fields = writeDirectTcpip(host, port, origin);
    return (await this.#channels.open("direct-tcpip", options, fields)).stream;
  }

  // --- from the transport ---

  onReady(): void {
    this.#state = "auth";
    this.#auth.start();
  }

  onMessage(type: number, payload: Buffer): void {
    if (type === MSG.EXT_INFO) return this.#auth.onExtInfo(payload);
    if (this.#state === "auth") return this.#auth.onMessage(type, payload);
    if (this.#state !== "open") throw unexpected(type);
    switch (type) {
      case MSG.GLOBAL_REQUEST:
        return this.#globals.onRequest(payload);
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        return this.#globals.onReply(type === MSG.REQUEST_SUCCESS, payload);
      default:
        if (type < MSG.CHANNEL_OPEN) throw unexpected(type);
        this.#channels.onMessage(type, payload);
    }
  }

  onDrain(): void {
    this.#channels.onDrain();
  }

  onClosed(error: TeleportError | undefined): void {
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#auth.stop();
    this.#globals.close();
    this.#channels.abandon();
    if (!wasOpen) this.#ready.reject(this.#ownReason ?? this.#explain(error));
    this.#transport.gone.then(() => this.#closed.resolve(error));
  }

  // --- the rest ---

  #explain(error: TeleportError | undefined): TeleportError {
    const reason = this.#auth.reason;
    if (reason) return new AccessDenied(reason, { cause: error });
    return error ?? new ConnectionProblem("The SSH server closed the connection");
  }

  #giveUp(reason: unknown): void {
    this.#ownReason ??= reason instanceof Error ? reason : new ConnectionProblem("Cancelled");
    this.close();
    this.#options.stream.destroy();
  }

  #onAuthenticated(): void {
    this.#state = "open";
    clearTimeout(this.#timer);
    this.#transport.authenticated(
      this.#options.keepAlive ?? { intervalMs: 0, countMax: 3 },
      () => this.#globals.askAlive(),
    );
    this.#ready.resolve();
  }

  #onChannelRequest(request: ChannelRequest): void {
    const session = this.#sessions.get(request.channel);
    if (!session?.onRequest(request) && request.wantReply) request.channel.reply(false);
  }
}

function unexpected(type: number): Disconnect {
  return new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Unexpected message ${type}`);
}
