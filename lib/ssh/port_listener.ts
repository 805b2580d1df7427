/** A TCP port of this machine that connections are waited for on, at one address or at several. */
import { acceptAll } from "./accept.ts";
import type { ConnStream } from "./stream.ts";

/** Both families, where there are two: "localhost" may mean either. */
export const LOOPBACK: readonly string[] = ["127.0.0.1", "::1"];

export interface PortListenerOptions {
  /** 0 takes one that is free. */
  readonly port: number;
  /** Loopback unless given. What the machine lacks of those behind the first is left out. */
  readonly hosts?: readonly string[];
  /** Owns the stream. */
  readonly onConnection: (stream: ConnStream, from: Deno.NetAddr) => void;
  /** Told why a connection could not be taken; it goes to the log unless given. */
  readonly onTrouble?: (reason: string) => void;
}

/** The system's choice for one address may be taken at the other. */
const TRIES = 16;

export class PortListener {
  readonly port: number;
  readonly #listeners: Deno.TcpListener[];
  readonly #accepting: Promise<unknown>;

  /**
   * @throws Deno.errors.AddrInUse when the port is taken at any of the addresses: whoever has it
   *   there would get some of the connections; other errors of Deno.listen()
   */
  static open(options: PortListenerOptions): PortListener {
    const { port, hosts = LOOPBACK } = options;
    for (let tries = 1;; tries++) {
      try {
        return new PortListener(listenOn(hosts, port), options);
      } catch (error) {
        const isTaken = error instanceof Deno.errors.AddrInUse;
        if (port !== 0 || !isTaken || tries === TRIES) throw error;
      }
    }
  }

  private constructor(
    listeners: Deno.TcpListener[],
    { onConnection, onTrouble }: PortListenerOptions,
  ) {
    this.#listeners = listeners;
    this.port = listeners[0]!.addr.port;
    this.#accepting = Promise.all(
      listeners.map((listener) =>
        acceptAll(listener, (stream, { remote }) => {
          // Told by "close"; until it is relayed nobody else listens.
          stream.on("error", () => {});
          onConnection(stream, remote as Deno.NetAddr);
        }, onTrouble)
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

function listenOn(hosts: readonly string[], port: number): Deno.TcpListener[] {
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
