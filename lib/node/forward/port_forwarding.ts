/**
 * The ports that one connection forwards: from the client to what this node reaches (`ssh -L`,
 * `-D`, `-W`), and from this node's loopback to the client (`ssh -R`). As with sshd's
 * `GatewayPorts no`, nothing is ever listened on but loopback, whatever is asked for.
 */
import {
  AccessDenied,
  AlreadyExists,
  ConnectionProblem,
  LimitExceeded,
  messageOf,
} from "../../base/errors.ts";
import { formatAddr, type HostPort } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import type { AuditQueue } from "../../host/audit_queue.ts";
import { assertMayForward } from "../../host/forward_permission.ts";
import { LOOPBACK, PortListener } from "../../ssh/port_listener.ts";
import type { DirectTcpip, ForwardBind, ServerConnection } from "../../ssh/server.ts";
import type { ConnStream } from "../../ssh/stream.ts";
import type { NodeUser } from "../service/authorizer.ts";
import { connectionFields, type NodeFacts } from "../service/session_audit.ts";
import { dialTarget } from "./dial.ts";
import type { Relays } from "./relays.ts";

export interface PortForwardingOptions {
  readonly connection: ServerConnection<NodeUser>;
  readonly audit: Pick<AuditQueue, "emit" | "full">;
  readonly facts: NodeFacts;
  readonly relays: Relays;
}

/** Listeners of one connection. */
const MAX_LISTENERS = 64;
/** Below it, only root may listen. */
const FIRST_FREE_PORT = 1024;
const MAX_ADDR_TEXT = 512;

type Direction = "local" | "remote";

export class PortForwarding {
  readonly #options: PortForwardingOptions;
  readonly #listeners = new Map<string, PortListener>();
  readonly #gone = new AbortController();

  constructor(options: PortForwardingOptions) {
    this.#options = options;
    options.connection.closed.then(() => this.#close());
  }

  /**
   * Connects to what the client wants, from here.
   *
   * @throws AccessDenied, LimitExceeded, BadParameter, ConnectionProblem, all of them reported
   */
  async connect(target: DirectTcpip): Promise<ConnStream> {
    return await this.#reported("local", target, async () => {
      this.#assertAllowed();
      const stream = await dialTarget(target, { signal: this.#gone.signal });
      return stream.on("error", () => {}); // told by "close"
    });
  }

  /**
   * Listens on loopback for the client.
   *
   * @returns the port, which is the system's choice when 0 is asked for
   * @throws AccessDenied, AlreadyExists, LimitExceeded, Deno.errors.*, all of them reported
   */
  async listen(bind: ForwardBind): Promise<number> {
    const hosts = hostsOf(bind);
    const shown = { host: hosts[0]!, port: bind.port };
    return await this.#reported("remote", shown, () => {
      this.#assertAllowed();
      this.#assertMayListen(bind);
      const listener = PortListener.open({
        port: bind.port,
        hosts,
        onConnection: (stream, from) => this.#onConnection(stream, from, { ...bind, port }),
      });
      const { port } = listener;
      this.#listeners.set(keyOf({ ...bind, port }), listener);
      shown.port = port;
      return Promise.resolve(port);
    });
  }

  /** Connections that were made go on. False when there is no such listener. */
  async cancel(bind: ForwardBind): Promise<boolean> {
    const listener = this.#listeners.get(keyOf(bind));
    this.#listeners.delete(keyOf(bind));
    await listener?.close();
    return listener !== undefined;
  }

  /** What lib/ssh refuses by itself. */
  refused(type: string, target: string): void {
    const direction = type.startsWith("direct-") ? "local" : "remote";
    this.#report(direction, `${type}: ${target}`, "only TCP is forwarded by this node");
  }

  #assertAllowed(): void {
    const { connection, audit } = this.#options;
    if (audit.full) {
      throw new LimitExceeded("this node's audit spool is full, and nothing may happen unseen");
    }
    assertMayForward("port", connection.identity);
  }

  #assertMayListen(bind: ForwardBind): void {
    const { osUser } = this.#options.connection.identity;
    if (bind.port !== 0 && bind.port < FIRST_FREE_PORT && osUser.uid !== 0) {
      throw new AccessDenied(`only root may listen on ports below ${FIRST_FREE_PORT}`);
    }
    if (this.#gone.signal.aborted) throw clientGone();
    if (this.#listeners.has(keyOf(bind))) {
      throw new AlreadyExists(`port ${bind.port} is forwarded to this client already`);
    }
    if (this.#listeners.size >= MAX_LISTENERS) {
      throw new LimitExceeded(`no more than ${MAX_LISTENERS} ports are forwarded to a client`);
    }
  }

  #onConnection(stream: ConnStream, from: Deno.NetAddr, bind: ForwardBind): void {
    const { connection, relays } = this.#options;
    relays.run(stream, () =>
      connection.openForwardedTcpip({
        // As it was asked for: that is how the client knows which of its forwards this is.
        connectedHost: bind.host,
        connectedPort: bind.port,
        originHost: from.hostname,
        originPort: from.port,
      }));
  }

  /** Says in the audit log how it went, with the address as it is by then. */
  async #reported<T>(direction: Direction, addr: HostPort, run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      this.#report(direction, formatAddr(addr));
      return result;
    } catch (error) {
      this.#report(direction, formatAddr(addr), messageOf(error));
      throw error;
    }
  }

  #report(direction: Direction, addr: string, error?: string): void {
    const { connection, audit, facts } = this.#options;
    audit.emit({
      event: "port",
      code: error === undefined ? "T3003I" : "T3003E",
      ...connectionFields(facts, connection),
      success: error === undefined,
      ...(error === undefined ? {} : { error: printable(error) }),
      addr: printable(addr.slice(0, MAX_ADDR_TEXT)),
      direction,
    });
  }

  #close(): void {
    this.#gone.abort(clientGone());
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }
}

function clientGone(): ConnectionProblem {
  return new ConnectionProblem("the client has gone");
}

/** One family only where that is what was asked for. */
function hostsOf({ host }: ForwardBind): readonly string[] {
  return LOOPBACK.includes(host) ? [host] : LOOPBACK;
}

function keyOf({ host, port }: ForwardBind): string {
  return `${port} ${host}`;
}
