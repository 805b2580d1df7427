/**
 * A port of this machine's loopback, in both of its families where there are two. Nothing that is
 * listened on for a client can be reached from another machine.
 */
import { acceptAll } from "../../ssh/accept.ts";
import type { ConnStream } from "../../ssh/stream.ts";

export type LoopbackHost = "127.0.0.1" | "::1";
export const BOTH: readonly LoopbackHost[] = ["127.0.0.1", "::1"];

export interface LoopbackOptions {
  /** 0 takes one that is free. */
  readonly port: number;
  readonly hosts?: readonly LoopbackHost[];
  /** Owns the stream. */
  readonly onConnection: (stream: ConnStream, from: Deno.NetAddr) => void;
}

/** The system's choice for one family may be taken in the other. */
const TRIES = 16;

export class LoopbackListener {
  readonly port: number;
  readonly #listeners: Deno.TcpListener[];
  readonly #accepting: Promise<unknown>;

  /**
   * @throws Deno.errors.AddrInUse when the port is taken in any of the families: whoever has it in
   *   one of them would get some of the connections
   */
  static open(options: LoopbackOptions): LoopbackListener {
    const { port, hosts = BOTH, onConnection } = options;
    for (let tries = 1;; tries++) {
      try {
        return new LoopbackListener(listenOn(hosts, port), onConnection);
      } catch (error) {
        const isTaken = error instanceof Deno.errors.AddrInUse;
        if (port !== 0 || !isTaken || tries === TRIES) throw error;
      }
    }
  }

  private constructor(
    listeners: Deno.TcpListener[],
    onConnection: LoopbackOptions["onConnection"],
  ) {
    this.#listeners = listeners;
    this.port = listeners[0]!.addr.port;
    this.#accepting = Promise.all(
      listeners.map((listener) =>
        acceptAll(listener, (stream, { remote }) => {
          // Told by "close"; until it is relayed nobody else listens.
          stream.on("error", () => {});
          onConnection(stream, remote as Deno.NetAddr);
        })
      ),
    );
  }

  /** Resolves when the port is free again. */
  async close(): Promise<void> {
    for (const listener of this.#listeners.splice(0)) listener.close();
    // The system goes on listening until the accepting that is under way has ended.
    await this.#accepting;
  }
}

function listenOn(hosts: readonly LoopbackHost[], port: number): Deno.TcpListener[] {
  const listeners: Deno.TcpListener[] = [];
  try {
    for (const hostname of hosts) {
      try {
        listeners.push(Deno.listen({ hostname, port: listeners[0]?.addr.port ?? port }));
      } catch (error) {
        // A machine without IPv6 has the other family.
        const isSecond = listeners.length > 0;
        if (!isSecond || error instanceof Deno.errors.AddrInUse) throw error;
      }
    }
    return listeners;
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
}
