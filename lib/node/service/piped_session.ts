/**
 * A session without a terminal: a program wired to its client's channel. It ends with the program
 * or with the channel, whichever is first, and leaves no process behind.
 */
import type { Readable } from "node:stream";
import type { ActiveSession } from "../../api/types.ts";
import { messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import type { RunningSession } from "../../host/running_sessions.ts";
import type { SessionAudit } from "../../host/session_audit.ts";
import type { ServerChannel } from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import type { Launch } from "../process/launch.ts";
import { MAX_REPORT_LENGTH, parseReport } from "../sftp/audit.ts";
import { type RunningProgram, runPiped } from "./program.ts";
import type { SessionProgram } from "./session_program.ts";

export interface PipedSessionOptions {
  readonly id: string;
  readonly owner: { readonly user: string; readonly roles: readonly string[] };
  readonly login: string;
  /** What does not change in the list of active sessions. */
  readonly place: Pick<
    ActiveSession,
    "server_id" | "server_hostname" | "server_addr" | "recording"
  >;
  readonly channel: ServerChannel;
  readonly program: SessionProgram;
  readonly audit: SessionAudit;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
}

/** In the list of active sessions. */
const MAX_SHOWN_ROLES = 100;
/** As ssh has it for what failed or was refused. */
const FAILED = 255;

export class PipedSession implements RunningSession {
  readonly #options: PipedSessionOptions;
  readonly #started = new Date().toISOString();
  readonly #bytes: () => { tx: number; rx: number };
  #running: RunningProgram | undefined;
  #isOver = false;

  /** What comes from the client waits from here on. */
  constructor(options: PipedSessionOptions) {
    this.#options = options;
    this.#bytes = countBytes(options.channel, options.onActivity);
  }

  get id(): string {
    return this.#options.id;
  }

  get owner(): { readonly user: string; readonly roles: readonly string[] } {
    return this.#options.owner;
  }

  get login(): string {
    return this.#options.login;
  }

  describe(): ActiveSession {
    const { id, owner, login, place, program } = this.#options;
    return {
      sid: id,
      user: owner.user,
      roles: owner.roles.slice(0, MAX_SHOWN_ROLES),
      login,
      ...place,
      started: this.#started,
      cols: 0,
      rows: 0,
      interactive: false,
      ...program.shown,
      parties: [{ user: owner.user, mode: "peer", joined: this.#started }],
    };
  }

  /** @param name without "SIG" */
  signal(name: string): void {
    this.#running?.signal(name);
  }

  end(reason: string): void {
    const { audit, channel } = this.#options;
    audit.cutOff(reason);
    channel.stderr.write(`${reason}\n`);
    channel.exit(FAILED);
    this.close();
  }

  /**
   * Runs the program to its end, tells the client and the audit log.
   *
   * @throws what `launch` throws, OsError when the program cannot be started
   */
  async run(launch: () => Launch): Promise<void> {
    const { channel, program, audit } = this.#options;
    audit.started(undefined);
    let exit: ChildExit | undefined;
    try {
      exit = await this.#run(launch());
      // First, because the end of stdout may be the end of the channel.
      const said = new Promise<void>((resolve) => channel.stderr.end(() => resolve()));
      await Promise.race([said, channel.closed]);
      if ("code" in exit) channel.exit(exit.code);
      else channel.exitSignal(exit.signal, exit.core);
    } finally {
      this.#isOver = true;
      program.report(audit, exit ?? { error: "it could not be started" });
      audit.ended(this.#bytes());
      await this.close();
    }
  }

  /** Ends every process of it. */
  async close(): Promise<void> {
    try {
      await this.#running?.close();
    } catch (error) {
      log("node").warn("A session was not cleared away", { error: messageOf(error) });
    }
  }

  async #run(launch: Launch): Promise<ChildExit> {
    const { channel, program } = this.#options;
    this.#running = program.kind === "subsystem"
      ? runPiped(launch, channel, (lines) => this.#readReports(lines))
      : runPiped(launch, channel);
    return await this.#running.ended;
  }

  /** What the SFTP server, a process of the user's, says that it does. */
  #readReports(lines: Readable): void {
    forEachLine(lines, (line) => {
      if (this.#isOver) return;
      const report = parseReport(line);
      if (report) this.#options.audit.fileOperation(report);
      else log("node").warn("The SFTP server said", { line: line.slice(0, 500) });
    });
  }
}

/** Counts what goes both ways from here on. */
function countBytes(
  { stream, stderr }: ServerChannel,
  onActivity: () => void,
): () => { tx: number; rx: number } {
  let rx = 0;
  let tx = 0;
  stream.on("data", (chunk: Uint8Array) => {
    rx += chunk.length;
    onActivity();
  }).pause();
  for (const output of [stream, stderr]) {
    output.on("pipe", (source: Readable) => {
      source.on("data", (chunk: Uint8Array) => {
        tx += chunk.length;
        onActivity();
      });
    });
  }
  return () => ({ tx, rx });
}

/** Lines that are too long are cut: they come from a process of the user's. */
function forEachLine(stream: Readable, take: (line: string) => void): void {
  const decoder = new TextDecoder();
  let pending = "";
  stream.on("data", (chunk: Uint8Array) => {
    const lines = (pending + decoder.decode(chunk, { stream: true })).split("\n");
    pending = lines.pop()!.slice(0, MAX_REPORT_LENGTH);
    lines.filter((line) => line !== "").forEach(take);
  });
}
