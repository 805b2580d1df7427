/** A session channel at the client (RFC 4254 §6). */
import type { Duplex, Readable } from "node:stream";
import { AccessDenied } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { WireWriter } from "../sshwire/codec.ts";
import type { Channel } from "./channel.ts";
import type { ChannelRequest } from "./channels.ts";
import { type WindowSize, writeWindow } from "./pty.ts";

/** How a command ended; `lost` when the channel ended without saying so. */
export type ExitStatus =
  | { code: number }
  | { signal: string; core: boolean; message: string }
  | { lost: true };

export interface ClientChannel {
  /** Read: stdout. Write: stdin. */
  readonly stream: Duplex;
  /** To be read, or resumed: the window is shared with stdout. */
  readonly stderr: Readable;
  resize(size: WindowSize): void;
  /** @param name without "SIG" */
  signal(name: string): void;
  /** What was asked for besides, and refused by the server. */
  readonly refused: readonly ("agent" | "x11")[];
  /** Resolves when the channel is closed; what was received before may still be unread. */
  readonly exited: Promise<ExitStatus>;
  close(): void;
}

export class ClientSession implements ClientChannel {
  readonly stream: Duplex;
  readonly stderr: Readable;
  readonly exited: Promise<ExitStatus>;
  readonly refused: ("agent" | "x11")[] = [];
  readonly #channel: Channel;
  #status: ExitStatus = { lost: true };

  constructor(channel: Channel) {
    this.#channel = channel;
    this.stream = channel.stream;
    this.stderr = channel.stderrIn!;
    this.exited = channel.closed.then(() => this.#status);
  }

  resize(size: WindowSize): void {
    this.#channel.request("window-change", false, writeWindow(size));
  }

  signal(name: string): void {
    const fields = new WireWriter().string(name.replace(/^SIG/, "")).bytes();
    this.#channel.request("signal", false, fields);
  }

  close(): void {
    this.#channel.close();
  }

  /** The error for a request that was refused: servers of ours say why on stderr. */
  async refusal(otherwise: string): Promise<AccessDenied> {
    const text = this.stderr.read() as Uint8Array | null;
    this.close();
    await this.exited;
    const said = text ? new TextDecoder().decode(text.subarray(0, 1024)).trim() : "";
    return new AccessDenied(printable(said) || otherwise);
  }

  /** True when the request was one of ours. */
  onRequest({ type, fields }: ChannelRequest): boolean {
    if (type === "exit-status") {
      this.#status = { code: fields.u32() };
      return true;
    }
    if (type === "exit-signal") {
      const signal = printable(fields.utf8().slice(0, 64));
      const core = fields.bool();
      this.#status = { signal, core, message: printable(fields.utf8().slice(0, 1024)) };
      return true;
    }
    return false;
  }
}
