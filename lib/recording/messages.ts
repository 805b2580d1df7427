/** What the recorder and its Worker say to each other. Times are seconds since the tape's start. */
import type { RecordingMeta } from "./meta.ts";

/** Where the members of a recording go. */
export type Sink =
  /** A new file, mode 0600, and one beside it that describes it. */
  | { readonly type: "file"; readonly path: string; readonly statePath: string }
  /** Back to the recorder, as `member` messages. */
  | { readonly type: "recorder" }
  /** Nowhere: only the screen is kept. */
  | { readonly type: "none" };

export type ToWorker =
  & { readonly id: number }
  & (
    | { readonly type: "start"; readonly meta: RecordingMeta; readonly sink: Sink }
    | {
      readonly type: "output";
      readonly buffer: ArrayBuffer;
      readonly length: number;
      /** Offset and time in turn: the bytes from there on are of that time. */
      readonly marks: readonly number[];
    }
    | {
      readonly type: "resize";
      readonly time: number;
      readonly cols: number;
      readonly rows: number;
    }
    | { readonly type: "mark"; readonly time: number; readonly label: string }
    | { readonly type: "snapshot"; readonly request: number }
    | { readonly type: "end"; readonly time: number }
  );

export type FromWorker =
  & { readonly id: number }
  & (
    | { readonly type: "started"; readonly failure?: Failure }
    /** So many bytes of output are worked off; the buffer may be used again. */
    | { readonly type: "taken"; readonly bytes: number; readonly buffer: ArrayBuffer }
    | { readonly type: "member"; readonly data: Uint8Array<ArrayBuffer>; readonly raw: number }
    /** So many bytes of the file are on stable storage. */
    | { readonly type: "synced"; readonly size: number }
    | { readonly type: "snapshot"; readonly request: number; readonly data: Uint8Array }
    | { readonly type: "failed"; readonly failure: Failure }
    | { readonly type: "ended"; readonly size: number }
  );

/** Errors lose their class on the way between threads. */
export interface Failure {
  readonly diskFull: boolean;
  readonly message: string;
}
