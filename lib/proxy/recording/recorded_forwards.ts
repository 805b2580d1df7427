/** The ports that a client forwards through the proxy's own connection to the target. */
import type { Duplex } from "node:stream";
import type { AuditEmitter } from "../../audit/events.ts";
import { AlreadyExists, LimitExceeded, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { formatAddr, type HostPort } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import { assertMayForward } from "../../host/forward_permission.ts";
import type { PartyFacts } from "../../host/session_audit.ts";
import type { RemoteForward, SshClient } from "../../ssh/client.ts";
import type { DirectTcpip, ForwardBind, ServerConnection } from "../../ssh/server.ts";
import { relay } from "../../ssh/stream.ts";
import type { RecordedUser } from "./recorded_user.ts";
import type { TargetConnection } from "./target_connection.ts";

export interface RecordedForwardsOptions {
  readonly connection: ServerConnection<RecordedUser>;
  readonly target: TargetConnection;
  /** The target is a node of the cluster, which reports what it is asked. */
  readonly isNode: boolean;
  readonly facts: PartyFacts;
  readonly audit: AuditEmitter;
  /** False when the audit log might not keep what happens: then nothing may happen. */
  readonly auditWorks: () => boolean;
  /** Called whenever bytes come or go. */
  readonly onActivity: () => void;
}

/** Listeners of one connection. */
const MAX_LISTENERS = 64;
const MAX_ADDR_TEXT = 512;

type Direction = "local" | "remote";

export class RecordedForwards {
  readonly #options: RecordedForwardsOptions;
  /** `undefined` while the target is asked. */
  readonly #forwards = new Map<string, RemoteForward | undefined>();

  constructor(options: RecordedForwardsOptions) {
    this.#options = options;
  }

  /** Has the target connect. @throws AccessDenied, LimitExceeded, ConnectionProblem, all reported */
  async connect(to: DirectTcpip): Promise<Duplex> {
    return await this.#reported("local", to, async (client) => {
      const origin = { host: to.originHost, port: to.originPort };
      return await client.directTcpip(to.host, to.port, origin);
    });
  }

  /**
   * Has the target listen for the client.
   *
   * @returns the port, which is the target's choice when 0 is asked for
   * @throws AccessDenied, AlreadyExists, LimitExceeded, ConnectionProblem, all reported
   */
  async listen(bind: ForwardBind): Promise<number> {
    const shown = { ...bind };
    return await this.#reported("remote", shown, async (client) => {
      const asked = this.#reserve(bind);
      // The first connection may come together with the answer.
      const port = Promise.withResolvers<number>();
      try {
        const forward = await client.requestTcpipForward(
          bind,
          async (stream, from) =>
            await this.#onConnection(stream, from, { ...bind, port: await port.promise }),
        );
        port.resolve(shown.port = forward.port);
        this.#forwards.set(keyOf(shown), forward);
        return forward.port;
      } finally {
        if (this.#forwards.get(asked) === undefined) this.#forwards.delete(asked);
      }
    });
  }

  /** Connections that were made go on. False when there is no such listener. */
  cancel(bind: ForwardBind): boolean {
    const forward = this.#forwards.get(keyOf(bind));
    if (!forward) return false;
    forward.cancel();
    return this.#forwards.delete(keyOf(bind));
  }

  /** What lib/ssh refuses by itself. */
  refused(type: string, target: string): void {
    const direction = type.startsWith("direct-") ? "local" : "remote";
    this.#report(direction, `${type}: ${target}`, "only TCP is forwarded");
  }

  #assertAllowed(): void {
    const { connection, auditWorks } = this.#options;
    if (!auditWorks()) {
      throw new LimitExceeded("this proxy's audit spool is full, and nothing may happen unseen");
    }
    assertMayForward("port", connection.identity);
  }

  #reserve(bind: ForwardBind): string {
    const key = keyOf(bind);
    if (this.#forwards.has(key)) {
      throw new AlreadyExists(`port ${bind.port} is forwarded to this client already`);
    }
    if (this.#forwards.size >= MAX_LISTENERS) {
      throw new LimitExceeded(`no more than ${MAX_LISTENERS} ports are forwarded to a client`);
    }
    this.#forwards.set(key, undefined);
    return key;
  }

  async #onConnection(stream: Duplex, from: HostPort, bind: ForwardBind): Promise<void> {
    const { connection, onActivity } = this.#options;
    stream.on("error", () => {}); // told by "close"
    try {
      const channel = await connection.openForwardedTcpip({
        connectedHost: bind.host,
        connectedPort: bind.port,
        originHost: from.host,
        originPort: from.port,
      });
      await relay(channel, stream, onActivity);
    } catch (error) {
      log("proxy").info("A forwarded connection was not taken by the client", {
        port: bind.port,
        error: messageOf(error),
      });
      stream.destroy();
    }
  }

  /** Says in the audit log how it went, with the address as it is by then. */
  async #reported<T>(
    direction: Direction,
    addr: HostPort,
    run: (client: SshClient) => Promise<T>,
  ): Promise<T> {
    let isOthers = false;
    try {
      this.#assertAllowed();
      const client = await this.#options.target.client();
      isOthers = this.#options.isNode;
      const result = await run(client);
      if (!isOthers) this.#report(direction, formatAddr(addr));
      return result;
    } catch (error) {
      if (!isOthers) this.#report(direction, formatAddr(addr), messageOf(error));
      throw error;
    }
  }

  #report(direction: Direction, addr: string, error?: string): void {
    const { audit, facts } = this.#options;
    audit.emit({
      event: "port",
      code: error === undefined ? "T3003I" : "T3003E",
      ...facts,
      success: error === undefined,
      ...(error === undefined ? {} : { error: printable(error) }),
      addr: printable(addr.slice(0, MAX_ADDR_TEXT)),
      direction,
    });
  }
}

function keyOf({ host, port }: ForwardBind): string {
  return `${port} ${host}`;
}
