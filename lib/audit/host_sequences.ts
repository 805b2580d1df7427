/** How far the numbers of each host's events went, and where one is missing. */
import { BadParameter } from "../base/errors.ts";
import { isUuid, timeOfUuid } from "../base/ids.ts";
import { log } from "../base/log.ts";
import type { StoredEvent } from "./events.ts";
import type { HistoryAnswer } from "./history.ts";

export interface Gap {
  /** The spool, as in reported_stream. */
  readonly stream: string;
  readonly first: number;
  readonly last: number;
}

interface Host {
  readonly kind: string;
  readonly hostId: string;
}

/** Spools that are remembered; the index knows the others. */
const MAX_STREAMS = 50_000;
/** A spool that was removed and made anew within one batch is two. */
const MAX_STREAMS_AT_ONCE = 8;

export class HostSequences {
  /** "<host id> <stream>" → the last number. */
  readonly #last = new Map<string, number>();
  /** "<kind> <host id>" → the stream of its latest event. */
  readonly #current = new Map<string, string>();

  /** An event of the log, at a start. */
  stored(event: StoredEvent): void {
    const [host, stream, seq] = event.event === "audit.gap"
      ? [event.server_id, event.stream, event.last_missing]
      : [event.reported_by, event.reported_stream, event.reported_seq];
    if (host !== undefined && stream !== undefined && seq !== undefined) {
      this.#advance(host, stream, seq);
    }
  }

  /** Whether the number is beyond all that came: then the event cannot have come before. */
  isNew({ reported_by, reported_stream, reported_seq }: StoredEvent): boolean {
    const last = this.#last.get(`${reported_by} ${reported_stream}`);
    return reported_seq !== undefined && last !== undefined && reported_seq > last;
  }

  /**
   * Streams of these events of which nothing is known here.
   * @throws BadParameter for more streams than an honest host can have at one time
   */
  unknownOf(
    { hostId }: Host,
    events: readonly unknown[],
  ): { host: string; stream: string }[] {
    const streams = new Set(events.flatMap((event) => numberOf(event)?.stream ?? []));
    if (streams.size > MAX_STREAMS_AT_ONCE) {
      throw new BadParameter(`these events are of ${streams.size} spools: a host has one`);
    }
    return [...streams].filter((stream) => !this.#last.has(`${hostId} ${stream}`))
      .map((stream) => ({ host: hostId, stream }));
  }

  /**
   * Takes note of a batch, refused events included, and says what is missing before and in it.
   * @param answer what the history says of the streams that unknownOf() named
   */
  follow(host: Host, events: readonly unknown[], answer: HistoryAnswer | undefined): Gap[] {
    const gaps: Gap[] = [];
    for (const event of events) {
      const number = numberOf(event);
      if (number === undefined) continue;
      const { stream, seq } = number;
      this.#noteStream(host, stream);
      const last = this.#last.get(`${host.hostId} ${stream}`) ??
        startOf(host.hostId, stream, seq, answer);
      if (seq > last + 1) gaps.push({ stream, first: last + 1, last: seq - 1 });
      this.#advance(host.hostId, stream, Math.max(seq, last));
    }
    return gaps;
  }

  #advance(host: string, stream: string, seq: number): void {
    const key = `${host} ${stream}`;
    const last = this.#last.get(key) ?? 0;
    // The spools that are heard of stay; those that are not go first.
    this.#last.delete(key);
    this.#last.set(key, Math.max(last, seq));
    if (this.#last.size > MAX_STREAMS) this.#last.delete(this.#last.keys().next().value!);
  }

  #noteStream({ kind, hostId }: Host, stream: string): void {
    const known = this.#current.get(`${kind} ${hostId}`);
    if (known === stream) return;
    this.#current.set(`${kind} ${hostId}`, stream);
    if (known === undefined) return;
    log("audit").warn(
      "a host numbers its events anew: its spool was removed, and what was in it is lost",
      { host: hostId, service: kind },
    );
  }
}

/**
 * What came before the first event that is known of a stream. One that is younger than all that is
 * known begins with 1; of an older one, the beginning may be in log files that were removed.
 */
function startOf(
  host: string,
  stream: string,
  seq: number,
  answer: HistoryAnswer | undefined,
): number {
  const known = answer?.streams.find((each) => each.host === host && each.stream === stream);
  if (known !== undefined) return known.last;
  const isYoung = answer !== undefined && (timeOfUuid(stream) ?? 0) > answer.sinceMs;
  return isYoung ? 0 : seq - 1;
}

/** Also of an event that is refused for something else: its number was used. */
function numberOf(event: unknown): { stream: string; seq: number } | undefined {
  const { reported_stream: stream, reported_seq: seq } = (event ?? {}) as Record<string, unknown>;
  if (typeof stream !== "string" || !isUuid(stream)) return undefined;
  if (typeof seq !== "number" || !Number.isSafeInteger(seq) || seq < 1) return undefined;
  return { stream, seq };
}
