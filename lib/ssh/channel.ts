/**
 * One channel (RFC 4254 §5): windows, data, EOF and CLOSE, as streams with back-pressure. Both
 * directions end independently. At most one window of bytes waits for a reader that is slow.
 */
import { Buffer } from "node:buffer";
import { Duplex, Readable, Writable } from "node:stream";
import { ConnectionProblem } from "../base/errors.ts";
import {
  channelMessage,
  channelRequest,
  dataHeader,
  DISCONNECT,
  MSG,
  windowAdjust,
} from "./messages.ts";
import { keepsNothing } from "./memory.ts";
import { watchForStall } from "./stall.ts";
import { Disconnect } from "./transport.ts";

/** Bytes a peer may send before we have read them. */
export const fullWindow = 2 * 1024 * 1024;
/** The largest piece of data we accept; the packet around it stays below the packet limit. */
export const maxIncomingData = 128 * 1024;
/** The largest piece we send, whatever the peer accepts. */
const maxOutgoingData = 128 * 1024;
/** Peers that want smaller pieces want us to waste time. */
export const minOutgoingData = 512;
const maxWindow = 2 ** 32 - 1;

/** What a channel needs of its connection. */
export interface ChannelLink {
  send(payload: Uint8Array): void;
  sendData(header: Uint8Array, data: Uint8Array): void;
  readonly canSendData: boolean;
  /** The channel waits for `canSendData`: call resumeSending() then. */
  waitForDrain(channel: Channel): void;
  /** Part of the message being handled is kept; see Transport. */
  lend(): void;
  takeBack(): void;
  /** Both sides have closed: the number may be used again. */
  release(channel: Channel): void;
}

export interface ChannelPeer {
  id: number;
  window: number;
  maxPacket: number;
}

interface PendingWrite {
  data: Uint8Array;
  isStderr: boolean;
  done: (error?: Error | null) => void;
}

export type CloseRule = "when-both-ended" | "on-request";

export class Channel {
  /** Incoming bytes are read from it, outgoing bytes written to it. */
  readonly stream: Duplex;
  /** A session's at its server. */
  readonly stderrOut: Writable | undefined;
  /** A session's at its client. */
  readonly stderrIn: Readable | undefined;
  /** EOF tells the end of both outputs: it waits for stderrOut's end, too. */
  eofWaitsForStderr = false;
  /** Resolves when the channel is gone, also with the connection. */
  readonly closed: Promise<void>;
  readonly window: number;

  readonly #link: ChannelLink;
  readonly #closeRule: CloseRule;
  readonly #settleClosed: () => void;
  #remoteId: number;
  #remoteWindow: number;
  #remoteMaxData: number;
  #localWindow: number;
  #pending: PendingWrite[] = [];
  /** Requests that the peer has not answered yet. */
  #asked: { resolve(success: boolean): void; reject(error: Error): void }[] = [];
  #sentEof = false;
  #sentClose = false;
  #gotEof = false;
  #gotClose = false;
  #isGone = false;
  /** The bytes that are being handed out. */
  #current: Uint8Array | undefined;
  /** A request that leaves before EOF and CLOSE: the exit status. */
  #lastRequest: Uint8Array | undefined;
  #isExiting = false;
  #outputEnded = false;
  #stderrEnded = true;

  constructor(
    readonly localId: number,
    peer: ChannelPeer,
    link: ChannelLink,
    options: { closeRule: CloseRule; window?: number; stderr?: "in" | "out" },
  ) {
    this.#link = link;
    this.#closeRule = options.closeRule;
    this.window = this.#localWindow = options.window ?? fullWindow;
    this.#remoteId = peer.id;
    this.#remoteWindow = peer.window;
    this.#remoteMaxData = Math.min(peer.maxPacket, maxOutgoingData);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#settleClosed = resolve;
    this.stream = this.#makeStream();
    this.stderrOut = options.stderr === "out" ? this.#makeStderrOut() : undefined;
    this.stderrIn = options.stderr === "in" ? this.#makeStderrIn() : undefined;
  }

  get remoteId(): number {
    return this.#remoteId;
  }

  /** Whether the peer's messages still matter to anybody. */
  get isOpen(): boolean {
    return !this.#sentClose && !this.#gotClose && !this.#isGone;
  }

  /** Takes the peer's answer to our opening. */
  confirm(peer: ChannelPeer): void {
    this.#remoteId = peer.id;
    this.#remoteWindow = peer.window;
    this.#remoteMaxData = Math.min(peer.maxPacket, maxOutgoingData);
  }

  /** Sends a channel request; nothing after CLOSE. */
  request(type: string, wantReply: boolean, fields?: Uint8Array): void {
    if (this.#sentClose || this.#isGone) return;
    const writer = channelRequest(this.#remoteId, type, wantReply);
    this.#link.send((fields ? writer.raw(fields) : writer).bytes());
  }

  /** Sends a request and waits for the answer. */
  ask(type: string, fields?: Uint8Array): Promise<boolean> {
    if (this.#sentClose || this.#isGone) return Promise.reject(channelGone());
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#asked.push({ resolve, reject });
    this.request(type, true, fields);
    return promise;
  }

  reply(success: boolean): void {
    if (this.#sentClose || this.#isGone) return;
    const type = success ? MSG.CHANNEL_SUCCESS : MSG.CHANNEL_FAILURE;
    this.#link.send(channelMessage(type, this.#remoteId));
  }

  /** When all that was written is sent: the request, EOF, CLOSE. */
  finish(type: string, fields: Uint8Array): void {
    if (this.#isExiting) return;
    this.#isExiting = true;
    this.#lastRequest = channelRequest(this.#remoteId, type, false).raw(fields).bytes();
    if (!this.stream.writableEnded) this.stream.end();
    if (this.stderrOut && !this.stderrOut.writableEnded) this.stderrOut.end();
    this.#onOutputEnd();
  }

  /** Sends CLOSE now; what was not sent yet is lost. */
  close(): void {
    this.stream.destroy();
  }

  // --- what the peer sent ---

  /** @param ignored of a kind that nobody reads */
  onData(data: Buffer, isStderr: boolean, ignored = false): void {
    if (this.#gotEof || this.#gotClose) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Data after the end of a channel");
    }
    if (data.length > this.#localWindow || data.length > maxIncomingData) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "More data than the channel's window");
    }
    this.#localWindow -= data.length;
    const to = isStderr ? this.stderrIn : this.stream;
    if (to && !ignored && !to.destroyed && data.length > 0) {
      this.#link.lend();
      this.#current = data;
      to.push(data);
      this.#current = undefined;
    }
    this.#replenish();
  }

  onWindowAdjust(bytes: number): void {
    if (this.#remoteWindow + bytes > maxWindow) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Window of a channel over 2^32-1");
    }
    this.#remoteWindow += bytes;
    this.resumeSending();
  }

  onReply(success: boolean): void {
    const asked = this.#asked.shift();
    if (!asked) throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Answer to no channel request");
    asked.resolve(success);
  }

  onEof(): void {
    if (this.#gotEof) return;
    this.#gotEof = true;
    this.#endReading();
    this.#closeIfBothEnded();
  }

  onClose(): void {
    if (this.#gotClose) return;
    this.#gotClose = true;
    this.#sendClose();
    if (!this.#gotEof) this.#endReading();
    // What was received may still be read. What is written now is held, so that a writer stops; it
    // is told by "close".
    if (this.stream.readableEnded) this.stream.destroy();
    else {
      this.stream.once("end", () => this.stream.destroy());
      this.#limitReader();
    }
    this.#gone();
  }

  /** The connection is gone: a reader sees "close" without "end". */
  abandon(): void {
    if (this.#isGone) return;
    this.#sentClose = true;
    this.stream.destroy();
    this.stderrIn?.destroy();
    this.stderrOut?.destroy();
    this.#gone();
  }

  /** To be called when `canSendData` became true. */
  resumeSending(): void {
    while (this.#pending.length > 0 && this.isOpen) {
      const write = this.#pending[0]!;
      if (!this.#push(write)) return;
      this.#pending.shift();
      write.done();
    }
  }

  // --- sending ---

  #write(data: Uint8Array, isStderr: boolean, done: PendingWrite["done"]): void {
    const write = { data, isStderr, done };
    const canSend = this.#pending.length === 0 && !this.#sentClose && !this.#gotClose;
    if (canSend && this.#push(write)) done();
    else this.#pending.push(write);
  }

  /** Sends what windows allow; true when all is sent. */
  #push(write: PendingWrite): boolean {
    while (write.data.length > 0) {
      if (this.#remoteWindow === 0) return false;
      if (!this.#link.canSendData) {
        this.#link.waitForDrain(this);
        return false;
      }
      const count = Math.min(write.data.length, this.#remoteWindow, this.#remoteMaxData);
      const piece = write.data.subarray(0, count);
      this.#link.sendData(dataHeader(this.#remoteId, count, write.isStderr), piece);
      this.#remoteWindow -= count;
      write.data = write.data.subarray(count);
    }
    return true;
  }

  /** Only when the streams are destroyed: otherwise a writer would take it for room. */
  #dropPending(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const write of pending) write.done();
  }

  #sendEof(): void {
    if (this.#sentEof || this.#sentClose) return;
    this.#sentEof = true;
    this.#link.send(channelMessage(MSG.CHANNEL_EOF, this.#remoteId));
  }

  #sendClose(): void {
    if (this.#sentClose) return;
    this.#sentClose = true;
    this.#link.send(channelMessage(MSG.CHANNEL_CLOSE, this.#remoteId));
  }

  /** After the end of an output, or of the command: sends what follows it. */
  #onOutputEnd(): void {
    if (!this.#outputEnded || !this.#stderrEnded && (this.eofWaitsForStderr || this.#isExiting)) {
      return;
    }
    if (this.#isExiting && this.#lastRequest && !this.#sentClose) {
      this.#link.send(this.#lastRequest);
      this.#lastRequest = undefined;
    }
    this.#sendEof();
    if (this.#isExiting) this.#sendClose();
    else this.#closeIfBothEnded();
  }

  #closeIfBothEnded(): void {
    if (this.#closeRule === "when-both-ended" && this.#sentEof && this.#gotEof) this.#sendClose();
  }

  // --- receiving ---

  #endReading(): void {
    if (!this.stream.destroyed) this.stream.push(null);
    if (this.stderrIn && !this.stderrIn.destroyed) this.stderrIn.push(null);
  }

  /** Of a session the program is ended; what is at the other end of a forwarded one may hang. */
  #limitReader(): void {
    if (this.#closeRule !== "when-both-ended") return;
    const { stream } = this;
    stream.once("close", watchForStall(() => stream.readableLength, () => stream.destroy()));
  }

  /** Lets the peer send as much again as was read, when that is worth a message. */
  #replenish(): void {
    if (this.#gotEof || this.#gotClose || this.#sentClose || this.#isGone) return;
    const unread = this.stream.readableLength + (this.stderrIn?.readableLength ?? 0);
    const room = this.window - this.#localWindow - unread;
    if (room < this.window / 2) return;
    this.#localWindow += room;
    this.#link.send(windowAdjust(this.#remoteId, room));
  }

  #gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    for (const { reject } of this.#asked) reject(channelGone());
    this.#asked = [];
    this.#link.release(this);
    this.#settleClosed();
  }

  // --- the streams ---

  /**
   * A stream asks for more before it hands out the piece that makes room, and not again until more
   * has come, which an empty window forbids: so the room is counted once more when it is there.
   */
  #onRead(): void {
    this.#replenish();
    queueMicrotask(() => this.#replenish());
  }

  #makeStream(): Duplex {
    const stream = new Duplex({
      allowHalfOpen: true,
      // The end of both directions is not the end of the channel: an exit status may follow.
      autoDestroy: false,
      // Half a window: reading goes on asking for more before everything is read.
      readableHighWaterMark: this.window / 2,
      writableHighWaterMark: 256 * 1024,
      read: () => this.#onRead(),
      write: (chunk: Buffer, _encoding, done) => this.#write(chunk, false, done),
      writev: (chunks, done) => {
        this.#write(Buffer.concat(chunks.map(({ chunk }) => chunk)), false, done);
      },
      final: (done) => {
        this.#outputEnded = true;
        done();
        this.#onOutputEnd();
      },
      destroy: (error, done) => {
        this.#dropPending();
        this.#sendClose();
        done(error);
      },
    });
    return Object.assign(stream, {
      [keepsNothing]: true,
      reuse: (chunk: Uint8Array) => {
        if (chunk !== this.#current) return;
        this.#current = undefined;
        this.#link.takeBack();
      },
    });
  }

  #makeStderrOut(): Writable {
    this.#stderrEnded = false;
    return new Writable({
      highWaterMark: 256 * 1024,
      write: (chunk: Buffer, _encoding, done) => this.#write(chunk, true, done),
      final: (done) => {
        this.#stderrEnded = true;
        done();
        this.#onOutputEnd();
      },
    });
  }

  #makeStderrIn(): Readable {
    return new Readable({ highWaterMark: this.window / 2, read: () => this.#onRead() });
  }
}

function channelGone(): ConnectionProblem {
  return new ConnectionProblem("The channel was closed before an answer came");
}
