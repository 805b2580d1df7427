/** All that a host does with recordings: it makes them, keeps them and brings them to auth. */
import type { AuditEmitter } from "../audit/events.ts";
import { toBase64 } from "../base/bytes.ts";
import { BadParameter, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { Recorder } from "../recording/recorder.ts";
import { KILLED, repairRecording } from "../recording/repair.ts";
import { recoveredSessionEnd } from "../recording/session_end.ts";
import { RecordingSpool } from "../recording/spool.ts";
import type { RecordingRemote } from "../recording/sync_upload.ts";
import type { AuthConnection } from "./auth_connection.ts";
import type { ClusterCache } from "./cache.ts";
import { RecordingUpload } from "./recording_upload.ts";

export interface HostRecordingsOptions {
  readonly dataDir: string;
  readonly role: "node" | "proxy";
  /** Host UUID. */
  readonly hostId: string;
  readonly auth: Pick<AuthConnection, "api" | "call">;
  /** Says what happens when the disk is full. */
  readonly cache: Pick<ClusterCache, "list">;
  readonly audit: AuditEmitter;
}

export class HostRecordings {
  /** Starts the tapes of this host's sessions. */
  readonly recorder: Recorder;
  readonly #options: HostRecordingsOptions;
  readonly #spool: RecordingSpool;
  readonly #upload: RecordingUpload;
  readonly #recovering: Promise<void>;
  #isClosed = false;

  /**
   * Goes on with what an earlier run has left: torn ends are cut off and marked, ends of sessions
   * that nobody reported are, and all of it is sent.
   *
   * @throws Deno.errors.* when the spool's directory cannot be used
   */
  static async open(options: HostRecordingsOptions): Promise<HostRecordings> {
    const { dataDir, role } = options;
    const { spool, left } = await RecordingSpool.open(`${dataDir}/log/upload/${role}`);
    return new HostRecordings(options, spool, left);
  }

  private constructor(
    options: HostRecordingsOptions,
    spool: RecordingSpool,
    left: readonly string[],
  ) {
    this.#options = options;
    this.#spool = spool;
    const remote = recordingRemote(options.auth);
    this.recorder = new Recorder({
      spool,
      remote,
      onFull: () => options.cache.list("cluster_config")[0]?.spec.recording_on_full ?? "refuse",
    });
    this.#upload = new RecordingUpload({
      spool,
      remote,
      connected: (signal) => options.auth.api({ waitMs: Infinity, signal }),
    });
    this.#recovering = this.#recover(left);
  }

  /** Recordings that are not at the auth service yet. */
  get waiting(): number {
    return this.#spool.recordings.length;
  }

  /** Ends the tapes, then sends for at most `drainMs` milliseconds; the rest waits on disk. */
  async close(o: { drainMs: number }): Promise<void> {
    this.#isClosed = true;
    // The disk is there also when auth is not.
    await this.recorder.close({ drainMs: Math.max(o.drainMs, DISK_DRAIN_MS) });
    await this.#recovering;
    await this.#upload.close(o);
  }

  async #recover(left: readonly string[]): Promise<void> {
    for (const sid of left) {
      if (this.#isClosed) return;
      try {
        await this.#recoverOne(sid);
      } catch (error) {
        if (error instanceof BadParameter) {
          await this.#spool.quarantine(sid, messageOf(error));
        } else {
          log("recording").error("A recording of an earlier run waits for the next start", {
            sid,
            error: messageOf(error),
          });
        }
      }
    }
  }

  async #recoverOne(sid: string): Promise<void> {
    const state = await this.#spool.describe(sid);
    const { summary, size } = await repairRecording(this.#spool.path(sid), {
      why: KILLED,
      meta: state,
    });
    const meta = summary.header.teleport ?? state;
    if (meta?.sid !== sid) throw new BadParameter("it is of another session");
    // A session's end is reported before its recording ends.
    if (!summary.complete) {
      log("recording").warn("The recording of a session that was cut off is brought to its end", {
        sid,
        user: meta.user,
      });
      this.#options.audit.emit(recoveredSessionEnd({
        meta,
        hostId: this.#options.hostId,
        participants: [...new Set([meta.user, ...summary.joined])],
        ended: new Date(Date.parse(meta.started) + summary.duration * 1000).toISOString(),
        torn: true,
      }));
    }
    this.#spool.update(sid, size, { ended: true });
  }
}

/** The auth service, as far as recordings go. */
export function recordingRemote(auth: Pick<AuthConnection, "call">): RecordingRemote {
  return {
    append: (sid, offset, data) =>
      auth.call("recordings.append", { sid, offset, data: toBase64(data) }),
    finish: (sid, size, sha256) =>
      // Auth reads all of it first.
      auth.call("recordings.finish", { sid, size, sha256 }, { timeoutMs: FINISH_MS }),
    state: (sid) => auth.call("recordings.state", { sid }),
  };
}

const FINISH_MS = 180_000;
const DISK_DRAIN_MS = 3_000;
