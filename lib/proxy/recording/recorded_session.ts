/**
 * One session channel of a client, at the proxy: what is asked for is asked of the target in turn,
 * and what happens is recorded and reported here, as a node does it.
 */
import type { ActiveSession } from "../../api/types.ts";
import type { RecordingMode } from "../../audit/events.ts";
import { AccessDenied, ConnectionProblem, LimitExceeded, messageOf } from "../../base/errors.ts";
import { formatAddr } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import { assertMayForward } from "../../host/forward_permission.ts";
import { JOINED_SESSION, PROXIED_SESSION } from "../../host/proxied_session.ts";
import type { RunningSession, RunningSessions } from "../../host/running_sessions.ts";
import {
  type Outcome,
  type PartyFacts,
  type SessionAudit,
  sizeText,
} from "../../host/session_audit.ts";
import type { RecordingMeta } from "../../recording/meta.ts";
import type { Tape, TapeStarter } from "../../recording/tape.ts";
import type { ClientChannel, ExitStatus, SessionOptions, SshClient } from "../../ssh/client.ts";
import type {
  PtyRequest,
  ServerChannel,
  ServerConnection,
  SessionHandlers,
  SessionStart,
  WindowSize,
  X11Request,
} from "../../ssh/server.ts";
import type { RecordedUser } from "./recorded_user.ts";
import { relaySession } from "./relay_session.ts";
import { parseSessionEvent } from "./session_event.ts";
import { commandOf, NOT_STARTED, outcomeOf, reportDone } from "./session_report.ts";
import { NEEDS_AGENT, type TargetConnection } from "./target_connection.ts";

export interface RecordedSessionOptions {
  /** UUID of the session. */
  readonly id: string;
  readonly connection: ServerConnection<RecordedUser>;
  readonly target: TargetConnection;
  /** The target is a node of the cluster. */
  readonly isNode: boolean;
  /** What a node is told, so that it leaves the recording to this proxy. */
  readonly proof: () => string;
  /** Where the session runs, for its recording. */
  readonly place: Pick<RecordingMeta, "server_id" | "server_hostname" | "server_addr" | "cluster">;
  /** How the audit log names the connection. */
  readonly facts: PartyFacts;
  readonly audit: SessionAudit;
  /** False when the audit log might not keep what happens: then nothing may happen. */
  readonly auditWorks: () => boolean;
  readonly recording: RecordingMode;
  readonly tapes: TapeStarter;
  readonly sessions: RunningSessions;
  /** Told of the session's end: what it has to say to the audit log is said then. */
  readonly onStart: (ended: Promise<void>) => void;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
  /** The session did not begin. */
  readonly onRejected: (reason: string) => void;
  /** The user may not forward the display, or the target does not take it; or it does. */
  readonly onX11: (error?: string) => void;
  /** The channel is gone. */
  readonly onClosed: () => void;
}

/** What a terminal is taken for whose client does not say how large it is. */
const DEFAULT_SIZE = { cols: 80, rows: 25 };
/** RFC 4254 leaves it to us; ssh has it for what failed or was refused. */
const FAILED = 255;

export class RecordedSession implements RunningSession {
  readonly #options: RecordedSessionOptions;
  readonly #env: Record<string, string> = {};
  #started = "";
  readonly #stopped = Promise.withResolvers<string>();
  #pty: PtyRequest | undefined;
  /** Of the terminal at the target, which others may have changed who are in the session, too. */
  #size = DEFAULT_SIZE;
  #x11: X11Request | undefined;
  #wantsAgent = false;
  #command: string | undefined;
  #remote: ClientChannel | undefined;
  #tape: Tape | undefined;
  /** The owner first. */
  readonly #participants: Set<string>;
  #isClosed = false;

  constructor(options: RecordedSessionOptions) {
    this.#options = options;
    this.#participants = new Set([this.owner.user]);
  }

  get handlers(): SessionHandlers {
    const { target } = this.#options;
    return {
      env: (name, value) => this.#setEnv(name, value),
      pty: (request) => this.#setPty(request),
      windowChange: (size) => this.#resize(size),
      signal: (name) => this.#remote?.signal(name),
      agentForward: () => {
        target.agent.offer();
        return this.#wantsAgent = true;
      },
      x11: (request) => this.#setX11(request),
      authorize: () => this.#authorize(),
      start: (start, channel) => {
        channel.stream.on("error", () => {}); // told by closed()
        const ended = this.#isJoin ? this.#join(start, channel) : this.#start(start, channel);
        this.#options.onStart(ended);
        return ended;
      },
      closed: () => {
        this.#isClosed = true;
        this.#remote?.close();
        this.#options.onClosed();
      },
    };
  }

  // --- in the list of active sessions ---

  get id(): string {
    return this.#options.id;
  }

  get owner(): { readonly user: string; readonly roles: readonly string[] } {
    const { user, roles } = this.#options.connection.identity.identity;
    return { user, roles };
  }

  get login(): string {
    return this.#options.connection.username;
  }

  describe(): ActiveSession {
    const { id, facts, recording } = this.#options;
    const { user, roles } = this.owner;
    const { cols, rows } = this.#pty ? this.#size : { cols: 0, rows: 0 };
    return {
      sid: id,
      user,
      roles: [...roles],
      login: this.login,
      server_id: facts.server_id,
      server_hostname: facts.server_hostname ?? "",
      server_addr: facts.server_addr ?? "",
      target_hostname: facts.target_hostname ?? "",
      started: this.#started,
      cols,
      rows,
      // The proxy keeps no screen that somebody could join.
      interactive: false,
      ...(this.#command === undefined ? {} : { command: this.#command }),
      parties: [{ user, mode: "peer", joined: this.#started }],
      recording,
    };
  }

  end(reason: string): void {
    this.#stopped.resolve(reason);
  }

  // --- what is asked for before it starts ---

  /** Whether a place in another session is asked for: that one is recorded, where it began. */
  get #isJoin(): boolean {
    return this.#env[JOINED_SESSION] !== undefined;
  }

  #setEnv(name: string, value: string): boolean {
    // The proxy's own to say.
    if (name === PROXIED_SESSION) return false;
    this.#env[name] = value;
    return true;
  }

  #setPty(request: PtyRequest): boolean {
    if (!this.#options.connection.identity.identity.permitPty) return false;
    this.#pty = request.cols > 0 && request.rows > 0 ? request : { ...request, ...DEFAULT_SIZE };
    this.#size = this.#pty;
    return true;
  }

  #setX11(request: X11Request): boolean {
    try {
      assertMayForward("x11", this.#options.connection.identity);
      this.#x11 ??= request;
      return this.#x11 === request;
    } catch (error) {
      this.#options.onX11(messageOf(error));
      return false;
    }
  }

  #authorize(): void {
    const { auditWorks, target, isNode, onRejected } = this.#options;
    try {
      if (!auditWorks()) {
        throw new LimitExceeded(
          "this proxy's audit spool is full, and nothing may happen unseen: " +
            "the auth service must come back, or disk space",
        );
      }
      if (this.#isJoin && !isNode) {
        throw new AccessDenied(
          "a session on a host that is no node of the cluster is recorded at the proxy, and " +
            "cannot be joined",
        );
      }
      target.agent.withhold();
      if (!target.agent.isOffered) throw new AccessDenied(NEEDS_AGENT);
    } catch (error) {
      onRejected(messageOf(error));
      throw error;
    }
  }

  // --- from its start to its end ---

  /** A place in a session that runs on a node, which decides, and reports it. */
  async #join(start: SessionStart, channel: ServerChannel): Promise<void> {
    const { target, onActivity } = this.#options;
    const remote = await this.#open(await target.client(), start);
    this.#passOn(channel, await relaySession(channel, remote, { onActivity }).ended);
  }

  async #start(start: SessionStart, channel: ServerChannel): Promise<void> {
    const { connection, target, audit, sessions, isNode, recording, onRejected } = this.#options;
    let client: SshClient;
    try {
      client = await target.client();
      if (this.#isClosed) throw new AccessDenied("the client has gone");
      this.#started = new Date().toISOString();
      if (this.#pty && start.kind !== "subsystem") this.#tape = await this.#startTape(this.#pty);
    } catch (error) {
      if (!this.#isClosed) onRejected(messageOf(error));
      throw error;
    }
    this.#greet(start, channel);
    this.#command = commandOf(start);
    audit.started(this.#tape ? sizeText(this.#size) : undefined);
    // A node lists its own.
    const remove = isNode ? () => {} : sessions.add(this);
    const result = { bytes: { tx: 0, rx: 0 }, outcome: NOT_STARTED };
    const onEvent = (event: Uint8Array) => this.#onEvent(event);
    target.listeners.add(onEvent);
    try {
      await this.#run(client, start, channel, result);
    } finally {
      remove();
      target.listeners.delete(onEvent);
      reportDone(audit, start, connection.identity.identity.forceCommand, result.outcome);
      const lost = this.#tape?.lost;
      const participants = [...this.#participants];
      audit.ended(result.bytes, lost && { participants, recording, lost });
      await this.#tape?.end();
    }
  }

  /** With what the host says to those who log in. */
  #greet({ kind }: SessionStart, { stderr }: ServerChannel): void {
    const { banner } = this.#options.target;
    if (banner === "" || kind === "subsystem") return;
    // A terminal in raw mode is not taken to the left by a line feed alone.
    stderr.write(this.#pty ? banner.replaceAll("\n", "\r\n") : banner);
  }

  async #run(
    client: SshClient,
    start: SessionStart,
    channel: ServerChannel,
    result: { bytes: { readonly tx: number; readonly rx: number }; outcome: Outcome },
  ): Promise<void> {
    const remote = await this.#open(client, start);
    const tape = this.#tape;
    const { onActivity, audit } = this.#options;
    const relay = relaySession(channel, remote, { tape, onActivity });
    result.bytes = relay.bytes;
    const end = await Promise.race([
      relay.ended,
      this.#stopped.promise,
      ...(tape ? [tape.failed.then(({ message }) => message)] : []),
    ]);
    if (typeof end === "string") {
      result.outcome = { error: end };
      audit.cutOff(end);
      remote.close();
      // On a terminal stderr would overtake output that still waits, and scroll away before it.
      const out = this.#pty ? channel.stream : channel.stderr;
      out.write(`${printable(end)}\r\n`);
      channel.exit(FAILED);
    } else {
      result.outcome = outcomeOf(end);
      this.#passOn(channel, end);
    }
  }

  async #open(client: SshClient, start: SessionStart): Promise<ClientChannel> {
    const { connection, isNode, proof, onX11 } = this.#options;
    const agentForwarding = this.#wantsAgent && mayForwardAgent(connection.identity);
    const options: SessionOptions = {
      env: isNode && !this.#isJoin ? { ...this.#env, [PROXIED_SESSION]: proof() } : this.#env,
      agentForwarding,
      ...(this.#pty ? { pty: this.#pty } : {}),
      ...(this.#x11 ? { x11: this.#x11 } : {}),
    };
    const remote = start.kind === "shell"
      ? await client.shell(options)
      : start.kind === "exec"
      ? await client.exec(start.command, options)
      : await client.subsystem(start.name, options);
    this.#remote = remote;
    if (this.#isClosed) remote.close();
    // It may have changed since it was told.
    if (this.#pty && this.#pty !== options.pty) remote.resize(this.#pty);
    if (this.#x11 && !isNode) {
      onX11(remote.refused.includes("x11") ? "the host refused X11 forwarding" : undefined);
    }
    return remote;
  }

  #passOn(channel: ServerChannel, status: ExitStatus): void {
    // Nobody reads it any more; unread, it would keep the channel from closing.
    channel.stream.resume();
    if ("code" in status) channel.exit(status.code);
    else if ("signal" in status) channel.exitSignal(status.signal, status.core, status.message);
    else if (!this.#isClosed) {
      throw new ConnectionProblem("the host ended the session without saying how it went");
    }
  }

  #resize(size: WindowSize): void {
    if (!this.#pty || !(size.cols > 0 && size.rows > 0)) return;
    this.#pty = { ...this.#pty, ...size };
    this.#remote?.resize(size);
    if (this.#setSize(size) && this.#tape) this.#options.audit.resized(sizeText(size));
  }

  /** Others may have joined the session at its node, and do something there. */
  #onEvent(payload: Uint8Array): void {
    const told = parseSessionEvent(payload, this.id);
    switch (told?.event) {
      case "resize":
        this.#setSize(told);
        return;
      case "session.join":
        this.#participants.add(told.user);
        this.#tape?.mark(`join ${told.user} (${told.mode})`);
        return;
      case "session.leave":
        this.#tape?.mark(`leave ${told.user}`);
        return;
    }
  }

  /** False when it is the same. */
  #setSize({ cols, rows }: { readonly cols: number; readonly rows: number }): boolean {
    if (cols === this.#size.cols && rows === this.#size.rows) return false;
    this.#size = { cols, rows };
    this.#tape?.resize(this.#size);
    this.#options.sessions.changed();
    return true;
  }

  async #startTape({ term, cols, rows }: PtyRequest): Promise<Tape> {
    const { id, connection, place, recording, tapes } = this.#options;
    const before = this.#size;
    const meta: RecordingMeta = {
      sid: id,
      user: this.owner.user,
      login: this.login,
      ...place,
      addr_remote: formatAddr(connection.remote),
      started: this.#started,
      cols,
      rows,
      term,
      recorded_by: "proxy",
    };
    const tape = await tapes.start({ meta, mode: recording.endsWith("-sync") ? "sync" : "async" });
    if (this.#size !== before) tape.resize(this.#size);
    return tape;
  }
}

/** The proxy needs the agent in any case; the target gets it only when the user may lend it. */
function mayForwardAgent(user: RecordedUser): boolean {
  try {
    assertMayForward("agent", user);
    return true;
  } catch {
    return false;
  }
}
