/**
 * Forwarding at the client: what the server is asked for, and which of the channels that it opens
 * are accepted: those that were asked for, and no others.
 */
import type { Duplex } from "node:stream";
import { AccessDenied, BadParameter, ConnectionProblem, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { Channels, OpenRequest } from "./channels.ts";
import {
  type ForwardBind,
  isPort,
  type Origin,
  readForwardedTcpip,
  readOrigin,
  writeBind,
} from "./forwarding.ts";
import type { GlobalRequests } from "./global_requests.ts";
import { OPEN_FAILURE } from "./messages.ts";
import { relay } from "./stream.ts";

/** A port at which the server listens for us. */
export interface RemoteForward {
  readonly port: number;
  /** Ends the listening; connections that were made go on. */
  cancel(): Promise<void>;
}

export type OnForwarded = (stream: Duplex, from: Origin) => void;

export interface ClientForwardingOptions {
  channels: Channels;
  globals: GlobalRequests;
  /** A connection to the user's agent. */
  onAgentChannel?: (() => Promise<Duplex>) | undefined;
  /** A connection to the user's display. */
  onX11Channel?: ((from: Origin) => Promise<Duplex>) | undefined;
}

interface Listener {
  readonly host: string;
  readonly port: number;
  readonly onConnection: OnForwarded;
}

export class ClientForwarding {
  readonly #options: ClientForwardingOptions;
  readonly #listeners = new Set<Listener>();
  #wantsAgent = false;
  #wantsX11 = false;

  constructor(options: ClientForwardingOptions) {
    this.#options = options;
  }

  /**
   * From here on the server may open channels to the agent.
   * @throws BadParameter when there is nobody to take them
   */
  expectAgent(): void {
    if (!this.#options.onAgentChannel) throw new BadParameter("There is no agent to forward");
    this.#wantsAgent = true;
  }

  /** As expectAgent(), for the display. */
  expectX11(): void {
    if (!this.#options.onX11Channel) throw new BadParameter("There is no display to forward");
    this.#wantsX11 = true;
  }

  /** @throws AccessDenied when the server refuses; ConnectionProblem */
  listen(bind: ForwardBind, onConnection: OnForwarded): Promise<RemoteForward> {
    if (!isPort(bind.port)) return Promise.reject(new BadParameter("Bad port"));
    const { promise, resolve, reject } = Promise.withResolvers<RemoteForward>();
    this.#options.globals.ask("tcpip-forward", writeBind(bind), (fields) => {
      if (!fields) {
        const where = `${bind.host || "*"}:${bind.port}`;
        return reject(new AccessDenied(`The server refused to listen on ${where} for us`));
      }
      const port = bind.port === 0 ? fields.u32() : bind.port;
      if (port === 0 || !isPort(port)) {
        return reject(new ConnectionProblem("The server told no port that it listens on"));
      }
      // Before anything behind the answer is read: it may be the first connection.
      const listener = { host: bind.host, port, onConnection };
      this.#listeners.add(listener);
      resolve({ port, cancel: () => this.#cancel(listener) });
    });
    return promise;
  }

  /** Answers a channel that the server opens. */
  onOpen(request: OpenRequest): void {
    switch (request.type) {
      case "forwarded-tcpip":
        return this.#onForwardedTcpip(request);
      case "auth-agent@openssh.com": {
        const { onAgentChannel } = this.#options;
        if (!this.#wantsAgent || !onAgentChannel) return this.#refuse(request);
        return this.#connect(request, () => onAgentChannel());
      }
      case "x11": {
        const { onX11Channel } = this.#options;
        if (!this.#wantsX11 || !onX11Channel) return this.#refuse(request);
        const from = readOrigin(request.fields);
        return this.#connect(request, () => onX11Channel(from));
      }
      default:
        this.#refuse(request);
    }
  }

  #cancel(listener: Listener): Promise<void> {
    if (!this.#listeners.delete(listener)) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.globals.ask("cancel-tcpip-forward", writeBind(listener), () => resolve());
    return promise;
  }

  #onForwardedTcpip(request: OpenRequest): void {
    const { connectedHost, connectedPort, originHost, originPort } = readForwardedTcpip(
      request.fields,
    );
    const listener = this.#listenerOf(connectedHost, connectedPort);
    if (!listener) return this.#refuse(request);
    const channel = this.#options.channels.accept(request, { closeRule: "when-both-ended" });
    if (channel) listener.onConnection(channel.stream, { host: originHost, port: originPort });
  }

  /** Servers are to say what was asked for, but some say the address that was bound. */
  #listenerOf(host: string, port: number): Listener | undefined {
    const candidates = [...this.#listeners].filter((listener) => listener.port === port);
    return candidates.find((listener) => listener.host === host) ??
      (candidates.length === 1 ? candidates[0] : undefined);
  }

  #connect(request: OpenRequest, open: () => Promise<Duplex>): void {
    const { channels } = this.#options;
    Promise.try(open).then((other) => {
      const channel = channels.accept(request, { closeRule: "when-both-ended" });
      if (channel) relay(channel.stream, other);
      else other.destroy();
    }).catch((error) => {
      log("ssh").warn("A forwarded connection found nobody here", { error: messageOf(error) });
      // The reason is this machine's business.
      channels.refuse(request, OPEN_FAILURE.CONNECT_FAILED, "Connection failed");
    });
  }

  #refuse(request: OpenRequest): void {
    this.#options.channels.refuse(request, OPEN_FAILURE.PROHIBITED, "Not asked for by the client");
  }
}
