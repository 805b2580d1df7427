/** Forwarding at the server: what the client asks for, and the channels that are opened to it. */
import type { Duplex } from "node:stream";
import { AccessDenied, LimitExceeded, messageOf } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { WireWriter } from "../sshwire/codec.ts";
import type { Channels, OpenRequest } from "./channels.ts";
import {
  type DirectTcpip,
  type ForwardBind,
  type ForwardedTcpip,
  type Origin,
  readBind,
  readDirectTcpip,
  writeForwardedTcpip,
  writeOrigin,
} from "./forwarding.ts";
import type { GlobalAnswer, GlobalRequest } from "./global_requests.ts";
import { OPEN_FAILURE } from "./messages.ts";
import { relay } from "./stream.ts";

export interface ForwardingHandlers {
  /**
   * Resolves with what the channel is relayed to. Throws to refuse: the message goes to the client,
   * as "prohibited" for AccessDenied and LimitExceeded, else as "connect failed".
   */
  directTcpip?(request: DirectTcpip): Promise<Duplex>;
  /** Listens; resolves with the port that is bound. Throws to refuse: the client is told no more. */
  tcpipForward?(bind: ForwardBind): Promise<number>;
  /** `bind` has the port that was bound. False when there is no such listener. */
  cancelTcpipForward?(bind: ForwardBind): boolean | Promise<boolean>;
  /** Told of a forwarding of a kind that is not served, e.g. of a Unix socket, and refused. */
  unknownForward?(type: string, target: string): void;
  /** Called whenever bytes of a forwarded connection come or go. */
  onForwardActivity?(): void;
}

const noUnixSockets = "Unix sockets are not forwarded here";
const maxTargetText = 512;

export function isForwardRequest(name: string): boolean {
  return ["tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com"].includes(
    name,
  );
}

export class ServerForwarding {
  readonly #channels: Channels;
  readonly #handlers: ForwardingHandlers;
  /** Targets that are dialled, connected to, or have yet to take what was sent to them. */
  #targets = 0;

  constructor(channels: Channels, handlers: ForwardingHandlers) {
    this.#channels = channels;
    this.#handlers = handlers;
  }

  /** True when the channel is of a kind for this class: then it answers it. */
  onOpen(request: OpenRequest): boolean {
    if (request.type === "direct-tcpip") this.#onDirectTcpip(request);
    else if (request.type === "direct-streamlocal@openssh.com") this.#onStreamlocal(request);
    else return false;
    return true;
  }

  onGlobalRequest({ name, fields }: GlobalRequest): GlobalAnswer | Promise<GlobalAnswer> {
    switch (name) {
      case "tcpip-forward":
        return this.#forward(readBind(fields));
      case "cancel-tcpip-forward": {
        const bind = readBind(fields);
        return bind ? this.#handlers.cancelTcpipForward?.(bind) ?? false : false;
      }
      case "streamlocal-forward@openssh.com":
        this.#unknown(name, fields.utf8());
        return false;
      default:
        return false;
    }
  }

  async openForwardedTcpip(forwarded: ForwardedTcpip): Promise<Duplex> {
    return await this.#open("forwarded-tcpip", writeForwardedTcpip(forwarded));
  }

  async openAgent(): Promise<Duplex> {
    return await this.#open("auth-agent@openssh.com");
  }

  async openX11(origin: Origin): Promise<Duplex> {
    return await this.#open("x11", writeOrigin(origin));
  }

  async #open(type: string, fields?: Uint8Array): Promise<Duplex> {
    return (await this.#channels.open(type, { closeRule: "when-both-ended" }, fields)).stream;
  }

  async #forward(bind: ForwardBind | undefined): Promise<GlobalAnswer> {
    const { tcpipForward } = this.#handlers;
    if (!bind || !tcpipForward) return false;
    const port = await tcpipForward(bind);
    // RFC 4254 §7.1: the port is told only to those who left the choice to us.
    return bind.port === 0 ? new WireWriter().u32(port).bytes() : true;
  }

  #onDirectTcpip(request: OpenRequest): void {
    const target = readDirectTcpip(request.fields);
    const { directTcpip, onForwardActivity } = this.#handlers;
    if (!directTcpip || !target) {
      this.#channels.refuse(request, OPEN_FAILURE.PROHIBITED, "Forwarding is not served here");
      return;
    }
    // Counted apart: a target that hangs is there for longer than its channel.
    if (this.#targets >= this.#channels.max) {
      const text = "Too many targets have not taken yet what was sent to them";
      this.#channels.refuse(request, OPEN_FAILURE.RESOURCE_SHORTAGE, text);
      return;
    }
    this.#targets++;
    Promise.try(() => directTcpip(target)).then(async (other) => {
      const channel = this.#channels.accept(request, { closeRule: "when-both-ended" });
      if (channel) await relay(channel.stream, other, onForwardActivity);
      else other.destroy();
    }, (error) => refuseFor(this.#channels, request, error)).finally(() => this.#targets--);
  }

  #onStreamlocal(request: OpenRequest): void {
    this.#unknown(request.type, request.fields.utf8());
    this.#channels.refuse(request, OPEN_FAILURE.PROHIBITED, noUnixSockets);
  }

  #unknown(type: string, target: string): void {
    this.#handlers.unknownForward?.(type, printable(target.slice(0, maxTargetText)));
  }
}

/** Refuses a channel with what a handler threw. */
export function refuseFor(channels: Channels, request: OpenRequest, error: unknown): void {
  const prohibited = error instanceof AccessDenied || error instanceof LimitExceeded;
  const reason = prohibited ? OPEN_FAILURE.PROHIBITED : OPEN_FAILURE.CONNECT_FAILED;
  channels.refuse(request, reason, printable(messageOf(error)));
}
