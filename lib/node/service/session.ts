/**
 * One session channel: what the client asks for before it starts, and then what it is for: a
 * program of its own, run as the OS user with a terminal or without, or a place in a session that
 * runs already. A program without a terminal ends with its channel; neither leaves a process behind.
 */
import type { Readable } from "node:stream";
import type { ActiveSession } from "../../api/types.ts";
import type { RecordingMode } from "../../audit/events.ts";
import { utf8Encode } from "../../base/bytes.ts";
import { AccessDenied, BadParameter, LimitExceeded, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { formatAddr } from "../../base/net.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { RecordingMeta } from "../../recording/meta.ts";
import type { Tape, TapeOptions, TapeStarter } from "../../recording/tape.ts";
import type { JoinMode } from "../../resources/types.ts";
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
import type { SessionForwarding } from "../forward/session_forwarding.ts";
import { type Launch, planLaunch, type Program } from "../process/launch.ts";
import { hasNoLoginShell, messageOfTheDay } from "../process/login_checks.ts";
import type { OsUser } from "../process/os_user.ts";
import { readUserFile } from "../process/user_file.ts";
import { DEFAULT_SIZE, type TerminalSize } from "../pty/pty.ts";
import { MAX_REPORT_LENGTH, parseReport } from "../sftp/audit.ts";
import type { NodeUser } from "./authorizer.ts";
import { JoinRequest } from "./join_request.ts";
import { LiveSession } from "./live_session.ts";
import { Party } from "./party.ts";
import { type OpenTerminal, openTerminal, type RunningProgram, runPiped } from "./program.ts";
import type { RunningSessions } from "../../host/running_sessions.ts";
import { parseScpCommand, type ScpCommand } from "../../host/scp_command.ts";
import { ownScp } from "./scp_command.ts";
import {
  type ConnectionFacts,
  type Outcome,
  type SessionAudit,
  sizeText,
} from "./session_audit.ts";

export interface SessionOptions {
  readonly id: string;
  readonly connection: ServerConnection<NodeUser>;
  readonly audit: SessionAudit;
  /** How the audit log names the connection. */
  readonly facts: ConnectionFacts;
  /** False when the audit log might not keep what happens: then nothing may happen. */
  readonly auditWorks: () => boolean;
  readonly hostId: string;
  readonly cluster: string;
  readonly cache: Pick<ClusterCache, "get">;
  readonly sessions: RunningSessions;
  readonly tapes: TapeStarter | undefined;
  readonly forwarding: SessionForwarding;
  /** Where the cluster wants sessions recorded. */
  readonly recording: RecordingMode;
  readonly webProxyAddr?: string | undefined;
  readonly permitUserEnv: boolean;
  /** This program's command line, up to the verb. */
  readonly teleportCommand: readonly string[];
  /** Told of the session's end: what it has to say to the audit log is said then. */
  readonly onStart: (ended: Promise<void>) => void;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
  /** False when the connection was ended by us: then its session does not wait for its return. */
  readonly mayReturn: () => boolean;
  /** The join that was asked for is refused. */
  readonly onJoinRefused: (reason: string) => void;
  /** The channel is gone. */
  readonly onClosed: () => void;
}

type Asked = SessionStart & { original?: string | undefined };

const SFTP = "sftp";
/** Of a command in the list of active sessions, in characters. */
const MAX_SHOWN_COMMAND = 1000;
const MAX_USER_ENVIRONMENT = 64 * 1024;

export class Session {
  readonly #options: SessionOptions;
  readonly #clientEnv: Record<string, string> = {};
  readonly #joining = new JoinRequest();
  #pty: PtyRequest | undefined;
  #terminal: OpenTerminal | undefined;
  /** Without a terminal. */
  #program: RunningProgram | undefined;
  /** With one, and who this channel is in it. */
  #live: { session: LiveSession; party: Party } | undefined;
  /** What lets the program find the client's agent and display. */
  #lent: Record<string, string> = {};
  #isClosed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get handlers(): SessionHandlers {
    return {
      env: (name, value) => this.#setEnv(name, value),
      pty: (request) => this.#setPty(request),
      windowChange: (size) => this.#resize(size),
      signal: (name) => this.#signal(name),
      agentForward: () => this.#options.forwarding.agentForward(),
      x11: (request) => this.#options.forwarding.x11(request),
      authorize: (start) => this.#authorize(start),
      start: (start, channel) => {
        channel.stream.on("error", () => {}); // told by closed()
        if (this.#joining.isThere) return this.#join(channel);
        const ended = this.#start(start, channel);
        this.#options.onStart(ended);
        return ended;
      },
      closed: () => {
        this.#options.onClosed();
        this.#isClosed = true;
        if (this.#live) this.#live.session.leave(this.#live.party);
        else this.#close();
      },
    };
  }

  get #user(): OsUser {
    return this.#options.connection.identity.osUser;
  }

  #setEnv(name: string, value: string): boolean {
    if (this.#joining.take(name, value)) return true;
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
    this.#live?.session.resize(this.#live.party, size);
  }

  #signal(name: string): void {
    if (this.#live) this.#live.session.signal(this.#live.party, name);
    else this.#program?.signal(name);
  }

  #authorize(start: SessionStart): void {
    if (!this.#options.auditWorks()) {
      throw new LimitExceeded(
        "this node's audit spool is full, and nothing may happen unseen: " +
          "the auth service must come back, or disk space",
      );
    }
    if (this.#joining.isThere) return this.#authorizeJoin(start);
    if (start.kind !== "subsystem" || this.#forced !== undefined) return;
    if (start.name !== SFTP) throw new AccessDenied(`this node has no subsystem "${start.name}"`);
    if (hasNoLoginShell(this.#user)) {
      throw new AccessDenied(`the account "${this.#user.name}" may not transfer files`);
    }
  }

  #authorizeJoin(start: SessionStart): void {
    try {
      if (this.#forced !== undefined) {
        throw new AccessDenied("this certificate is for one command, it cannot join a session");
      }
      if (start.kind !== "shell" || !this.#pty) {
        throw new BadParameter(
          "a session is joined with a shell on a terminal (ssh -t), without a command",
        );
      }
      this.#joining.find(this.#options);
    } catch (error) {
      this.#options.onJoinRefused(messageOf(error));
      throw error;
    }
  }

  get #forced(): string | undefined {
    return this.#options.connection.identity.identity.forceCommand;
  }

  /** A place in a session that runs. It may have ended since it was asked for. */
  #join(channel: ServerChannel): void {
    const session = this.#joining.find(this.#options);
    const party = this.#party(channel, this.#joining.mode);
    this.#live = { session, party };
    session.join(party);
  }

  #party(channel: ServerChannel, mode: JoinMode): Party {
    const { connection, facts, onActivity, mayReturn } = this.#options;
    return new Party({
      user: connection.identity.identity.user,
      mode,
      term: this.#pty?.term ?? "",
      channel,
      fields: facts,
      onActivity,
      tell: (event) =>
        connection.sendGlobalRequest("x-teleport-event", utf8Encode(JSON.stringify(event))),
      mayReturn,
    });
  }

  async #start(start: SessionStart, channel: ServerChannel): Promise<void> {
    const forced = this.#forced;
    const asked: Asked = forced === undefined
      ? start
      : { kind: "exec" as const, command: forced, original: originalCommand(start) };
    const { forwarding } = this.#options;
    try {
      this.#lent = await forwarding.environment();
      if (asked.kind !== "subsystem") this.#tell(channel, forwarding.refusals);
      if (this.#pty && asked.kind !== "subsystem") {
        await this.#startOnTerminal(asked, channel, this.#pty);
      } else {
        await this.#startPiped(asked, channel);
      }
    } finally {
      await forwarding.close();
    }
  }

  #tell(channel: ServerChannel, lines: readonly string[]): void {
    for (const line of lines) channel.stderr.write(`${line}${this.#pty ? "\r\n" : "\n"}`);
  }

  async #startOnTerminal(asked: Asked, channel: ServerChannel, pty: PtyRequest): Promise<void> {
    const { audit, recording } = this.#options;
    const size = pty.cols > 0 && pty.rows > 0 ? pty : DEFAULT_SIZE;
    audit.started(sizeText(pty));
    let tape: Tape | undefined;
    let session: LiveSession;
    try {
      this.#terminal = await openTerminal(this.#user, { ...pty, ...size });
      tape = await this.#startTape(pty.term, size);
      const greeting = asked.kind === "shell" ? await messageOfTheDay(this.#user) : "";
      session = this.#openSession(asked, channel, {
        tape,
        terminal: this.#terminal,
        size,
        greeting,
      });
    } catch (error) {
      this.#terminal?.close();
      this.#report(asked, undefined);
      audit.ended({ tx: 0, rx: 0 }, { participants: [this.#options.facts.user], recording });
      await tape?.end();
      throw error;
    }
    await session.ended;
  }

  #openSession(
    asked: Asked,
    channel: ServerChannel,
    o: { tape: Tape | undefined; terminal: OpenTerminal; size: TerminalSize; greeting: string },
  ): LiveSession {
    const { id, audit, facts, sessions, recording } = this.#options;
    const launch = this.#launch(asked);
    const party = this.#party(channel, "peer");
    const session = new LiveSession(
      {
        id,
        owner: this.#owner,
        login: facts.login,
        ...commandOf(asked),
        terminal: o.terminal,
        launch,
        size: o.size,
        tape: o.tape,
        recording,
        audit,
        place: placeOf(facts),
        onOver: (outcome) => {
          remove();
          if ("reason" in outcome) audit.cutOff(outcome.reason);
          if ("exit" in outcome) this.#report(asked, outcome.exit);
          else this.#report(asked, undefined, outcome.reason);
        },
        onChange: () => sessions.changed(),
      },
      party,
      // For a terminal in raw mode, which a new line alone does not take to the left.
      o.greeting.replace(/\r?\n/g, "\r\n"),
    );
    const remove = sessions.add(session);
    this.#live = { session, party };
    // It may have changed since the terminal was opened.
    if (this.#pty) session.resize(party, this.#pty);
    return session;
  }

  async #startTape(term: string, { cols, rows }: TerminalSize): Promise<Tape | undefined> {
    const { id, cluster, facts, recording, connection, tapes } = this.#options;
    const meta: RecordingMeta = {
      sid: id,
      user: facts.user,
      login: facts.login,
      server_id: facts.server_id,
      server_hostname: facts.server_hostname,
      server_addr: facts.server_addr,
      addr_remote: formatAddr(connection.remote),
      cluster,
      started: new Date().toISOString(),
      cols,
      rows,
      term,
      recorded_by: "node",
    };
    return await tapes?.start({ meta, mode: tapeMode(recording, connection.relayedBy) });
  }

  async #startPiped(asked: Asked, channel: ServerChannel): Promise<void> {
    const { audit, sessions } = this.#options;
    const bytes = countBytes(channel, this.#options.onActivity);
    audit.started(undefined);
    const remove = sessions.add({
      id: this.#options.id,
      owner: this.#owner,
      login: this.#options.facts.login,
      describe: () => this.#describe(asked, started),
      end: (reason) => this.#cutOff(channel, reason),
    });
    const started = new Date().toISOString();
    let exit: ChildExit | undefined;
    try {
      exit = await this.#runPiped(asked, channel);
      // First, because the end of stdout may be the end of the channel.
      const said = new Promise<void>((resolve) => channel.stderr.end(() => resolve()));
      await Promise.race([said, channel.closed]);
      if ("code" in exit) channel.exit(exit.code);
      else channel.exitSignal(exit.signal, exit.core);
    } finally {
      remove();
      this.#report(asked, exit);
      audit.ended(bytes());
      await this.#close();
    }
  }

  async #runPiped(asked: Asked, channel: ServerChannel): Promise<ChildExit> {
    const launch = this.#launch(asked);
    this.#program = asked.kind === "subsystem"
      ? runPiped(launch, channel, (lines) => this.#readReports(lines))
      : runPiped(launch, channel);
    return await this.#program.ended;
  }

  #launch(asked: Asked): Launch {
    const launch = planLaunch(
      this.#user,
      this.#programOf(asked),
      this.#environment(asked.original),
    );
    if (this.#isClosed) throw new AccessDenied("the client has gone");
    return launch;
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
    return {
      ...env,
      ...this.#lent,
      ...(original === undefined ? {} : { SSH_ORIGINAL_COMMAND: original }),
    };
  }

  #readReports(lines: Readable): void {
    forEachLine(lines, (line) => {
      const report = parseReport(line);
      if (report) this.#options.audit.fileOperation(report);
      else log("node").warn("The SFTP server said", { line: line.slice(0, 500) });
    });
  }

  get #owner(): { user: string; roles: string[] } {
    const { user, roles } = this.#options.connection.identity.identity;
    return { user, roles: [...roles] };
  }

  /** Of a session without a terminal. */
  #describe(asked: Asked, started: string): ActiveSession {
    const { id, facts, recording } = this.#options;
    const { user, roles } = this.#owner;
    return {
      sid: id,
      user,
      roles,
      login: facts.login,
      ...placeOf(facts),
      started,
      cols: 0,
      rows: 0,
      interactive: false,
      ...commandOf(asked),
      parties: [{ user, mode: "peer", joined: started }],
      recording,
    };
  }

  /** Of a session without a terminal: its client reads the reason. */
  #cutOff(channel: ServerChannel, reason: string): void {
    this.#options.audit.cutOff(reason);
    channel.stderr.write(`${reason}\n`);
    channel.exit(255);
    this.#close();
  }

  #report(start: SessionStart, exit: ChildExit | undefined, why = "it could not be started"): void {
    const { audit } = this.#options;
    const outcome: Outcome = exit === undefined
      ? { error: why }
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

function placeOf(facts: ConnectionFacts) {
  const { server_id, server_hostname, server_addr } = facts;
  return { server_id, server_hostname, server_addr };
}

function commandOf(asked: SessionStart): { command?: string } {
  const command = originalCommand(asked);
  return command === undefined ? {} : { command: command.slice(0, MAX_SHOWN_COMMAND) };
}

/**
 * In the modes "proxy" the proxy records; what did not come through one is recorded here, so that
 * nothing goes unseen.
 */
function tapeMode(recording: RecordingMode, relayedBy: unknown): TapeOptions["mode"] {
  const elsewhere = recording.startsWith("proxy") && relayedBy !== undefined;
  if (recording === "off" || elsewhere) return "none";
  return recording.endsWith("-sync") ? "sync" : "async";
}

function originalCommand(start: SessionStart): string | undefined {
  return start.kind === "exec"
    ? start.command
    : start.kind === "subsystem"
    ? start.name
    : undefined;
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
