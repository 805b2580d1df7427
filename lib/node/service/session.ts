/**
 * One session: what the client asks for on a channel before it starts, the program that is then
 * run as the OS user, and what the audit log hears of it. It ends with the program or with the
 * channel, whichever is first, and leaves no process behind.
 */
import type { Readable } from "node:stream";
import { AccessDenied, LimitExceeded, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import type {
  PtyRequest,
  ServerChannel,
  ServerConnection,
  SessionHandlers,
  SessionStart,
  WindowSize,
} from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import {
  acceptsClientVariable,
  MAX_CLIENT_VARIABLES,
  parseUserEnvironment,
  sessionEnvironment,
} from "../process/environment.ts";
import { planLaunch, type Program } from "../process/launch.ts";
import { hasNoLoginShell, messageOfTheDay } from "../process/login_checks.ts";
import type { OsUser } from "../process/os_user.ts";
import { readUserFile } from "../process/user_file.ts";
import { MAX_REPORT_LENGTH, parseReport } from "../sftp/audit.ts";
import type { NodeUser } from "./authorizer.ts";
import { type OpenTerminal, openTerminal, type RunningProgram, runPiped } from "./program.ts";
import { ownScp, parseScpCommand, type ScpCommand } from "./scp_command.ts";
import type { Outcome, SessionAudit } from "./session_audit.ts";

export interface SessionOptions {
  readonly id: string;
  readonly connection: ServerConnection<NodeUser>;
  readonly audit: SessionAudit;
  /** False when the audit log might not keep what happens: then nothing may happen. */
  readonly auditWorks: () => boolean;
  readonly hostId: string;
  readonly cluster: string;
  readonly webProxyAddr?: string | undefined;
  readonly permitUserEnv: boolean;
  /** This program's command line, up to the verb. */
  readonly teleportCommand: readonly string[];
  /** Told of the session's end: what it has to say to the audit log is said then. */
  readonly onStart: (ended: Promise<void>) => void;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
  /** The channel is gone. */
  readonly onClosed: () => void;
}

const SFTP = "sftp";
const MAX_USER_ENVIRONMENT = 64 * 1024;

export class Session {
  readonly #options: SessionOptions;
  readonly #clientEnv: Record<string, string> = {};
  #pty: PtyRequest | undefined;
  #terminal: OpenTerminal | undefined;
  #program: RunningProgram | undefined;
  #isClosed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get handlers(): SessionHandlers {
    return {
      env: (name, value) => this.#setEnv(name, value),
      pty: (request) => this.#setPty(request),
      windowChange: (size) => this.#resize(size),
      signal: (name) => this.#program?.signal(name),
      authorize: (start) => this.#authorize(start),
      start: (start, channel) => {
        const ended = this.#start(start, channel);
        this.#options.onStart(ended);
        return ended;
      },
      closed: () => {
        this.#options.onClosed();
        this.#close();
      },
    };
  }

  get #user(): OsUser {
    return this.#options.connection.identity.osUser;
  }

  #setEnv(name: string, value: string): boolean {
    if (Object.keys(this.#clientEnv).length >= MAX_CLIENT_VARIABLES) return false;
    if (!acceptsClientVariable(name, value)) return false;
    this.#clientEnv[name] = value;
    return true;
  }

  #setPty(request: PtyRequest): boolean {
    if (!this.#options.connection.identity.identity.permitPty) return false;
    this.#pty = request;
    return true;
  }

  #resize(size: WindowSize): void {
    if (!this.#pty) return;
    this.#pty = { ...this.#pty, ...size };
    this.#program?.resize(size);
    if (this.#program) this.#options.audit.resized(sizeText(size));
  }

  #authorize(start: SessionStart): void {
    if (!this.#options.auditWorks()) {
      throw new LimitExceeded(
        "this node's audit spool is full, and nothing may happen unseen: " +
          "the auth service must come back, or disk space",
      );
    }
    if (start.kind !== "subsystem" || this.#forced !== undefined) return;
    if (start.name !== SFTP) throw new AccessDenied(`this node has no subsystem "${start.name}"`);
    if (hasNoLoginShell(this.#user)) {
      throw new AccessDenied(`the account "${this.#user.name}" may not transfer files`);
    }
  }

  get #forced(): string | undefined {
    return this.#options.connection.identity.identity.forceCommand;
  }

  async #start(start: SessionStart, channel: ServerChannel): Promise<void> {
    channel.stream.on("error", () => {}); // told by closed()
    const forced = this.#forced;
    const asked = forced === undefined
      ? start
      : { kind: "exec" as const, command: forced, original: originalCommand(start) };
    const { audit } = this.#options;
    const bytes = countBytes(channel, this.#options.onActivity);
    audit.started(this.#pty ? sizeText(this.#pty) : undefined);
    let exit: ChildExit | undefined;
    try {
      exit = await this.#run(asked, channel);
      // First, because the end of stdout may be the end of the channel.
      const said = new Promise<void>((resolve) => channel.stderr.end(() => resolve()));
      await Promise.race([said, channel.closed]);
      if ("code" in exit) channel.exit(exit.code);
      else channel.exitSignal(exit.signal, exit.core);
    } finally {
      this.#report(asked, exit);
      audit.ended(bytes());
      await this.#close();
    }
  }

  async #run(
    start: SessionStart & { original?: string | undefined },
    channel: ServerChannel,
  ): Promise<ChildExit> {
    const user = this.#user;
    if (this.#pty) this.#terminal = await openTerminal(user, this.#pty);
    const env = this.#environment(start.original);
    const launch = planLaunch(user, this.#programOf(start), env);
    if (this.#isClosed) throw new AccessDenied("the client has gone");
    if (start.kind === "subsystem") {
      this.#program = runPiped(launch, channel, (lines) => this.#readReports(lines));
    } else if (this.#terminal) {
      if (start.kind === "shell") channel.stream.write(await greeting(user));
      this.#program = this.#terminal.run(launch, channel);
      // It may have changed since the terminal was opened.
      if (this.#pty) this.#program.resize(this.#pty);
    } else {
      this.#program = runPiped(launch, channel);
    }
    return await this.#program.ended;
  }

  #programOf(start: SessionStart): Program {
    const { teleportCommand } = this.#options;
    switch (start.kind) {
      case "shell":
        return { kind: "shell" };
      case "exec": {
        const scp = this.#forced === undefined ? parseScpCommand(start.command) : undefined;
        return { kind: "command", command: scp ? ownScp(teleportCommand, scp) : start.command };
      }
      case "subsystem":
        return { kind: "argv", argv: [teleportCommand[0]!, ...teleportCommand.slice(1), SERVER] };
    }
  }

  #environment(original: string | undefined): Record<string, string> {
    const { connection, id, hostId, cluster, webProxyAddr, permitUserEnv } = this.#options;
    const terminal = this.#terminal && this.#pty
      ? { tty: this.#terminal.path, term: this.#pty.term || "dumb" }
      : {};
    const env = sessionEnvironment(
      this.#user,
      {
        sessionId: id,
        hostId,
        cluster,
        teleportUser: connection.identity.identity.user,
        client: connection.remote,
        server: connection.local,
        ...terminal,
        ...(webProxyAddr === undefined ? {} : { webProxyAddr }),
      },
      this.#clientEnv,
      permitUserEnv ? userEnvironment(this.#user) : {},
    );
    return original === undefined ? env : { ...env, SSH_ORIGINAL_COMMAND: original };
  }

  #readReports(lines: Readable): void {
    forEachLine(lines, (line) => {
      const report = parseReport(line);
      if (report) this.#options.audit.fileOperation(report);
      else log("node").warn("The SFTP server said", { line: line.slice(0, 500) });
    });
  }

  #report(start: SessionStart, exit: ChildExit | undefined): void {
    const { audit } = this.#options;
    const outcome: Outcome = exit === undefined
      ? { error: "it could not be started" }
      : "code" in exit
      ? exit
      : { error: `ended by signal ${exit.signal}` };
    if (start.kind === "subsystem") return audit.subsystem(start.name, outcome);
    if (start.kind === "shell") return;
    const scp: ScpCommand | undefined = this.#forced === undefined
      ? parseScpCommand(start.command)
      : undefined;
    if (scp) {
      audit.copied({ command: start.command, path: scp.path, action: scp.action }, outcome);
    } else {
      audit.executed(start.command, outcome);
    }
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    try {
      if (this.#program) await this.#program.close();
      else this.#terminal?.close();
    } catch (error) {
      log("node").warn("A session was not cleared away", { error: messageOf(error) });
    }
  }
}

/** The hidden verb of `teleport` that serves SFTP. */
const SERVER = "sftp-server";

function originalCommand(start: SessionStart): string | undefined {
  return start.kind === "exec"
    ? start.command
    : start.kind === "subsystem"
    ? start.name
    : undefined;
}

function sizeText({ cols, rows }: { cols: number; rows: number }): string {
  return `${cols}:${rows}`;
}

/** For a terminal in raw mode, which a new line alone does not take to the left. */
async function greeting(user: OsUser): Promise<string> {
  return (await messageOfTheDay(user)).replace(/\r?\n/g, "\r\n");
}

function userEnvironment(user: OsUser): Record<string, string> {
  const text = readUserFile(user, `${user.home}/.tsh/environment`, MAX_USER_ENVIRONMENT);
  return text === undefined ? {} : parseUserEnvironment(text);
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
