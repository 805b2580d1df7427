/**
 * The screen as it was at any moment of a recording, for going back: drawn by a terminal without a
 * window, so that the watcher's own terminal is not run through all that came before. Pictures on
 * the way are kept: going back again begins at the nearest one.
 */
import { utf8Encode } from "../../base/bytes.ts";
import { ModeScanner } from "../../recording/modes.ts";
import type { Place, Recording } from "../../recording/play/recording.ts";
import { VirtualTerminal } from "../../recording/virtual_terminal.ts";
import type { WindowSize } from "../node_session.ts";
import { EventCursor } from "./cursor.ts";
import { VtFilter } from "./vt_filter.ts";

/** A moment, in seconds or in outputs since the start. */
export interface Aim {
  readonly time?: number;
  readonly outputs?: number;
}

/** The screen at a moment, and what comes after it. */
export interface Moment {
  readonly cursor: EventCursor;
  readonly outputs: number;
  /** Of the last event before it, seconds. */
  readonly time: number;
  readonly size: WindowSize;
  /** Draws the screen on an empty one of that size. */
  readonly picture: Uint8Array;
}

/** A picture to begin at again. */
interface Frame {
  readonly place: Place | undefined;
  readonly outputs: number;
  readonly time: number;
  readonly size: WindowSize;
  readonly picture: Uint8Array;
}

/** Output between two pictures that are kept, and what is kept of them altogether, bytes. */
const FRAME_EVERY = 2 << 20;
const FRAMES_KEPT = 64 << 20;

export class Pictures {
  readonly #recording: Recording;
  readonly #terminal = new VirtualTerminal();
  #frames: Frame[];

  constructor(recording: Recording) {
    this.#recording = recording;
    const { width: cols, height: rows } = recording.header;
    const picture = new Uint8Array(0);
    this.#frames = [{ place: undefined, outputs: 0, time: 0, size: { cols, rows }, picture }];
  }

  /**
   * @param isOff asked now and then: nobody wants the picture any more
   * @returns undefined when nobody did
   * @throws what the recording's source does
   */
  async at(aim: Aim, isOff: () => boolean): Promise<Moment | undefined> {
    let from = this.#frames.findLast((frame) => isBefore(frame, aim)) ?? this.#frames[0]!;
    const cursor = new EventCursor(this.#recording, from.place);
    const filter = new VtFilter();
    let { outputs, time, size } = from;
    let steps: (Uint8Array | WindowSize)[] = [];
    let drawn = 0;
    const draw = async () => {
      const modes = new ModeScanner();
      const all = [from.picture, ...steps];
      for (const step of all) if (step instanceof Uint8Array) modes.scan(step);
      return (await this.#terminal.draw(from.size, all, modes)).bytes;
    };
    for (;;) {
      await cursor.load();
      if (isOff()) {
        cursor.close();
        return undefined;
      }
      const event = cursor.next;
      if (event === undefined || !isBefore({ outputs, time: event.time }, aim)) break;
      const { place } = cursor;
      if (drawn >= FRAME_EVERY && place !== undefined && filter.isWhole) {
        from = { place, outputs, time, size, picture: await draw() };
        this.#keep(from);
        steps = [];
        drawn = 0;
      }
      cursor.advance();
      time = event.time;
      if (event.type === "resize") {
        size = { cols: event.cols, rows: event.rows };
        // Of several in a row only the last one shows, and each costs the terminal a lot.
        if (!(steps.at(-1) instanceof Uint8Array)) steps.pop();
        steps.push(size);
      }
      if (event.type !== "output") continue;
      outputs++;
      drawn += event.data.length;
      steps.push(utf8Encode(filter.push(event.data)));
    }
    return { cursor, outputs, time, size, picture: await draw() };
  }

  #keep(frame: Frame): void {
    this.#frames.push(frame);
    this.#frames.sort((a, b) => a.outputs - b.outputs);
    const bytes = this.#frames.reduce((sum, { picture }) => sum + picture.length, 0);
    // Every other one: what is left is as near everywhere.
    if (bytes > FRAMES_KEPT) this.#frames = this.#frames.filter((_, i) => i % 2 === 0);
  }
}

/** Whether what comes at this point is before the aim. */
function isBefore(point: { outputs: number; time: number }, aim: Aim): boolean {
  return aim.outputs !== undefined ? point.outputs < aim.outputs : point.time <= (aim.time ?? 0);
}
