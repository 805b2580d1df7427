/** The next event of a recording, and whether it is at hand. */
import type { CastEvent } from "../../recording/cast.ts";
import type { Batch, Place, Recording } from "../../recording/play/recording.ts";

export class EventCursor {
  readonly #batches: AsyncGenerator<Batch>;
  #events: readonly CastEvent[] = [];
  #at = 0;
  #place: Place | undefined;
  #ended = false;
  #loading: Promise<void> | undefined;

  constructor(recording: Recording, from?: Place) {
    this.#batches = recording.batches(from);
  }

  /** The next event, where it has been read already. */
  get next(): CastEvent | undefined {
    return this.#events[this.#at];
  }

  /** Where another cursor has the same next event, if there is such a place. */
  get place(): Place | undefined {
    return this.#at === 0 ? this.#place : undefined;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Reads on, until there is a next event or the recording has ended. */
  load(): Promise<void> {
    return this.#loading ??= this.#load().finally(() => this.#loading = undefined);
  }

  async #load(): Promise<void> {
    while (this.next === undefined && !this.#ended) {
      const { value } = await this.#batches.next();
      this.#events = value?.events ?? [];
      this.#place = value?.place;
      this.#at = 0;
      this.#ended = value === undefined;
    }
  }

  /** Goes over the next event. */
  advance(): void {
    this.#at++;
  }

  close(): void {
    this.#ended = true;
    this.#batches.return(undefined).catch(() => {});
  }
}
