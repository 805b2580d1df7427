/** What the audit log hears of one session, in order, with the fields that all of it shares. */
import {
  type AuditEmitter,
  type AuditEvent,
  type ConnectionFields,
  type RecordingMode,
  type ServerFields,
  SESSION_DATA_INDEX,
  type SftpEvent,
} from "../audit/events.ts";
import { sessionEndUid } from "../audit/session_end.ts";
import type { Clock } from "../base/clock.ts";
import type { JoinMode } from "../resources/types.ts";

/** Who, where and from where: what every event of one connection has. */
export type PartyFacts =
  & { readonly user: string; readonly login: string }
  & ServerFields
  & ConnectionFields;

const PROXY_SEES: ReadonlySet<AuditEvent["event"]> = new Set<AuditEvent["event"]>([
  "session.start",
  "session.data",
  "session.end",
  "resize",
  "exec",
  "scp",
  "subsystem",
]);

/** One step of a file transfer. */
export type FileOperation = Pick<
  SftpEvent,
  "action" | "path" | "target_path" | "bytes_read" | "bytes_written" | "error"
>;

/** "columns:rows", as events have the size of a terminal. */
export function sizeText({ cols, rows }: { cols: number; rows: number }): string {
  return `${cols}:${rows}`;
}

/** How a program has ended, as events say it. */
export type Outcome = { readonly code: number } | { readonly error: string };

export class SessionAudit {
  readonly #emitter: AuditEmitter;
  #fields: PartyFacts & { sid: string };
  readonly #clock: Clock;
  #index = 0;
  #startedAt = 0;
  #isInteractive = false;
  #isSeenByProxy = false;

  constructor(
    emitter: AuditEmitter,
    fields: PartyFacts & { sid: string },
    clock: Clock,
  ) {
    this.#emitter = emitter;
    this.#fields = fields;
    this.#clock = clock;
  }

  /**
   * A proxy has this session under this id, and reports what it sees. What is left to say here is
   * what only the host can know that runs it: files, and who joins and leaves.
   */
  isSeenByProxy(sid: string): void {
    this.#fields = { ...this.#fields, sid };
    this.#isSeenByProxy = true;
  }

  /** @param size "columns:rows" of the terminal; a session without one is not interactive */
  started(size: string | undefined): void {
    this.#startedAt = this.#clock.now();
    this.#isInteractive = size !== undefined;
    this.#emit({
      event: "session.start",
      code: "T2000I",
      ...(size === undefined ? {} : { size }),
      interactive: this.#isInteractive,
    });
  }

  /** @param by whoever did it, if not the owner */
  resized(size: string, by?: PartyFacts): void {
    this.#emit({ ...by, event: "resize", code: "T2002I", size });
  }

  joined(by: PartyFacts, mode: JoinMode): void {
    this.#emit({ ...by, event: "session.join", code: "T2001I", mode });
  }

  /** Somebody left a session that goes on. */
  left(by: PartyFacts): void {
    this.#emit({ ...by, event: "session.leave", code: "T2003I" });
  }

  /** Somebody ended the session for all who were in it. */
  cutOff(reason: string): void {
    this.#emit({ event: "client.disconnect", code: "T3006I", reason });
  }

  /**
   * @param bytes sent to the clients, and received from them
   * @param shared of a session on a terminal: who was in it, where it was recorded, and what of
   * the recording is missing
   */
  ended(
    bytes: { tx: number; rx: number },
    shared?: {
      participants: string[];
      recording: RecordingMode;
      lost?: "nothing" | "end" | "all";
    },
  ): void {
    this.#emit({ event: "session.data", code: "T2006I", ...bytes, ei: SESSION_DATA_INDEX });
    this.#emit({
      event: "session.end",
      code: "T2004I",
      uid: sessionEndUid(this.#fields.sid),
      enhanced_recording: false,
      interactive: this.#isInteractive,
      participants: shared?.participants ?? [this.#fields.user],
      session_start: new Date(this.#startedAt).toISOString(),
      session_stop: new Date(this.#clock.now()).toISOString(),
      ...(shared ? { session_recording: shared.lost === "all" ? "off" : shared.recording } : {}),
      ...(shared?.lost === "end" ? { torn: true as const } : {}),
      ei: SESSION_DATA_INDEX + 1,
    });
  }

  executed(command: string, outcome: Outcome): void {
    this.#emit({
      event: "exec",
      code: succeeded(outcome) ? "T3002I" : "T3002E",
      command,
      ...exitFields(outcome),
    });
  }

  copied(
    copy: { command: string; path: string; action: "upload" | "download" },
    outcome: Outcome,
  ): void {
    const ok = succeeded(outcome);
    this.#emit({
      event: "scp",
      code: copy.action === "upload" ? ok ? "T3005I" : "T3005E" : ok ? "T3004I" : "T3004E",
      ...copy,
      ...exitFields(outcome),
    });
  }

  subsystem(name: string, outcome: Outcome): void {
    const { exitError } = exitFields(outcome);
    this.#emit({
      event: "subsystem",
      code: succeeded(outcome) ? "T3001I" : "T3001E",
      name,
      ...(exitError === undefined ? {} : { exitError }),
    });
  }

  fileOperation(operation: FileOperation): void {
    this.#emit({
      event: "sftp",
      code: operation.error === undefined ? "TS001I" : "TS001E",
      ...operation,
    });
  }

  // deno-lint-ignore no-explicit-any -- a union of events minus what all of them share
  #emit(own: Record<string, any> & { event: AuditEvent["event"] }): void {
    if (this.#isSeenByProxy && PROXY_SEES.has(own.event)) return;
    this.#emitter.emit({ ...this.#fields, ei: this.#index++, ...own } as AuditEvent);
  }
}

function succeeded(outcome: Outcome): boolean {
  return "code" in outcome && outcome.code === 0;
}

function exitFields(outcome: Outcome): { exitCode?: string; exitError?: string } {
  if ("error" in outcome) return { exitError: outcome.error };
  const exitCode = String(outcome.code);
  return outcome.code === 0 ? { exitCode } : { exitCode, exitError: `exit status ${exitCode}` };
}
