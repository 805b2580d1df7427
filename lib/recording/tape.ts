/** The recording of one session while it runs, as the session sees it. */
import type { TeleportError } from "../base/errors.ts";
import type { RecordingMeta } from "./meta.ts";

export interface TapeOptions {
  readonly meta: RecordingMeta;
  /**
   * - "async": written to this host's disk first, and sent to auth meanwhile and later.
   * - "sync": sent to auth while the session runs; nothing is kept here.
   * - "none": not recorded; only the screen is kept for those who join.
   */
  readonly mode: "async" | "sync" | "none";
}

/** A terminal's size in characters. */
export interface TapeSize {
  readonly cols: number;
  readonly rows: number;
}

export interface Tape {
  /**
   * False when nothing is recorded: mode "none", or the disk is full and the cluster says that
   * sessions go on all the same. It may change while the session runs.
   */
  readonly recorded: boolean;

  /**
   * What does not exist of the recording that was to be made: nothing of it is missing, its end, or
   * all of it.
   */
  readonly lost: "nothing" | "end" | "all";

  /**
   * Takes what is shown to the parties. The chunk is copied.
   *
   * @returns a promise when the recorder is behind: no further output before it resolves
   */
  output(chunk: Uint8Array): Promise<void> | undefined;

  resize(size: TapeSize): void;

  /** A marker for the player, e.g. "join alice (peer)", "leave alice". Start and end are implied. */
  mark(label: string): void;

  /**
   * Bytes that bring a fresh terminal of the session's current size to the session's current
   * screen: alternate screen, modes and cursor included.
   */
  snapshot(): Promise<Uint8Array>;

  /** Resolves with the reason when the session must end, as it cannot be recorded; never rejects. */
  readonly failed: Promise<TeleportError>;

  /**
   * Resolves when everything is on disk (async) or at the auth service (sync); never rejects.
   * Idempotent. Report `session.end` before: a recording without its end is taken for one of a
   * daemon that was killed, and then the event is made up from the recording.
   */
  end(): Promise<void>;
}

/** Starts tapes; one per role of the daemon. */
export interface TapeStarter {
  /**
   * @throws LimitExceeded when the disk takes no more and sessions must be recorded
   * @throws ConnectionProblem when the mode is "sync" and the auth service is away
   */
  start(options: TapeOptions): Promise<Tape>;
}
