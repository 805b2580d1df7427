/** Somebody who sees a session on a terminal: its owner, or who has joined. */
import { utf8Encode } from "../../base/bytes.ts";
import { EMPTY_SCREEN, GIVEN_BACK } from "../../base/vt.ts";
import type { PartyFacts } from "../../host/session_audit.ts";
import type { JoinMode } from "../../resources/types.ts";
import type { ServerChannel } from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import { notice, type NoticeStyle } from "./screen.ts";

export interface PartyOptions {
  readonly user: string;
  readonly mode: JoinMode;
  /** TERM. */
  readonly term: string;
  /** Width of its terminal, in characters; 0 when unknown. */
  readonly cols: number;
  readonly channel: ServerChannel;
  /** How the audit log names this party's connection. */
  readonly fields: PartyFacts;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
  /** Tells the client's program, not its terminal, of an event of the session. */
  readonly tell?: (event: Record<string, unknown>) => void;
  /** Whether the session may wait for this party's return, as one whose network broke. */
  readonly mayReturn?: () => boolean;
}

/** How a session has ended for its parties. */
export type SessionOutcome =
  | { readonly exit: ChildExit }
  /** Why it was ended, for them to read. */
  | { readonly reason: string };

/** What may wait for somebody who does not read, in bytes; then there is a new picture instead. */
export const MAX_BEHIND = 1024 * 1024;
/** RFC 4254 leaves it to us; ssh has it for what failed or was refused. */
const FAILED = 255;

/**
 * The session's output on its way to one party. Who reads too slowly misses a part of it and gets
 * a new picture of the screen: so nobody waits for them and little is kept for them.
 */
export class Party {
  readonly joined = new Date().toISOString();
  /** Width of its own terminal, in characters; 0 when unknown. */
  cols: number;
  /** Bytes sent and received. */
  tx = 0;
  rx = 0;
  readonly #options: PartyOptions;
  /**
   * - "direct": output goes out as it comes.
   * - "missing": output is dropped, a picture is to come.
   * - "drawing": the picture is being made; what comes after it waits.
   */
  #state: "direct" | "missing" | "drawing" = "direct";
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isGone = false;

  constructor(options: PartyOptions) {
    this.#options = options;
    this.cols = options.cols;
  }

  get user(): string {
    return this.#options.user;
  }

  get mode(): JoinMode {
    return this.#options.mode;
  }

  get fields(): PartyFacts {
    return this.#options.fields;
  }

  get mayReturn(): boolean {
    return this.#options.mayReturn?.() ?? false;
  }

  /** Whether it has been sent as much as it takes for now. */
  get isFull(): boolean {
    return this.#options.channel.stream.writableNeedDrain;
  }

  get needsPicture(): boolean {
    return this.#state === "missing";
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** @param onDrained it takes more again */
  listen(onInput: (chunk: Uint8Array) => void, onDrained: () => void): void {
    const { channel: { stream }, onActivity } = this.#options;
    stream.on("data", (chunk: Uint8Array) => {
      this.rx += chunk.length;
      onActivity();
      if (!this.#isGone) onInput(chunk);
    });
    stream.on("drain", onDrained);
  }

  /** Holds back what it types, until resumeInput(). */
  pauseInput(): void {
    this.#options.channel.stream.pause();
  }

  resumeInput(): void {
    this.#options.channel.stream.resume();
  }

  /** Output of the program. It is kept, not copied. */
  send(chunk: Uint8Array): void {
    if (this.#isGone || this.#state === "missing") return;
    if (this.#state === "direct") return this.#write(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes <= MAX_BEHIND) this.#waiting.push(chunk);
    else this.#waiting = [];
  }

  /** A line that is not the program's. */
  notify(text: string, style: Omit<NoticeStyle, "term">): void {
    const cols = Math.min(style.cols, this.cols || style.cols);
    this.send(notice(text, { ...style, cols, term: this.#options.term }));
  }

  /** Text for this party alone, before anything of the program. */
  greet(text: string): void {
    this.#options.channel.stream.write(`${text}\r\n`);
  }

  tell(event: Record<string, unknown>): void {
    if (!this.#isGone) this.#options.tell?.(event);
  }

  /** What is sent before a picture would be in vain. */
  missOutput(): void {
    this.#state = "missing";
  }

  /** From here on output waits until draw(). */
  waitForPicture(): void {
    this.#state = "drawing";
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** The screen as it was at waitForPicture(); what has waited follows. */
  draw(picture: Uint8Array): void {
    if (this.#isGone || this.#state !== "drawing") return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#state = "direct";
    if (picture.length > 0) {
      this.#write(utf8Encode(EMPTY_SCREEN));
      this.#write(picture);
    }
    if (this.#waitingBytes > MAX_BEHIND) this.#state = "missing";
    else for (const chunk of waiting) this.#write(chunk);
  }

  /** It wants to go; the session goes on without it. */
  dismiss(farewell: string): void {
    if (this.#isGone) return;
    const { stream } = this.#options.channel;
    stream.write(GIVEN_BACK);
    stream.write(`${farewell}\r\n`);
    this.#end({ code: 0 });
  }

  /** The session is over. */
  finish(outcome: SessionOutcome): void {
    if (this.#isGone) return;
    if ("exit" in outcome) return this.#end(outcome.exit);
    const { stream } = this.#options.channel;
    stream.write(GIVEN_BACK);
    // Not to stderr, which overtakes output that still waits, and would scroll away before it.
    stream.write(`${outcome.reason}\r\n`);
    this.#end({ code: FAILED });
  }

  /** Its channel is gone. */
  forget(): void {
    this.#isGone = true;
    this.#waiting = [];
  }

  #write(chunk: Uint8Array): void {
    const { channel: { stream }, onActivity } = this.#options;
    this.tx += chunk.length;
    onActivity();
    stream.write(chunk);
    if (stream.writableLength > MAX_BEHIND) this.#state = "missing";
  }

  #end(exit: ChildExit): void {
    const { channel } = this.#options;
    this.#isGone = true;
    this.#waiting = [];
    // Nobody reads it any more; unread, it would keep the channel from closing.
    channel.stream.resume();
    if ("code" in exit) channel.exit(exit.code);
    else channel.exitSignal(exit.signal, exit.core);
  }
}
