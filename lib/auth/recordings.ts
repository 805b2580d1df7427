/** The recordings of the cluster, and what the audit log hears of them. */
import type { AuditEmitter } from "../audit/events.ts";
import { EventCode } from "../audit/events.ts";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { RecordingInfo } from "../recording/meta.ts";
import { recoveredSessionEnd } from "../recording/session_end.ts";
import { RecordingStore } from "../recording/store.ts";

export interface RecordingsOptions {
  /** `<data_dir>/log/records`. */
  directory: string;
  cluster: string;
  audit: AuditEmitter;
  /** Milliseconds of a clock that is never set. */
  steadyNow?: () => number;
}

/** A recording whose host has been silent for so long is ended without it: 24 h. */
export const GIVE_UP_AFTER_MS = 24 * 3_600_000;
const LOOK_EVERY_MS = 10 * 60_000;

export class Recordings {
  readonly store: RecordingStore;
  readonly #audit: AuditEmitter;
  readonly #timer: number;
  #looking: Promise<void> = Promise.resolve();

  constructor({ directory, cluster, audit, ...rest }: RecordingsOptions) {
    this.#audit = audit;
    this.store = new RecordingStore({
      directory,
      cluster,
      ...rest,
      onFinished: ({ sid }, url) =>
        audit.emit({ event: "session.upload", code: EventCode.SessionUpload, sid, url }),
    });
    this.#timer = setInterval(() => this.#looking = this.endAbandoned(), LOOK_EVERY_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Ends the recordings of hosts that did not come back, and reports their sessions' end. */
  async endAbandoned(): Promise<void> {
    try {
      for (const { info, hostId } of await this.store.giveUp({ idleMs: GIVE_UP_AFTER_MS })) {
        this.#report(info, hostId);
      }
    } catch (error) {
      log("recordings").error("Abandoned recordings cannot be ended", { error: messageOf(error) });
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    await this.store.ready.catch(() => {});
  }

  #report(info: RecordingInfo, hostId: string): void {
    log("recordings").warn("A recording was ended without the host that made it", {
      sid: info.sid,
      user: info.user,
      host: hostId,
    });
    this.#audit.emit(recoveredSessionEnd({
      meta: info,
      hostId,
      participants: info.participants,
      ended: info.ended ?? info.started,
      torn: info.torn,
    }));
  }
}
