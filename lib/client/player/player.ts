/**
 * Plays a recording: shows each event when it is due, and does what the keys say at any time, also
 * while it waits for the next piece of the recording.
 */
import { concat } from "../../base/bytes.ts";
import { printable } from "../../base/text.ts";
import type { Recording } from "../../recording/play/recording.ts";
import { EventCursor } from "./cursor.ts";
import type { Command } from "./keys.ts";
import { changedSpeed, pauseOf } from "./pace.ts";
import { type Aim, type Moment, Pictures } from "./pictures.ts";
import type { PlayerScreen } from "./screen.ts";

export interface PlayerOptions {
  recording: Recording;
  screen: PlayerScreen;
  /** A factor. */
  speed: number;
  /** Longest pause in milliseconds, see {@link pauseOf}. */
  longestPause?: number;
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number;
}

/** Seconds that an arrow key skips, and outputs that a step goes. */
const SKIP = { forward: 10, back: -10 };
const STEP = { step: 1, "step-back": -1 };
/** What a change of the window's size counts as, in bytes drawn. */
const RESIZE_COSTS = 1024;
/** Bytes that are drawn between two looks at the keys. */
const DRAWN_AT_ONCE = 128 * 1024;
/** How often the time is drawn while nothing happens, milliseconds. */
const TICK_MS = 250;
/** How long the label of a marker is shown, milliseconds. */
const LABEL_MS = 3000;
const MAX_LABEL = 40;
/** Behind the plan by more, the plan begins anew: a terminal that stood still is no hurry. */
const MAX_BEHIND_MS = 1000;

export class Player {
  readonly #pictures: Pictures;
  readonly #screen: PlayerScreen;
  readonly #longestPause: number | undefined;
  readonly #now: () => number;
  readonly #commands: Command[] = [];
  #pressed = Promise.withResolvers<void>();
  #cursor: EventCursor;
  /** Seconds of the recording that have been shown. */
  #position = 0;
  /** How many outputs have been shown. */
  #outputs = 0;
  /** When `#position` was reached, by the clock here. */
  #reachedAt = 0;
  #speed: number;
  #paused = false;
  /** How much of a pause was over when the player was paused, 0 to 1. */
  #heldAt = 0;
  /** Where to go without pauses, in seconds or in outputs. */
  #aim: Aim | undefined;
  #label = { text: "", until: 0 };
  #stamped = { text: "", at: 0 };

  constructor({ recording, screen, speed, longestPause, now }: PlayerOptions) {
    this.#pictures = new Pictures(recording);
    this.#screen = screen;
    this.#speed = speed;
    this.#longestPause = longestPause;
    this.#now = now ?? (() => performance.now());
    this.#cursor = new EventCursor(recording);
  }

  /** A key was pressed. */
  press(command: Command): void {
    this.#commands.push(command);
    this.#pressed.resolve();
    this.#pressed = Promise.withResolvers();
  }

  /** Plays to the end, or until somebody has seen enough. @throws what the recording's source does */
  async run(): Promise<"ended" | "quit"> {
    await this.#screen.clear();
    this.#reachedAt = this.#now();
    try {
      for (;;) {
        const command = this.#nextCommand();
        if (command === "quit") return "quit";
        if (command !== undefined) await this.#follow(command);
        else if (this.#aim && this.#isBehind(this.#aim)) await this.#goBack(this.#aim);
        else if (this.#cursor.next === undefined && !this.#cursor.ended) await this.#load();
        else if (this.#aim !== undefined) await this.#skip(this.#aim);
        else if (this.#paused) await this.#untilPressed();
        else if (this.#cursor.ended) return "ended";
        else await this.#waitOrShow();
      }
    } finally {
      this.#cursor.close();
    }
  }

  /** Steps are counted from where a skip ends, so they wait for it. */
  #nextCommand(): Command | undefined {
    if (!this.#isCalled()) return undefined;
    return this.#commands.includes("quit") ? "quit" : this.#commands.shift();
  }

  /** There is a command to follow now. */
  #isCalled(): boolean {
    const [next] = this.#commands;
    const waits = (next === "step" || next === "step-back") && this.#aim?.time !== undefined;
    return next !== undefined && (!waits || this.#commands.includes("quit"));
  }

  async #follow(command: Exclude<Command, "quit">): Promise<void> {
    const waited = this.#waited();
    switch (command) {
      case "pause":
        this.#paused = !this.#paused;
        break;
      case "faster":
      case "slower":
        this.#speed = changedSpeed(this.#speed, command);
        break;
      case "forward":
      case "back": {
        const time = Math.max(0, (this.#aim?.time ?? this.#playhead()) + SKIP[command]);
        this.#aim = { time };
        break;
      }
      case "step":
      case "step-back": {
        this.#paused = true;
        const outputs = Math.max(0, (this.#aim?.outputs ?? this.#outputs) + STEP[command]);
        this.#aim = { outputs };
      }
    }
    // The rest of a pause stays, at the new speed too.
    this.#heldAt = waited;
    this.#reachedAt = this.#now() - waited * this.#pause();
    await this.#stamp();
  }

  #isBehind({ time, outputs }: Aim): boolean {
    return outputs === undefined ? (time ?? 0) < this.#position : outputs < this.#outputs;
  }

  /** What was shown cannot be taken back: the screen of that time is drawn. A key breaks it off. */
  async #goBack(aim: Aim): Promise<void> {
    let isOff = false;
    const drawing = this.#pictures.at(aim, () => isOff);
    drawing.catch(() => {});
    const done = drawing.then(() => true);
    while (!await Promise.race([done, this.#pressed.promise])) {
      if (!this.#isCalled()) continue;
      isOff = true;
      return;
    }
    const moment = await drawing;
    if (moment) await this.#resumeAt(moment, aim);
  }

  async #resumeAt(moment: Moment, aim: Aim): Promise<void> {
    this.#cursor.close();
    this.#cursor = moment.cursor;
    this.#outputs = moment.outputs;
    this.#position = aim.time ?? moment.time;
    await this.#screen.replace(moment.size, moment.picture);
    await this.#arrive();
  }

  /** Shows what comes before the aim, without pauses, some of it at a time. */
  async #skip(aim: Aim): Promise<void> {
    const isBefore = () => {
      const next = this.#cursor.next;
      if (next === undefined) return false;
      if (aim.outputs !== undefined) return this.#outputs < aim.outputs;
      return next.time <= (aim.time ?? 0);
    };
    await this.#show(isBefore);
    if (isBefore() || (this.#cursor.next === undefined && !this.#cursor.ended)) return;
    if (aim.time !== undefined && !this.#cursor.ended) this.#position = aim.time;
    await this.#arrive();
  }

  async #arrive(): Promise<void> {
    this.#aim = undefined;
    this.#heldAt = 0;
    this.#reachedAt = this.#now();
    this.#stamped = { text: "", at: 0 };
    await this.#stamp();
  }

  async #waitOrShow(): Promise<void> {
    const now = this.#now();
    const wait = this.#due() - now;
    if (wait > 0) {
      await this.#stamp();
      let timer: number | undefined;
      const time = new Promise<void>((resolve) =>
        timer = setTimeout(resolve, Math.min(wait, TICK_MS))
      );
      if (this.#commands.length === 0) await Promise.race([time, this.#pressed.promise]);
      clearTimeout(timer);
      return;
    }
    if (-wait > MAX_BEHIND_MS) this.#reachedAt -= wait;
    await this.#show(() => this.#due() <= now);
    await this.#stamp();
  }

  /** When the next event is to be shown. */
  #due(): number {
    return this.#reachedAt + this.#pause();
  }

  /** Before the next event, milliseconds. */
  #pause(): number {
    return pauseOf(this.#gap() * 1000, this.#longestPause) / this.#speed;
  }

  /** From what was shown to the next event, seconds. */
  #gap(): number {
    return Math.max(0, (this.#cursor.next?.time ?? 0) - this.#position);
  }

  /** How much of the pause is over, 0 to 1. */
  #waited(): number {
    if (this.#paused) return this.#heldAt;
    const pause = this.#pause();
    return pause > 0 ? Math.min(1, Math.max(0, (this.#now() - this.#reachedAt) / pause)) : 0;
  }

  /** The second of the recording that is playing. */
  #playhead(): number {
    return this.#position + this.#waited() * this.#gap();
  }

  /** Shows events that are at hand while `wanted` says so, {@link DRAWN_AT_ONCE} at most. */
  async #show(wanted: () => boolean): Promise<void> {
    const outputs: Uint8Array[] = [];
    let size = 0;
    const draw = async () => {
      if (outputs.length > 0) await this.#screen.output(concat(...outputs.splice(0)));
    };
    while (size < DRAWN_AT_ONCE && this.#cursor.next !== undefined && wanted()) {
      const event = this.#cursor.next;
      this.#reachedAt = this.#due();
      this.#position = event.time;
      this.#cursor.advance();
      // An event without a byte counts too: there may be any number of them.
      size++;
      if (event.type === "output") {
        outputs.push(event.data);
        size += event.data.length;
        this.#outputs++;
      } else if (event.type === "resize") {
        // Of several in a row only the last one shows.
        if (this.#cursor.next?.type === "resize" && wanted()) continue;
        await draw();
        await this.#screen.resize(event);
        size += RESIZE_COSTS;
      } else {
        const text = printable(event.label).slice(0, MAX_LABEL);
        this.#label = { text, until: this.#now() + LABEL_MS };
      }
    }
    await draw();
  }

  /** Waits for the next piece of the recording, or for a key: a slow source must not hold it up. */
  async #load(): Promise<void> {
    const loaded = this.#cursor.load();
    // Said when it is waited for again.
    loaded.catch(() => {});
    await Promise.race([loaded, this.#pressed.promise]);
  }

  async #untilPressed(): Promise<void> {
    await this.#stamp();
    if (this.#commands.length === 0) await this.#pressed.promise;
  }

  /** Draws the time; what is only drawn over is drawn anew at each tick. */
  async #stamp(): Promise<void> {
    const now = this.#now();
    const label = now < this.#label.until ? `${this.#label.text}  ` : "";
    const speed = this.#speed === 1 ? "" : `${this.#speed}x `;
    const text = `${label}${this.#paused ? "paused " : ""}${speed}${
      timeText(this.#aim?.time ?? this.#playhead())
    }`;
    if (text === this.#stamped.text && now - this.#stamped.at < TICK_MS && !this.#paused) return;
    this.#stamped = { text, at: now };
    await this.#screen.stamp(text);
  }
}

/** Seconds as "1:02:03", or "02:03" within the first hour. */
export function timeText(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  const hours = Math.floor(whole / 3600);
  return hours > 0 ? `${hours}:${rest}` : rest;
}
