/**
 * Reads a recording as it is shown: event by event, from any place that a reader has been at before.
 * Made for input that nobody has checked: torn, damaged, or written to do harm.
 */
import { BadParameter, messageOf } from "../../base/errors.ts";
import { type CastEvent, type CastHeader, parseEvent, parseHeader } from "../cast.ts";
import { MAX_PLAIN_BYTES } from "../members.ts";
import { TORN } from "../reader.ts";
import { plainText } from "./plain_text.ts";
import type { ByteSource } from "./source.ts";

/** A place that reading can begin at again. */
export interface Place {
  readonly offset: number;
  /** Of the event before it, seconds. */
  readonly time: number;
}

export interface Batch {
  /** Times never decrease. */
  readonly events: readonly CastEvent[];
  /** Reading from here gives this batch first. */
  readonly place?: Place;
}

/** No line of a recording is longer. */
const MAX_LINE_CHARACTERS = MAX_PLAIN_BYTES;
const MAX_HEADER_CHARACTERS = 64 * 1024;
/** Ten years, in seconds: no session is longer, and what says so is not an event. */
const MAX_TIME = 10 * 366 * 86_400;

export class Recording {
  readonly header: CastHeader;
  readonly #source: ByteSource;
  #damage: string | undefined;
  #unreadable = 0;
  #torn: string | undefined;

  private constructor(source: ByteSource, header: CastHeader) {
    this.#source = source;
    this.header = header;
  }

  /** @throws BadParameter unless it begins as a recording does */
  static async open(source: ByteSource): Promise<Recording> {
    let start = "";
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    try {
      for await (const { bytes } of plainText(source)) {
        start += decoder.decode(bytes, { stream: true });
        if (start.includes("\n") || start.length > MAX_HEADER_CHARACTERS) break;
      }
    } catch (e) {
      // What came before the damage may hold the header.
      if (!(e instanceof BadParameter) || !start.includes("\n")) throw e;
    }
    if (start === "") throw new BadParameter("The recording is empty");
    const [line = ""] = start.split("\n", 1);
    if (line.length > MAX_HEADER_CHARACTERS) {
      throw new BadParameter("This is no recording: its first line is too long for a header");
    }
    return new Recording(source, parseHeader(line));
  }

  /** Why the events have ended before the recording's end; known when they have. */
  get damage(): string | undefined {
    return this.#damage;
  }

  /** Lines so far that are no events, and were passed over. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /** Why the session was not recorded to its end, as a marker so far has said. */
  get torn(): string | undefined {
    return this.#torn;
  }

  /** All events from a place on, of the start unless given. Damage ends them: see {@link damage}. */
  async *batches(from?: Place): AsyncGenerator<Batch> {
    const lines = new LineSplitter();
    let time = from?.time ?? 0;
    let isHeader = from === undefined || from.offset === 0;
    this.#damage = undefined;
    const parse = (line: string): CastEvent[] => {
      if (isHeader) {
        isHeader = false;
        return [];
      }
      const event = line.trim() === "" ? undefined : this.#parse(line);
      if (event === undefined) return [];
      time = Math.max(time, event.time);
      return [event.time === time ? event : { ...event, time }];
    };
    try {
      for await (const { bytes, offset } of plainText(this.#source, from?.offset)) {
        const place = offset === undefined || !lines.atLineStart ? {} : { place: { offset, time } };
        const events = lines.push(bytes).flatMap(parse);
        if (events.length > 0) yield { events, ...place };
      }
    } catch (e) {
      if (!(e instanceof BadParameter)) throw e;
      this.#damage = messageOf(e);
      // A line that was begun is cut off, and no line that cannot be read.
      return;
    }
    const events = parse(lines.rest());
    if (events.length > 0) yield { events };
  }

  #parse(line: string): CastEvent | undefined {
    try {
      const event = parseEvent(line);
      if (event?.type === "marker" && event.label.startsWith(TORN)) {
        this.#torn = event.label.slice(TORN.length);
      }
      if (event === undefined || event.time <= MAX_TIME) return event;
    } catch (e) {
      if (!(e instanceof BadParameter)) throw e;
    }
    this.#unreadable++;
    return undefined;
  }
}

/** Bytes as lines, without their line feeds. */
class LineSplitter {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #begun = "";

  get atLineStart(): boolean {
    return this.#begun === "";
  }

  /** @throws BadParameter when a line is longer than any */
  push(bytes: Uint8Array): string[] {
    const lines = (this.#begun + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#begun = lines.pop() ?? "";
    if (this.#begun.length > MAX_LINE_CHARACTERS) {
      this.#begun = "";
      throw new BadParameter("A line of the recording is too long to be an event");
    }
    return lines;
  }

  /** The line that has no line feed. */
  rest(): string {
    const rest = this.#begun;
    this.#begun = "";
    return rest;
  }
}
