/**
 * One session channel: what the client asks for before it starts, and then what it is for: a
 * program of its own, run as the OS user with a terminal or without, or a place in a session that
 * runs already. A program without a terminal ends with its channel; neither leaves a process behind.
 */
import type { RecordingMode } from "../../audit/events.ts";
import { utf8Encode } from "../../base/bytes.ts";
import { AccessDenied, BadParameter, LimitExceeded, messageOf } from "../../base/errors.ts";
import type { ClusterCache } from "../../host/cache.ts";
import { PROXIED_SESSION } from "../../host/proxied_session.ts";
import type { RunningSessions } from "../../host/running_sessions.ts";
import type { Tape, TapeStarter } from "../../recording/tape.ts";
import type { JoinMode } from "../../resources/types.ts";
import type {
  PtyRequest,
  ServerChannel,
  ServerConnection,
  SessionHandlers,
  SessionStart,
  WindowSize,
} from "../../ssh/server.ts";
import type { SessionForwarding } from "../forward/session_forwarding.ts";
import {
  acceptsClientVariable,
  MAX_CLIENT_VARIABLES,
  parseUserEnvironment,
  sessionEnvironment,
} from "../process/environment.ts";
import { type Launch, planLaunch } from "../process/launch.ts";
import { hasNoLoginShell, messageOfTheDay } from "../process/login_checks.ts";
import type { OsUser } from "../process/os_user.ts";
import { readUserFile } from "../process/user_file.ts";
import { DEFAULT_SIZE, type TerminalSize } from "../pty/pty.ts";
import type { NodeUser } from "./authorizer.ts";
import { JoinRequest } from "./join_request.ts";
import { LiveSession } from "./live_session.ts";
import { Party } from "./party.ts";
import { PipedSession } from "./piped_session.ts";
import { type OpenTerminal, openTerminal } from "./program.ts";
import { type ConnectionFacts, type SessionAudit, sizeText } from "./session_audit.ts";
import { SessionProgram } from "./session_program.ts";
import { startTape } from "./session_tape.ts";

export interface SessionOptions {
  /** Unless a proxy has given it another one. */
  readonly id: string;
  /** The id that a proxy says to record the session under; undefined when it does not prove it. */
  readonly proxied: (value: string) => string | undefined;
  readonly connection: ServerConnection<NodeUser>;
  readonly audit: SessionAudit;
  /** How the audit log names the connection. */
  readonly facts: ConnectionFacts;
  /** False when the audit log might not keep what happens: then nothing may happen. */
  readonly auditWorks: () => boolean;
  readonly cluster: string;
  readonly cache: Pick<ClusterCache, "get">;
  readonly sessions: RunningSessions;
  readonly tapes: TapeStarter;
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

const SFTP = "sftp";
const MAX_USER_ENVIRONMENT = 64 * 1024;

export class Session {
  readonly #options: SessionOptions;
  readonly #clientEnv: Record<string, string> = {};
  readonly #joining = new JoinRequest();
  /** Its id at the proxy that records it. */
  #proxied: string | undefined;
  #pty: PtyRequest | undefined;
  #piped: PipedSession | undefined;
  /** A session on a terminal, and who this channel is in it. */
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
        this.#live?.session.leave(this.#live.party);
        this.#piped?.close();
      },
    };
  }

  get #user(): OsUser {
    return this.#options.connection.identity.osUser;
  }

  get #id(): string {
    return this.#proxied ?? this.#options.id;
  }

  #setEnv(name: string, value: string): boolean {
    if (name === PROXIED_SESSION) return this.#setProxied(value);
    if (this.#joining.take(name, value)) return true;
    if (Object.keys(this.#clientEnv).length >= MAX_CLIENT_VARIABLES) return false;
    if (!acceptsClientVariable(name, value)) return false;
    this.#clientEnv[name] = value;
    return true;
  }

  #setProxied(value: string): boolean {
    if (this.#proxied !== undefined) return false;
    this.#proxied = this.#options.proxied(value);
    if (this.#proxied !== undefined) this.#options.audit.isSeenByProxy(this.#proxied);
    return this.#proxied !== undefined;
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
    this.#live?.session.signal(this.#live.party, name);
    this.#piped?.signal(name);
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
      cols: this.#pty?.cols ?? 0,
      channel,
      fields: facts,
      onActivity,
      tell: (event) =>
        connection.sendGlobalRequest("x-teleport-event", utf8Encode(JSON.stringify(event))),
      mayReturn,
    });
  }

  async #start(start: SessionStart, channel: ServerChannel): Promise<void> {
    const program = new SessionProgram(start, this.#forced);
    const { forwarding } = this.#options;
    try {
      this.#lent = await forwarding.environment();
      if (program.kind !== "subsystem") this.#tell(channel, forwarding.refusals);
      if (this.#pty && program.kind !== "subsystem") {
        await this.#startOnTerminal(program, channel, this.#pty);
      } else {
        await this.#startPiped(program, channel);
      }
    } finally {
      await forwarding.close();
    }
  }

  #tell(channel: ServerChannel, lines: readonly string[]): void {
    for (const line of lines) channel.stderr.write(`${line}${this.#pty ? "\r\n" : "\n"}`);
  }

  async #startOnTerminal(
    program: SessionProgram,
    channel: ServerChannel,
    pty: PtyRequest,
  ): Promise<void> {
    const { audit, recording, facts } = this.#options;
    const size = pty.cols > 0 && pty.rows > 0 ? pty : DEFAULT_SIZE;
    audit.started(sizeText(size));
    let terminal: OpenTerminal | undefined;
    let tape: Tape | undefined;
    let session: LiveSession;
    try {
      terminal = await openTerminal(this.#user, { ...pty, ...size });
      const isProxied = this.#proxied !== undefined;
      tape = await startTape({ ...this.#options, id: this.#id, isProxied }, pty.term, size);
      const greeting = program.kind === "shell" ? await messageOfTheDay(this.#user) : "";
      session = this.#openSession(program, channel, { tape, terminal, size, greeting });
    } catch (error) {
      terminal?.close();
      program.report(audit, { error: "it could not be started" });
      audit.ended({ tx: 0, rx: 0 }, { participants: [facts.user], recording });
      await tape?.end();
      throw error;
    }
    await session.ended;
  }

  #openSession(
    program: SessionProgram,
    channel: ServerChannel,
    o: { tape: Tape; terminal: OpenTerminal; size: TerminalSize; greeting: string },
  ): LiveSession {
    const { audit, sessions, recording } = this.#options;
    const launch = this.#launch(program, o.terminal);
    const party = this.#party(channel, "peer");
    const session = new LiveSession(
      {
        ...this.#identity,
        ...program.shown,
        ...o,
        launch,
        recording,
        audit,
        onOver: (outcome) => {
          remove();
          if ("reason" in outcome) audit.cutOff(outcome.reason);
          program.report(audit, "exit" in outcome ? outcome.exit : { error: outcome.reason });
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

  async #startPiped(program: SessionProgram, channel: ServerChannel): Promise<void> {
    const { audit, sessions, recording, onActivity } = this.#options;
    const { place, ...who } = this.#identity;
    const session = this.#piped = new PipedSession({
      ...who,
      place: { ...place, recording },
      channel,
      program,
      audit,
      onActivity,
    });
    const remove = sessions.add(session);
    try {
      await session.run(() => this.#launch(program));
    } finally {
      remove();
    }
  }

  /** What the list of active sessions says of this one, whatever runs. */
  get #identity() {
    const { facts, connection } = this.#options;
    const { user, roles } = connection.identity.identity;
    const { login, server_id, server_hostname, server_addr } = facts;
    return {
      id: this.#id,
      login,
      owner: { user, roles: [...roles] },
      place: { server_id, server_hostname, server_addr },
    };
  }

  #launch(program: SessionProgram, terminal?: OpenTerminal): Launch {
    const { teleportCommand } = this.#options;
    const env = this.#environment(program.original, terminal);
    const launch = planLaunch(this.#user, program.launchedBy(teleportCommand), env);
    if (this.#isClosed) throw new AccessDenied("the client has gone");
    return launch;
  }

  #environment(
    original: string | undefined,
    terminal: OpenTerminal | undefined,
  ): Record<string, string> {
    const { connection, facts, cluster, webProxyAddr, permitUserEnv } = this.#options;
    const env = sessionEnvironment(
      this.#user,
      {
        sessionId: this.#id,
        hostId: facts.server_id,
        cluster,
        teleportUser: facts.user,
        client: connection.remote,
        server: connection.local,
        ...(terminal ? { tty: terminal.path, term: this.#pty?.term || "dumb" } : {}),
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
}

function userEnvironment(user: OsUser): Record<string, string> {
  const text = readUserFile(user, `${user.home}/.tsh/environment`, MAX_USER_ENVIRONMENT);
  return text === undefined ? {} : parseUserEnvironment(text);
}
