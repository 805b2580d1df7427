/** What a client lends to one session on this node: its agent, its display. */
import { messageOf } from "../../base/errors.ts";
import { printable } from "../../base/text.ts";
import type { AuditQueue } from "../../host/audit_queue.ts";
import { assertMayForward } from "../../host/forward_permission.ts";
import type { ServerConnection, X11Request } from "../../ssh/server.ts";
import type { NodeUser } from "../service/authorizer.ts";
import { connectionFields, type NodeFacts } from "../service/session_audit.ts";
import type { AgentSocket, AgentSockets } from "./agent_socket.ts";
import type { Relays } from "./relays.ts";
import { X11Display } from "./x11_display.ts";

export interface SessionForwardingOptions {
  readonly sessionId: string;
  readonly connection: ServerConnection<NodeUser>;
  readonly audit: Pick<AuditQueue, "emit">;
  readonly facts: NodeFacts;
  readonly sockets: AgentSockets;
  readonly relays: Relays;
}

export class SessionForwarding {
  readonly #options: SessionForwardingOptions;
  /** By what was asked for. Each is reported once, however often it is asked for. */
  readonly #refusals = new Map<"agent" | "x11", string>();
  #wantsAgent = false;
  #wantsX11: X11Request | undefined;
  #agent: AgentSocket | undefined;
  #display: X11Display | undefined;
  #isClosed = false;

  constructor(options: SessionForwardingOptions) {
    this.#options = options;
  }

  /** What was asked for and refused, a line each, for the user to read. */
  get refusals(): readonly string[] {
    return [...this.#refusals.values()];
  }

  /** The client offers its agent. False when it may not, which is reported. */
  agentForward(): boolean {
    try {
      assertMayForward("agent", this.#options.connection.identity);
      return this.#wantsAgent = true;
    } catch (error) {
      this.#agentRefused(error);
      return false;
    }
  }

  /** The client offers its display. False when it may not, or there is no xauth; it is reported. */
  x11(request: X11Request): boolean {
    try {
      assertMayForward("x11", this.#options.connection.identity);
      X11Display.assertPossible();
      this.#wantsX11 ??= request;
      return this.#wantsX11 === request;
    } catch (error) {
      this.#x11Refused(error);
      return false;
    }
  }

  /** What the session's programs find agent and display by. To be called once, before they run. */
  async environment(): Promise<Record<string, string>> {
    return { ...this.#openAgent(), ...await this.#openDisplay() };
  }

  /** With the session's end. Connections that were made end with their programs. Never throws. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#agent?.close();
    this.#agent = undefined;
    await this.#display?.close();
  }

  #openAgent(): Record<string, string> {
    if (!this.#wantsAgent || this.#isClosed) return {};
    const { connection, sockets, relays } = this.#options;
    try {
      this.#agent = sockets.open(
        connection.identity.osUser,
        (stream) => relays.run(stream, () => connection.openAgent()),
      );
      return { SSH_AUTH_SOCK: this.#agent.path };
    } catch (error) {
      this.#agentRefused(error);
      return {};
    }
  }

  async #openDisplay(): Promise<Record<string, string>> {
    if (!this.#wantsX11 || this.#isClosed) return {};
    const { connection, relays } = this.#options;
    try {
      this.#display = new X11Display({
        user: connection.identity.osUser,
        request: this.#wantsX11,
        onConnection: (stream, { hostname: originHost, port: originPort }) =>
          relays.run(stream, () => connection.openX11({ originHost, originPort })),
      });
      await this.#display.authorize();
      this.#reportX11();
      return { DISPLAY: this.#display.name };
    } catch (error) {
      this.#x11Refused(error);
      await this.#display?.close();
      return {};
    }
  }

  #agentRefused(error: unknown): void {
    if (this.#refusals.has("agent")) return;
    const reason = `agent forwarding is refused: ${printable(messageOf(error))}`;
    this.#refusals.set("agent", reason);
    const { connection, audit, facts } = this.#options;
    audit.emit({
      event: "auth",
      code: "T3007W",
      ...connectionFields(facts, connection),
      success: false,
      error: reason,
    });
  }

  #x11Refused(error: unknown): void {
    if (this.#refusals.has("x11")) return;
    const reason = `X11 forwarding is refused: ${printable(messageOf(error))}`;
    this.#refusals.set("x11", reason);
    this.#reportX11(reason);
  }

  #reportX11(error?: string): void {
    const { connection, audit, facts, sessionId } = this.#options;
    audit.emit({
      event: "x11-forward",
      code: error === undefined ? "T3008I" : "T3008W",
      ...connectionFields(facts, connection),
      sid: sessionId,
      success: error === undefined,
      ...(error === undefined ? {} : { error }),
    });
  }
}
