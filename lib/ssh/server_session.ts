/** Session channels at the server (RFC 4254 §6): requests, then a shell, a command or a subsystem. */
import type { Duplex, Writable } from "node:stream";
import { utf8Decode } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { printable } from "../base/text.ts";
import { type WireReader, WireWriter } from "../sshwire/codec.ts";
import type { Channel } from "./channel.ts";
import type { ChannelRequest } from "./channels.ts";
import { readX11, type X11Request } from "./forwarding.ts";
import { readPty, readWindow } from "./pty.ts";
import type { PtyRequest, WindowSize } from "./pty.ts";

export type SessionStart =
  | { kind: "shell" }
  | { kind: "exec"; command: string }
  | { kind: "subsystem"; name: string };

export interface SessionHandlers {
  /** A variable the client wants set; true to say yes. */
  env?(name: string, value: string): boolean;
  pty?(p: PtyRequest): boolean;
  windowChange?(size: WindowSize): void;
  /** Without "SIG". */
  signal?(name: string): void;
  /** The client offers its agent to the session; true to say yes. */
  agentForward?(): boolean;
  /** The client offers its display to the session; true to say yes. */
  x11?(request: X11Request): boolean;
  /**
   * Throws to refuse: the message goes to the client's stderr, a command or shell ends with status
   * 255, a subsystem with CHANNEL_FAILURE.
   */
  authorize?(start: SessionStart): void;
  /** The request was granted. What it throws is shown on stderr, with exit status 255. */
  start(start: SessionStart, channel: ServerChannel): void | Promise<void>;
  /** The channel is gone, also when the connection broke. Called once, whether or not it started. */
  closed?(): void;
}

export interface ServerChannel {
  /** Read: the client's stdin. Write: stdout. Ending it lets the other direction go on. */
  readonly stream: Duplex;
  readonly stderr: Writable;
  /** After all that was written is sent: the status, EOF, CLOSE. The first call counts. */
  exit(status: number): void;
  /** As exit(). @param name without "SIG" */
  exitSignal(name: string, core?: boolean, message?: string): void;
  readonly closed: Promise<void>;
}

/** Variables a client may send before its command, and their total size. */
const maxVariables = 128;
const maxVariableBytes = 64 * 1024;

export class ServerSession {
  readonly #channel: Channel;
  readonly #handlers: SessionHandlers;
  #hasStarted = false;
  #hasPty = false;
  #variables = 0;
  #variableBytes = 0;

  constructor(channel: Channel, handlers: SessionHandlers) {
    this.#channel = channel;
    this.#handlers = handlers;
    channel.closed.then(() => handlers.closed?.());
  }

  /** @throws BadParameter for a malformed request */
  onRequest({ type, wantReply, fields }: ChannelRequest): void {
    if (type === "shell" || type === "exec" || type === "subsystem") {
      this.#onStart(type, fields, wantReply);
      return;
    }
    const success = this.#onOther(type, fields);
    if (wantReply) this.#channel.reply(success);
  }

  #onOther(type: string, fields: WireReader): boolean {
    switch (type) {
      case "env":
        return this.#onEnv(readText(fields), readText(fields));
      case "pty-req":
        return this.#onPty(readPty(fields));
      case "window-change": {
        const size = readWindow(fields);
        return this.#hasPty && ask(() => this.#handlers.windowChange?.(size));
      }
      case "signal":
        return this.#onSignal(fields.utf8());
      case "auth-agent-req@openssh.com":
        return !this.#hasStarted && ask(() => this.#handlers.agentForward?.() ?? false);
      case "x11-req":
        return this.#onX11(readX11(fields));
      default:
        return false;
    }
  }

  #onPty(pty: PtyRequest): boolean {
    if (this.#hasStarted || this.#hasPty) return false;
    this.#hasPty = ask(() => this.#handlers.pty?.(pty) ?? false);
    return this.#hasPty;
  }

  #onEnv(name: string | undefined, value: string | undefined): boolean {
    if (name === undefined || value === undefined || this.#hasStarted) return false;
    this.#variables++;
    this.#variableBytes += name.length + value.length;
    if (
      this.#variables > maxVariables || this.#variableBytes > maxVariableBytes ||
      !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
    ) return false;
    return ask(() => this.#handlers.env?.(name, value) ?? false);
  }

  #onX11(request: X11Request | undefined): boolean {
    if (!request || this.#hasStarted) return false;
    return ask(() => this.#handlers.x11?.(request) ?? false);
  }

  #onSignal(name: string): boolean {
    if (!this.#hasStarted || !/^[A-Z0-9]{1,16}$/.test(name)) return false;
    const { signal } = this.#handlers;
    return signal !== undefined && ask(() => signal.call(this.#handlers, name));
  }

  #onStart(type: "shell" | "exec" | "subsystem", fields: WireReader, wantReply: boolean): void {
    const text = type === "shell" ? "" : readText(fields);
    fields.end();
    if (text === undefined) {
      this.#refuse("The request is not valid UTF-8", wantReply);
    } else if (this.#hasStarted) {
      if (wantReply) this.#channel.reply(false);
    } else {
      this.#start(startOf(type, text), wantReply);
    }
  }

  /**
   * A person must be able to read why: OpenSSH's client drops what comes with CHANNEL_FAILURE, so a
   * shell or command is "started" and ends at once. A subsystem's client is a program of ours.
   */
  #deny(start: SessionStart, message: string, wantReply: boolean): void {
    if (start.kind === "subsystem") return this.#refuse(message, wantReply);
    this.#hasStarted = true;
    if (wantReply) this.#channel.reply(true);
    const { stderr, exit } = serverChannel(this.#channel);
    stderr.write(`${printable(message)}\r\n`);
    exit(255);
  }

  #refuse(message: string, wantReply: boolean): void {
    this.#channel.stderrOut?.write(`${printable(message)}\r\n`);
    if (wantReply) this.#channel.reply(false);
  }

  #start(start: SessionStart, wantReply: boolean): void {
    const channel = this.#channel;
    try {
      this.#handlers.authorize?.(start);
    } catch (error) {
      this.#deny(start, messageOf(error), wantReply);
      return;
    }
    this.#hasStarted = true;
    // The outputs of a subsystem are one stream: its end is told at once.
    channel.eofWaitsForStderr = start.kind !== "subsystem";
    if (wantReply) channel.reply(true);
    const granted = serverChannel(channel);
    Promise.try(() => this.#handlers.start(start, granted)).catch((error) => {
      log("ssh").warn("A session failed", { error: messageOf(error) });
      if (!channel.isOpen) return;
      granted.stderr.write(`${printable(messageOf(error))}\r\n`);
      granted.exit(255);
    });
  }
}

function startOf(kind: "shell" | "exec" | "subsystem", text: string): SessionStart {
  switch (kind) {
    case "shell":
      return { kind };
    case "exec":
      return { kind, command: text };
    case "subsystem":
      return { kind, name: text };
  }
}

/** undefined for what no program could be given: bad UTF-8 or a NUL. */
function readText(fields: WireReader): string | undefined {
  const bytes = fields.string();
  try {
    return bytes.includes(0) ? undefined : utf8Decode(bytes);
  } catch {
    return undefined;
  }
}

/** A handler that throws says no; it must not end the connection. */
function ask(question: () => boolean | void): boolean {
  try {
    return question() ?? true;
  } catch (error) {
    log("ssh").warn("A session request failed", { error: messageOf(error) });
    return false;
  }
}

function serverChannel(channel: Channel): ServerChannel {
  return {
    stream: channel.stream,
    stderr: channel.stderrOut!,
    closed: channel.closed,
    exit(status) {
      channel.finish("exit-status", new WireWriter().u32(status >>> 0).bytes());
    },
    exitSignal(name, core = false, message = "") {
      const fields = new WireWriter().string(name.replace(/^SIG/, "")).bool(core).string(message)
        .string("");
      channel.finish("exit-signal", fields.bytes());
    },
  };
}
