/**
 * Records sessions. What a session shows is copied here and handed to a Worker every 64 KiB or
 * 250 ms; all else (encoding, compression, the disk, the screen for those who join) is done there,
 * so that it costs neither throughput nor the echo of a keystroke.
 */
import { ConnectionProblem, InternalError, LimitExceeded } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { boundedMeta } from "./cast.ts";
import type { Failure, FromWorker, Sink, ToWorker } from "./messages.ts";
import { RunningTape, type TapePort } from "./running_tape.ts";
import type { RecordingSpool } from "./spool.ts";
import { type RecordingRemote, SyncUpload } from "./sync_upload.ts";
import type { Tape, TapeOptions, TapeStarter } from "./tape.ts";

export interface RecorderOptions {
  /** Where recordings are kept until auth has them. */
  readonly spool: RecordingSpool;
  /** The auth service, for recordings that go there while the session runs. */
  readonly remote: RecordingRemote;
  /** What happens when the disk is full; asked each time. */
  readonly onFull: () => "refuse" | "continue";
  /** For how long a session waits whose recording must be at auth while that is away; 10 s. */
  readonly patienceMs?: number;
}

/** What is shown waits for the Worker at most so long, in milliseconds. */
const POST_EVERY_MS = 250;
/**
 * A Worker without tapes is ended after so long, in milliseconds: it holds some 30 MB, and the next
 * session would wait for a new one.
 */
const IDLE_MS = 300_000;

interface Started {
  readonly port: TapePort;
  readonly started: (failure: Failure | undefined) => void;
  readonly meta: TapeOptions["meta"];
  readonly mode: TapeOptions["mode"];
}

export class Recorder implements TapeStarter {
  readonly #options: RecorderOptions;
  readonly #tapes = new Map<number, Started>();
  readonly #dirty = new Set<TapePort>();
  #worker: Worker | undefined;
  #postTimer: number | undefined;
  #idleTimer: number | undefined;
  #nextId = 1;
  #isClosed = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  async start(options: TapeOptions): Promise<Tape> {
    if (this.#isClosed) throw new ConnectionProblem("this host is stopping");
    const { tape, failure } = await this.#begin(options);
    if (failure === undefined) return tape;
    const why = `the session cannot be recorded: ${describe(failure)}`;
    if (!failure.diskFull) throw new InternalError(why);
    if (this.#options.onFull() === "refuse") throw new LimitExceeded(why);
    log("recording").error("A session is not recorded, because the disk is full", {
      sid: options.meta.sid,
    });
    return (await this.#begin({ ...options, mode: "none" }, { lost: true })).tape;
  }

  /** Ends all tapes, for at most `drainMs` milliseconds. */
  async close(o: { drainMs: number }): Promise<void> {
    this.#isClosed = true;
    const ends = [...this.#tapes.values()].map(({ port }) => port.tape.end());
    let timer: number | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, o.drainMs));
    await Promise.race([Promise.all(ends), late]);
    clearTimeout(timer);
    clearTimeout(this.#postTimer);
    this.#endWorker();
  }

  async #begin(
    options: TapeOptions,
    o: { lost: boolean } = { lost: false },
  ): Promise<{ tape: RunningTape; failure?: Failure }> {
    const { mode } = options;
    const meta = boundedMeta(options.meta);
    const id = this.#nextId++;
    const { remote, patienceMs } = this.#options;
    const upload = mode === "sync" ? new SyncUpload(remote, meta.sid, { patienceMs }) : undefined;
    const tape = new RunningTape({
      recorded: mode !== "none",
      lost: o.lost,
      upload,
      post: (message, transfer) => this.#post({ id, ...message } as ToWorker, transfer),
      touched: (port) => this.#touch(port),
      ended: (size) => this.#ended(id, size),
      failed: (failure) => this.#mayGoOn(meta.sid, failure),
    });
    const { promise, resolve } = Promise.withResolvers<Failure | undefined>();
    this.#tapes.set(id, { port: tape.port, started: resolve, meta, mode });
    this.#ensureWorker();
    this.#post({ id, type: "start", meta, sink: this.#sink(meta.sid, mode) }, []);
    const failure = await promise;
    if (failure !== undefined) {
      this.#forget(id);
      return { tape, failure };
    }
    try {
      // Nothing is shown before auth has the recording's beginning.
      await upload?.begun;
    } catch (error) {
      tape.end();
      throw error;
    }
    return { tape };
  }

  #sink(sid: string, mode: TapeOptions["mode"]): Sink {
    if (mode === "none") return { type: "none" };
    if (mode === "sync") return { type: "recorder" };
    const { spool } = this.#options;
    return { type: "file", path: spool.path(sid), statePath: spool.statePath(sid) };
  }

  /** Whether the session may go on without its recording. */
  #mayGoOn(sid: string, failure: Failure): boolean {
    const goesOn = failure.diskFull && this.#options.onFull() === "continue";
    log("recording").error(
      goesOn ? "A session goes on unrecorded" : "A session ends, because it cannot be recorded",
      { sid, error: describe(failure) },
    );
    return goesOn;
  }

  #ended(id: number, size: number): void {
    const found = this.#tapes.get(id);
    if (found?.mode === "async") {
      this.#options.spool.update(found.meta.sid, size, { ended: true });
    }
    this.#forget(id);
  }

  #forget(id: number): void {
    this.#tapes.delete(id);
    if (this.#tapes.size > 0) return;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#endWorker(), IDLE_MS);
    Deno.unrefTimer(this.#idleTimer);
  }

  #touch(port: TapePort): void {
    this.#dirty.add(port);
    this.#postTimer ??= setTimeout(() => {
      this.#postTimer = undefined;
      for (const each of this.#dirty) each.flush();
      this.#dirty.clear();
    }, POST_EVERY_MS);
  }

  #post(message: ToWorker, transfer: Transferable[]): void {
    this.#worker?.postMessage(message, transfer);
  }

  #ensureWorker(): void {
    clearTimeout(this.#idleTimer);
    if (this.#worker) return;
    const worker = new Worker(new URL("./recorder_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker === this.#worker) this.#workerFailed(event.message);
    };
    this.#worker = worker;
  }

  #receive(message: FromWorker): void {
    const found = this.#tapes.get(message.id);
    if (found === undefined) return;
    if (message.type === "started") found.started(message.failure);
    else if (message.type === "synced") {
      this.#options.spool.update(found.meta.sid, message.size, { ended: false });
    } else found.port.receive(message);
  }

  #workerFailed(message: string): void {
    log("recording").error("The recorder has failed", { error: message });
    this.#endWorker();
    const failure = { diskFull: false, message: "the recorder has failed, see this host's log" };
    for (const { port, started, meta } of [...this.#tapes.values()]) {
      started(failure);
      port.lost(failure, sizeOf(this.#options.spool.path(meta.sid)));
    }
  }

  #endWorker(): void {
    clearTimeout(this.#idleTimer);
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}

function describe({ diskFull, message }: Failure): string {
  return diskFull ? "the disk of this host is full" : message;
}
