/**
 * One SSH connection below authentication: identification lines, packets in and out, key exchanges
 * by volume and time, keep-alives, disconnecting. The key exchange itself is in internals.ts.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { BadParameter, ConnectionProblem, messageOf, TeleportError } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { printable } from "../base/text.ts";
import { WireReader } from "../sshwire/codec.ts";
import { Engine, type EngineOptions, TransportFailure } from "./internals.ts";
import { DISCONNECT, disconnect, MSG, unimplemented } from "./messages.ts";
import { Head } from "./head.ts";
import { type KeepAlive, Liveness } from "./liveness.ts";
import { reuse } from "./memory.ts";
import { Outbox } from "./outbox.ts";
import { type Lending, maxPacketAfterAuth } from "./packet_reader.ts";
import { ConnStream } from "./stream.ts";

export interface TransportOptions extends Pick<EngineOptions, "algorithms" | "ident"> {
  hostKeys?: EngineOptions["hostKeys"];
  acceptHostKey?: EngineOptions["acceptHostKey"];
  /** Keys are exchanged anew after so many bytes in both directions. */
  rekeyBytes: number;
  /** Keys are exchanged anew after so many milliseconds. */
  rekeyMs: number;
}

export interface TransportHandler {
  /** After the first key exchange. */
  onReady(): void;
  /** A message of the services above (5 to 7, and 50 and more). May throw to disconnect. */
  onMessage(type: number, payload: Buffer): void;
  /** Sending is possible again. */
  onDrain(): void;
  /** Called once. Without an error the peer, or we, closed in good order. */
  onClosed(error: TeleportError | undefined): void;
}

/** Ends the connection with a message for the peer; thrown by handlers. */
export class Disconnect extends Error {
  constructor(readonly reason: number, message: string) {
    super(message);
  }
}

/** How long our KEXINIT waits for the peer's: both then leave with data, not before a delayed ACK. */
const kexInitHoldMs = 15;
/** A peer that does not finish a key exchange that was begun is gone. */
const rekeyTimeoutMs = 60_000;
/** Reading stops while the peer does not take our answers. */
const maxPending = 4 * 1024 * 1024;
const lingerMs = 2000;
/** Bytes after which a key exchange is not counted as a waste. */
const worthNewKeys = 16 * 1024;
/** Messages that are kept back while keys are exchanged. */
const maxWaiting = 10_000;
/** Packets after which keys must change (RFC 4344 §3.1), whatever their size. */
const maxPackets = 2 ** 31;

export class Transport {
  readonly #stream: Duplex;
  readonly #options: TransportOptions;
  readonly #handler: TransportHandler;
  readonly #engine: Engine;
  readonly #outbox: Outbox;
  readonly #isServer: boolean;
  readonly #head: Head;
  #isReleased = false;
  /** Parts of the bytes being read that somebody goes on looking at. */
  readonly #lent: Lending = { count: 0 };
  #holdTimer: ReturnType<typeof setTimeout> | undefined;
  #rekeyTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #liveness = new Liveness();
  /** Messages above the transport that wait for a key exchange to end. */
  #waiting: Uint8Array[] = [];
  #isAuthenticated = false;
  #isClosed = false;
  #paused = false;
  /** When keys were exchanged without need. */
  readonly #kexTimes: number[] = [];
  #bytesAtKeys = 0;
  readonly #gone = Promise.withResolvers<void>();

  constructor(stream: Duplex, options: TransportOptions, handler: TransportHandler) {
    this.#stream = stream;
    this.#options = options;
    this.#handler = handler;
    this.#isServer = options.hostKeys !== undefined;
    this.#head = new Head(this.#isServer);
    this.#outbox = stream instanceof ConnStream ? stream.outbox : Outbox.of(stream);
    this.#outbox.onDrain = () => this.#onDrain();
    this.#engine = new Engine({
      ident: options.ident,
      algorithms: options.algorithms,
      ...(options.hostKeys && { hostKeys: options.hostKeys }),
      ...(options.acceptHostKey && { acceptHostKey: options.acceptHostKey }),
      reserve: (size) => this.#outbox.reserve(size),
      lent: this.#lent,
      onMessage: (payload) => this.#onMessage(payload),
      onKeys: (first) => this.#onKeys(first),
    });
  }

  /** Begins to read and write. `already`: bytes of the peer that were read before. */
  start(already?: Buffer): void {
    const stream = this.#stream;
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#onLost(undefined));
    stream.on("error", (error) => this.#onLost(error));
    stream.on("close", () => this.#onLost(undefined));
    this.#engine.start();
    // Whoever read the first bytes has paused the stream.
    stream.resume();
    if (already && already.length > 0) this.#onData(already);
    if (stream.destroyed) this.#onLost(undefined);
  }

  get sessionId(): Uint8Array {
    return this.#engine.sessionId;
  }

  /** The peer's software and comment, e.g. "OpenSSH_9.2p1 Debian-2". */
  get peerVersion(): string {
    return printable(this.#head.software);
  }

  get negotiated(): Engine["negotiated"] {
    return this.#engine.negotiated;
  }

  get isStrict(): boolean {
    return this.#engine.strict;
  }

  get peerWantsExtInfo(): boolean {
    return this.#engine.peerWantsExtInfo;
  }

  get exchanges(): number {
    return this.#engine.exchanges;
  }

  /** Resolves when the stream is closed, a little after onClosed(). */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Whether bulk data may be sent now; onDrain() tells when it may again. */
  get canSendData(): boolean {
    return this.#engine.canSend && !this.#outbox.isFull && !this.#isClosed;
  }

  /** Sends a message, after a key exchange when one is under way. */
  send(payload: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#engine.canSend) this.#engine.send(payload);
    else if (this.#waiting.length < maxWaiting) this.#waiting.push(payload);
    else this.#fail(new TransportFailure("Too many messages during a key exchange"));
  }

  /** Part of the message being handled is kept by somebody. */
  lend(): void {
    this.#lent.count++;
  }

  /** It is not, after all; while the same message is being handled. */
  takeBack(): void {
    this.#lent.count--;
  }

  /** Sends a message in two parts. Only while `canSendData`. */
  sendData(header: Uint8Array, data: Uint8Array): void {
    this.#engine.send(header, data);
  }

  /**
   * From here on larger packets are read, keep-alives are sent and rekeying is not limited.
   * @param askAlive sends what any peer answers
   */
  authenticated(keepAlive: KeepAlive, askAlive: () => void): void {
    this.#isAuthenticated = true;
    this.#engine.packetLimit = maxPacketAfterAuth;
    this.#liveness.start(keepAlive, {
      ask: askAlive,
      giveUp: () =>
        this.#close(
          new ConnectionProblem("The other side does not answer any more"),
          disconnect(DISCONNECT.CONNECTION_LOST, "Timeout: no answer"),
        ),
    });
  }

  /** Tells the peer why, and closes. */
  disconnect(reason: number, text: string): void {
    this.#close(undefined, disconnect(reason, text));
  }

  rekey(): void {
    if (!this.#engine.canSend || this.#isClosed) return;
    this.#engine.rekey();
    this.#armRekey(rekeyTimeoutMs, () => {
      this.#fail(
        new TransportFailure("The key exchange took too long", DISCONNECT.CONNECTION_LOST),
      );
    });
  }

  #onData(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#liveness.heard();
    this.#lent.count = 0;
    try {
      if (this.#isReleased) this.#engine.parse(chunk);
      else this.#readHead(chunk);
    } catch (error) {
      this.#fail(error);
    }
    this.#outbox.flush();
    if (this.#lent.count === 0) reuse(this.#stream, chunk);
    if (this.#isClosed) return;
    this.#checkVolume();
    if (this.#outbox.pending > maxPending && !this.#paused) {
      this.#paused = true;
      this.#stream.pause();
    }
  }

  /** Until there is an identification line and, at a server, the packet behind it. */
  #readHead(chunk: Buffer): void {
    this.lend();
    const state = this.#head.push(chunk);
    if (state === "wrong") {
      if (this.#isServer) this.#engine.write(Buffer.from("Invalid SSH identification string.\r\n"));
      throw new TransportFailure("The other side does not speak SSH 2");
    }
    if (state === "line") this.#holdTimer ??= setTimeout(() => this.#release(), kexInitHoldMs);
    if (state === "packet" || (state === "line" && !this.#isServer)) this.#release();
  }

  #release(): void {
    clearTimeout(this.#holdTimer);
    if (this.#isReleased || this.#isClosed) return;
    this.#isReleased = true;
    try {
      const { line, rest } = this.#head.take();
      this.#engine.identify(line);
      if (rest.length > 0) this.#engine.parse(rest);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onMessage(payload: Buffer): void {
    const type = payload[0]!;
    switch (type) {
      case MSG.IGNORE:
      case MSG.DEBUG:
      case MSG.UNIMPLEMENTED:
        return;
      case MSG.DISCONNECT:
        return this.#onDisconnect(payload);
    }
    if (type < 5 || (type > 7 && type < 50) || type > 100) {
      this.send(unimplemented(this.#engine.lastSequenceNumber));
    } else {
      this.#handler.onMessage(type, payload);
    }
  }

  #onDisconnect(payload: Buffer): void {
    const reader = new WireReader(payload.subarray(1));
    const reason = reader.u32();
    const text = printable(reader.utf8().slice(0, 1024));
    // Good order is to have nothing to say: a server that ends a session by a limit says which.
    this.#close(
      reason === DISCONNECT.BY_APPLICATION && text === ""
        ? undefined
        : new ConnectionProblem(`The other side disconnected: ${text || `reason ${reason}`}`),
    );
  }

  #onKeys(first: boolean): void {
    this.#armRekey(this.#options.rekeyMs, () => this.rekey());
    this.#limitExchanges();
    if (first) this.#handler.onReady();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const payload of waiting) this.#engine.send(payload);
    if (this.canSendData) this.#handler.onDrain();
  }

  /** A peer that only exchanges keys costs us much and itself little. */
  #limitExchanges(): void {
    const total = this.#engine.totalBytes;
    const hasWorked = this.#isAuthenticated && total - this.#bytesAtKeys >= worthNewKeys;
    this.#bytesAtKeys = total;
    if (hasWorked) return;
    const now = performance.now();
    this.#kexTimes.push(now);
    const [allowed, inMs] = this.#isAuthenticated ? [100, 10_000] : [4, Infinity];
    while (now - this.#kexTimes[0]! > inMs) this.#kexTimes.shift();
    if (this.#kexTimes.length > allowed) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Too many key exchanges");
    }
  }

  #checkVolume(): void {
    const { bytes, packets } = this.#engine.volume;
    if (bytes > this.#options.rekeyBytes || packets > maxPackets) this.rekey();
  }

  #onDrain(): void {
    if (this.#paused && this.#outbox.pending < maxPending / 2) {
      this.#paused = false;
      this.#stream.resume();
    }
    this.#checkVolume();
    if (this.canSendData) this.#handler.onDrain();
  }

  #armRekey(ms: number, run: () => void): void {
    clearTimeout(this.#rekeyTimer);
    this.#rekeyTimer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
  }

  #fail(error: unknown): void {
    if (error instanceof Disconnect) {
      this.#close(
        new ConnectionProblem(error.message, { cause: error }),
        disconnect(error.reason, error.message),
      );
    } else if (error instanceof TransportFailure) {
      this.#close(
        new ConnectionProblem(`The SSH connection failed: ${error.message}`, { cause: error }),
        disconnect(error.reason, error.message),
      );
    } else if (error instanceof TeleportError && error.code !== "bad_parameter") {
      this.#close(error, disconnect(DISCONNECT.BY_APPLICATION, ""));
    } else {
      // Malformed messages are the peer's fault; whatever else is a fault of ours.
      const isOurs = !(error instanceof BadParameter);
      if (isOurs) log("ssh").error("A message could not be handled", { error });
      this.#close(
        new ConnectionProblem(`The SSH connection failed: ${messageOf(error)}`, { cause: error }),
        disconnect(DISCONNECT.PROTOCOL_ERROR, isOurs ? "Internal error" : "Protocol error"),
      );
    }
  }

  #onLost(error: Error | undefined): void {
    if (this.#isClosed) return;
    // A server that is too busy says so in place of its identification.
    const said = this.#head.isComplete ? "" : printable(this.#head.greeting);
    const how = error ? `The connection broke: ${error.message}` : "The connection was closed";
    this.#close(new ConnectionProblem(said ? `${how}: ${said}` : how));
  }

  #close(error: TeleportError | undefined, farewell?: Uint8Array): void {
    if (this.#isClosed) return;
    if (farewell && this.#head.isComplete) this.#engine.send(farewell);
    this.#isClosed = true;
    clearTimeout(this.#holdTimer);
    clearTimeout(this.#rekeyTimer);
    this.#liveness.stop();
    this.#waiting = [];
    this.#engine.close();
    this.#outbox.whenEmpty(() => this.#stream.end());
    this.#linger();
    this.#handler.onClosed(error);
  }

  /**
   * Waits for the peer to close, too, because closing with unread bytes would void what we sent
   * last. What still comes is dropped; a peer that does not close is not waited for long.
   */
  #linger(): void {
    const stream = this.#stream;
    if (stream.closed) return this.#gone.resolve();
    stream.on("data", () => {}).resume();
    const timer = setTimeout(() => stream.destroy(), lingerMs);
    stream.once("close", () => {
      clearTimeout(timer);
      this.#gone.resolve();
    });
    if (stream.readableEnded) stream.once("finish", () => stream.destroy());
  }
}
