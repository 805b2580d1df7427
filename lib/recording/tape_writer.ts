/** Makes a recording out of what happens in a session: lines, gathered into gzip members. */
import { headerLine, markerLine, OutputEncoder, resizeLine } from "./cast.ts";
import { encodeMember, HAS_NOTES } from "./members.ts";
import type { RecordingMeta } from "./meta.ts";
import { END, TORN } from "./reader.ts";

/** Takes whole members, in order. */
export interface MemberSink {
  /** @param raw bytes of output that the member holds @throws when it is not kept */
  write(member: Uint8Array<ArrayBuffer>, raw: number): void;
}

/** A member is closed at about so many bytes of lines. */
const MEMBER_BYTES = 512 * 1024;
/** A member that is full within this time is one of bulk output, in milliseconds. */
const BULK_MS = 100;
/**
 * Of gzip. Measured: level 2 takes half the time of level 6 at the same size for plain text, and a
 * third more bytes for coloured listings; bulk output must not wait for it. Single keystrokes cost
 * nothing at either.
 */
const LEVEL = { bulk: 2, ordinary: 6 };

export class TapeWriter {
  readonly #sink: MemberSink;
  readonly #encoder = new OutputEncoder();
  readonly #utf8 = new TextEncoder();
  #lines: string[] = [];
  #size = 0;
  #raw = 0;
  #flags = 0;
  #firstTime = 0;
  #lastTime = 0;
  #since = 0;

  constructor(sink: MemberSink) {
    this.#sink = sink;
  }

  /** Writes the header and the marker of the start at once: they make the file a recording. */
  start(meta: RecordingMeta): void {
    this.#add(0, headerLine(meta), HAS_NOTES);
    this.#add(0, markerLine(0, "start"), HAS_NOTES);
    this.flush();
  }

  /** @param marks offset and time in turn: the bytes from there on are of that time */
  output(bytes: Uint8Array, marks: readonly number[]): void {
    for (let i = 0; i < marks.length; i += 2) {
      const time = marks[i + 1]!;
      const run = bytes.subarray(marks[i]!, marks[i + 2] ?? bytes.length);
      this.#add(time, this.#encoder.encode(time, run), 0);
    }
    this.#raw += bytes.length;
    if (this.#size >= MEMBER_BYTES) this.flush();
  }

  resize(time: number, size: { cols: number; rows: number }): void {
    this.#add(time, resizeLine(time, size), HAS_NOTES);
  }

  mark(time: number, label: string): void {
    this.#add(time, markerLine(time, label), HAS_NOTES);
  }

  end(time: number): void {
    this.#add(time, this.#encoder.flush(Math.max(time, this.#lastTime)), 0);
    this.mark(time, END);
    this.flush();
  }

  /** The marker of a recording that could not go on. */
  torn(time: number, why: string): void {
    this.mark(time, TORN + why);
    this.flush();
  }

  /** When the oldest line came that is in no member yet, by performance.now(). */
  get waitingSince(): number | undefined {
    return this.#size > 0 ? this.#since : undefined;
  }

  /** Closes the member. @throws what the sink throws; the lines are lost then */
  flush(): void {
    if (this.#size === 0) return;
    const full = this.#size >= MEMBER_BYTES;
    const isBulk = full && performance.now() - this.#since < BULK_MS;
    const member = encodeMember(this.#utf8.encode(this.#lines.join("")), {
      time: this.#firstTime,
      flags: this.#flags,
      level: isBulk ? LEVEL.bulk : LEVEL.ordinary,
    });
    const raw = this.#raw;
    this.#lines = [];
    this.#size = 0;
    this.#raw = 0;
    this.#flags = 0;
    this.#sink.write(member, raw);
  }

  #add(time: number, lines: string, flags: number): void {
    if (lines === "") return;
    if (this.#size === 0) {
      this.#since = performance.now();
      this.#firstTime = time;
    }
    this.#lines.push(lines);
    this.#size += lines.length;
    this.#flags |= flags;
    this.#lastTime = Math.max(this.#lastTime, time);
  }
}
