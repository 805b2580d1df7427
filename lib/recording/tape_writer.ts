/** Makes a recording out of what happens in a session: lines, gathered into gzip members. */
import { headerLine, markerLine, resizeLine } from "./cast.ts";
import { LineBuffer } from "./line_buffer.ts";
import { type Compression, encodeMember, HAS_NOTES } from "./members.ts";
import type { RecordingMeta } from "./meta.ts";
import { OutputEncoder } from "./output_encoder.ts";
import { END, TORN } from "./reader.ts";

/** Takes whole members, in order. */
export interface MemberSink {
  /** @param raw bytes of output that the member holds @throws when it is not kept */
  write(member: Uint8Array<ArrayBuffer>, raw: number): void;
}

/** A member is closed at about so many bytes of lines. */
const MEMBER_BYTES = 512 * 1024;
/** A member that is full within this time is one of bulk output, in milliseconds. */
const BULK_MS = 250;
/** Bulk output that does not get smaller than this is not searched for what repeats. */
const DENSE = 0.65;
/** After so many members it is looked at again whether it still is. */
const LOOK_AGAIN = 16;

export class TapeWriter {
  readonly #sink: MemberSink;
  readonly #encoder = new OutputEncoder();
  readonly #lines = new LineBuffer();
  #raw = 0;
  #flags = 0;
  #firstTime = 0;
  #since = 0;
  /** Members left that are taken for dense. */
  #dense = 0;

  constructor(sink: MemberSink) {
    this.#sink = sink;
  }

  /** Writes the header and the marker of the start at once: they make the file a recording. */
  start(meta: RecordingMeta): void {
    this.#note(0, headerLine(meta));
    this.#note(0, markerLine(0, "start"));
    this.flush();
  }

  /** @param marks offset and time in turn: the bytes from there on are of that time */
  output(bytes: Uint8Array, marks: readonly number[]): void {
    for (let i = 0; i < marks.length; i += 2) {
      const time = marks[i + 1]!;
      this.#begin(time);
      this.#encoder.encode(time, bytes.subarray(marks[i]!, marks[i + 2]), this.#lines);
    }
    this.#raw += bytes.length;
    if (this.#lines.length >= MEMBER_BYTES) this.flush();
  }

  resize(time: number, size: { cols: number; rows: number }): void {
    this.#note(time, resizeLine(time, size));
  }

  mark(time: number, label: string): void {
    this.#note(time, markerLine(time, label));
  }

  end(time: number): void {
    this.#begin(time);
    this.#encoder.flush(time, this.#lines);
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
    return this.#lines.length > 0 ? this.#since : undefined;
  }

  /** Closes the member. @throws what the sink throws; the lines are lost then */
  flush(): void {
    const { length } = this.#lines;
    if (length === 0) return;
    const isBulk = length >= MEMBER_BYTES && performance.now() - this.#since < BULK_MS;
    const compression = isBulk ? this.#dense > 0 ? "dense" : "bulk" : "ordinary";
    const member = encodeMember(this.#lines.content, {
      time: this.#firstTime,
      flags: this.#flags,
      compression,
    });
    this.#learn(compression, member.length / length);
    const raw = this.#raw;
    this.#lines.clear();
    this.#raw = 0;
    this.#flags = 0;
    this.#sink.write(member, raw);
  }

  #learn(compression: Compression, ratio: number): void {
    if (compression === "dense") this.#dense--;
    else if (compression === "bulk" && ratio > DENSE) this.#dense = LOOK_AGAIN;
  }

  #note(time: number, line: string): void {
    this.#begin(time);
    this.#lines.text(line);
    this.#flags |= HAS_NOTES;
    if (this.#lines.length >= MEMBER_BYTES) this.flush();
  }

  #begin(time: number): void {
    if (this.#lines.length > 0) return;
    this.#since = performance.now();
    this.#firstTime = time;
  }
}
