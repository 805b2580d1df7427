/**
 * The numbers of the events of one spool, from 1 without a hole, by which the auth service sees
 * that one has not arrived. A number is used up also by an event that the disk did not take.
 *
 * The file `sequence` says how far it went: `<stream> <number>`, always of the same length and
 * written in place, which a full disk allows. What stands in the spool may be further.
 */
import { messageOf } from "../base/errors.ts";
import { isUuid, timeUuid } from "../base/ids.ts";
import { log } from "../base/log.ts";

export interface SequencePosition {
  /** Which spool: a UUID of version 7, made when the spool was. */
  readonly stream: string;
  /** The last number that was used; 0 is none. */
  readonly seq: number;
}

const DIGITS = 16;

export class AuditSequence {
  readonly stream: string;
  readonly #path: string;
  #last: number;

  /** @param inSpool of the newest event that the spool holds */
  constructor(path: string, inSpool: SequencePosition | undefined, nowMs: number) {
    this.#path = path;
    const saved = read(path);
    const { stream, seq } = saved ?? inSpool ?? { stream: timeUuid(nowMs), seq: 0 };
    this.stream = stream;
    this.#last = inSpool?.stream === stream ? Math.max(seq, inSpool.seq) : seq;
    this.save();
  }

  next(): number {
    return ++this.#last;
  }

  /** Before anything is removed from the spool, and when an event is lost. Never throws. */
  save(): void {
    const text = `${this.stream} ${String(this.#last).padStart(DIGITS, "0")}\n`;
    try {
      using file = Deno.openSync(this.#path, { write: true, create: true, mode: 0o600 });
      file.writeSync(new TextEncoder().encode(text));
    } catch (error) {
      log("audit-queue").warn("The number of the last audit event cannot be saved", {
        error: messageOf(error),
      });
    }
  }
}

function read(path: string): SequencePosition | undefined {
  let text;
  try {
    text = Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
  const [, stream = "", digits] = /^(\S{36}) (\d{16})\n$/.exec(text) ?? [];
  return isUuid(stream) ? { stream, seq: Number(digits) } : undefined;
}
