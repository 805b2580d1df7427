/**
 * The recorder's own thread: encodes, compresses and writes what the sessions show, and keeps their
 * screens. One for all sessions, so that an idle session costs next to nothing.
 */
import { messageOf } from "../base/errors.ts";
import { runInBackground } from "./background.ts";
import { isDiskFull } from "./disk.ts";
import type { Failure, FromWorker, Sink, ToWorker } from "./messages.ts";
import type { RecordingMeta } from "./meta.ts";
import { FoldBudget, Screen } from "./screen.ts";
import { SpoolFile } from "./spool_file.ts";
import { type MemberSink, TapeWriter } from "./tape_writer.ts";
import { VirtualTerminal } from "./virtual_terminal.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
};

/** A member is closed when its oldest event is so old, in milliseconds. */
const MEMBER_MS = 600;
const LOOK_EVERY_MS = 100;

/** Three times the weight for the threads that somebody waits for. */
runInBackground(5);

const terminal = new VirtualTerminal();
const budget = new FoldBudget();

interface WorkerTape {
  readonly screen: Screen;
  /** None for a session that is not recorded, or cannot be any more. */
  writer?: TapeWriter;
  file?: SpoolFile;
  /** Why it is not recorded any more. */
  failure?: Failure;
}

const tapes = new Map<number, WorkerTape>();
/** Tapes with lines that are in no member yet. */
const waiting = new Set<number>();
let timer: number | undefined;

scope.onmessage = ({ data: message }) => {
  if (message.type === "start") return start(message.id, message.meta, message.sink);
  const tape = tapes.get(message.id);
  if (tape === undefined) return;
  switch (message.type) {
    case "output": {
      const bytes = new Uint8Array(message.buffer, 0, message.length);
      tape.screen.output(bytes);
      write(message.id, tape, (writer) => writer.output(bytes, message.marks));
      const { id, length, buffer } = message;
      scope.postMessage({ id, type: "taken", bytes: length, buffer }, [buffer]);
      return;
    }
    case "resize":
      tape.screen.resize(message);
      return write(message.id, tape, (writer) => writer.resize(message.time, message));
    case "mark":
      return write(message.id, tape, (writer) => writer.mark(message.time, message.label));
    case "snapshot":
      return snapshot(message.id, tape, message.request);
    case "end":
      tapes.delete(message.id);
      return void end(message.id, tape, message.time);
  }
};

function start(id: number, meta: RecordingMeta, sink: Sink): void {
  const tape: WorkerTape = { screen: new Screen(meta, terminal, budget) };
  try {
    if (sink.type === "file") {
      tape.file = new SpoolFile(sink, meta, (size) => {
        scope.postMessage({ id, type: "synced", size });
      });
    }
    const to = sink.type === "recorder" ? toRecorder(id) : tape.file;
    if (to) {
      tape.writer = new TapeWriter(to);
      tape.writer.start(meta);
    }
    tapes.set(id, tape);
    scope.postMessage({ id, type: "started" });
  } catch (error) {
    scope.postMessage({ id, type: "started", failure: failureOf(error) });
  }
}

function toRecorder(id: number): MemberSink {
  return {
    write: (data, raw) => scope.postMessage({ id, type: "member", data, raw }, [data.buffer]),
  };
}

function write(id: number, tape: WorkerTape, work: (writer: TapeWriter) => void): void {
  if (!tape.writer) return;
  try {
    work(tape.writer);
    if (tape.writer.waitingSince === undefined) waiting.delete(id);
    else waiting.add(id);
    if (waiting.size > 0) timer ??= setInterval(flushOld, LOOK_EVERY_MS);
  } catch (error) {
    delete tape.writer;
    waiting.delete(id);
    tape.failure = failureOf(error);
    scope.postMessage({ id, type: "failed", failure: tape.failure });
  }
}

function flushOld(): void {
  const now = performance.now();
  for (const id of [...waiting]) {
    const tape = tapes.get(id);
    const since = tape?.writer?.waitingSince;
    if (tape === undefined || since === undefined) waiting.delete(id);
    else if (now - since >= MEMBER_MS) write(id, tape, (writer) => writer.flush());
  }
  if (waiting.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

function snapshot(id: number, { screen }: WorkerTape, request: number): void {
  screen.snapshot().catch(() => new Uint8Array(0)).then((data) => {
    scope.postMessage({ id, type: "snapshot", request, data });
  });
}

async function end(id: number, tape: WorkerTape, time: number): Promise<void> {
  write(id, tape, (writer) => writer.end(time));
  waiting.delete(id);
  if (tape.failure) markTorn(tape, time, tape.failure);
  try {
    await tape.file?.close();
  } catch (error) {
    scope.postMessage({ id, type: "failed", failure: failureOf(error) });
  }
  scope.postMessage({ id, type: "ended", size: tape.file?.size ?? 0 });
}

/** There may be space again for so little. */
function markTorn({ file }: WorkerTape, time: number, { message }: Failure): void {
  try {
    if (file) new TapeWriter(file).torn(time, message);
  } catch {
    // Then the end that is missing says it.
  }
}

function failureOf(error: unknown): Failure {
  return { diskFull: isDiskFull(error), message: messageOf(error) };
}
