/** What `tsh ssh` forwards besides its session. Loaded only when something is. */
import { ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { dialAgent, findAgent } from "../../lib/client/forward/agent.ts";
import { type ForwardPlan, Forwards } from "../../lib/client/forward/forwards.ts";
import {
  parseDynamicForward,
  parseLocalForward,
  parseRemoteForward,
} from "../../lib/client/forward/spec.ts";
import { X11Forwarding } from "../../lib/client/forward/x11.ts";
import type { ConnectOptions, SessionOptions, SshClient } from "../../lib/ssh/client.ts";
import type { WantedForwarding } from "./forward_flags.ts";

export class Forwarding implements Disposable {
  readonly #plan: ForwardPlan;
  readonly #exitOnFailure: boolean;
  readonly #notify: (text: string) => void;
  readonly #hasSession: boolean;
  #agent: string | undefined;
  #x11: X11Forwarding | undefined;
  #forwards: Forwards | undefined;

  private constructor(
    wanted: WantedForwarding,
    { hasSession, notify }: { hasSession: boolean; notify: (text: string) => void },
  ) {
    this.#hasSession = hasSession;
    this.#plan = {
      local: wanted.local.map(parseLocalForward),
      remote: wanted.remote.map(parseRemoteForward),
      dynamic: wanted.dynamic.map(parseDynamicForward),
    };
    this.#exitOnFailure = wanted.exitOnFailure;
    this.#notify = notify;
  }

  /**
   * Reads what is wanted and looks for the agent and the display. An agent or a display that is not
   * there is told, and the session goes without, as with ssh.
   * @param hasSession the display is a session's; without one it has no effect, and of the agent only
   *   a proxy that records makes use
   * @throws BadParameter for a forward that cannot be read
   */
  static async prepare(
    wanted: WantedForwarding,
    options: { hasSession: boolean; notify: (text: string) => void },
  ): Promise<Forwarding> {
    const { hasSession, notify } = options;
    const forwarding = new Forwarding(wanted, options);
    const without = (what: string, e: unknown) =>
      notify(`WARNING: ${what} is not forwarded: ${messageOf(e)}`);
    if (wanted.agent) {
      await findAgent(Deno.env.get("SSH_AUTH_SOCK")).then(
        (path) => forwarding.#agent = path,
        (e) => without("the agent", e),
      );
    }
    if (wanted.x11 && !hasSession) {
      notify("WARNING: -X and -Y have no effect: nothing is run on the node");
    } else if (wanted.x11) {
      const display = Deno.env.get("DISPLAY");
      await X11Forwarding.prepare({ display, ...wanted.x11, notify }).then(
        (x11) => forwarding.#x11 = x11,
        (e) => without("X11", e),
      );
    }
    return forwarding;
  }

  /** The agent goes to any number of them. */
  get needsOneNode(): boolean {
    const { local, remote, dynamic } = this.#plan;
    return local.length + remote.length + dynamic.length > 0 || this.#x11 !== undefined;
  }

  /** What the connection needs to know before it is made. */
  get handlers(): Pick<ConnectOptions, "onAgentChannel" | "onX11Channel"> {
    const [agent, x11] = [this.#agent, this.#x11];
    return {
      ...(agent === undefined ? {} : { onAgentChannel: () => this.#dialAgent(agent) }),
      ...(x11 === undefined ? {} : { onX11Channel: () => x11.connect() }),
    };
  }

  /** What the session is to be offered. */
  get session(): Pick<SessionOptions, "agentForwarding" | "x11"> {
    return {
      ...(this.#agent === undefined ? {} : { agentForwarding: true }),
      ...(this.#x11 === undefined ? {} : { x11: this.#x11.request }),
    };
  }

  /**
   * Sets the ports up.
   * @param isAll nothing else is to be done: then at least one must work
   * @throws ConnectionProblem when one that must work does not
   */
  async start(client: SshClient, isAll: boolean): Promise<void> {
    if (this.#agent !== undefined && !this.#hasSession) client.offerAgent();
    const { local, remote, dynamic } = this.#plan;
    const count = local.length + remote.length + dynamic.length;
    this.#forwards = await Forwards.start(client, this.#plan, {
      notify: this.#notify,
      exitOnFailure: this.#exitOnFailure || (isAll && count === 1),
    });
    if (isAll && count > 0 && this.#forwards.descriptions.length === 0) {
      throw new ConnectionProblem("None of the forwards could be set up");
    }
  }

  /** The node does not forward what it was offered. */
  refused(what: "agent" | "x11"): void {
    this.#notify(
      what === "agent"
        ? "WARNING: the node does not forward the agent: no role of yours allows it " +
          "(forward_agent), or it cannot"
        : "WARNING: the node does not forward X11: no role of yours allows it " +
          "(permit_x11_forwarding), or it has no xauth",
    );
  }

  /** What is forwarded, and the connections that are open, a line each. */
  list(): string[] {
    const forwards = this.#forwards;
    const connections = forwards?.connections.list() ?? [];
    return [
      ...(this.#agent === undefined ? [] : ["-A  the ssh-agent"]),
      ...(this.#x11 === undefined ? [] : ["-X  X11 programs"]),
      ...(forwards?.descriptions ?? []),
      ...(connections.length === 0 ? [] : ["The following connections are open:"]),
      ...connections.map(({ via, from, to }) => `  ${from} → ${to} (${via})`),
    ];
  }

  /** Takes no more connections and waits for those that are open, as ssh does. */
  async finish(gone: Promise<unknown>): Promise<void> {
    const forwards = this.#forwards;
    if (!forwards) return;
    forwards.stopListening();
    const { connections } = forwards;
    if (connections.size === 0) return;
    this.#notify(`Waiting for ${connections.size} forwarded connections to end; Ctrl-C ends them`);
    await Promise.race([connections.idle(), gone]);
  }

  [Symbol.dispose](): void {
    this.#forwards?.close();
  }

  async #dialAgent(path: string) {
    try {
      return await dialAgent(path);
    } catch (e) {
      this.#notify(`WARNING: ${messageOf(e)}`);
      throw e;
    }
  }
}
