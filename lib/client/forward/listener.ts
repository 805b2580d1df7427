/** A TCP port of this computer that connections are waited for on. */
import { ConnectionProblem, messageOf } from "../../base/errors.ts";
import { formatAddr, type HostPort, normalizeIp } from "../../base/net.ts";
import { type ConnStream, connStream } from "../../ssh/stream.ts";
import { formatListen, type Listen } from "./spec.ts";

/** How long accepting rests when the computer has no more files or memory for a connection. */
const restMs = 250;

export class Listener implements Disposable {
  /** The port that connections come in on. */
  readonly port: number;
  readonly #listeners: readonly Deno.TcpListener[];
  #isClosed = false;

  private constructor(listeners: readonly [Deno.TcpListener, ...Deno.TcpListener[]]) {
    this.#listeners = listeners;
    this.port = listeners[0].addr.port;
  }

  /** @throws ConnectionProblem that says which address cannot be listened on, and why */
  static open({ host, port }: Listen): Listener {
    if (host === "localhost") return new Listener(onLoopback(port));
    if (host === "") return new Listener([onEveryAddress(port)]);
    return new Listener([listen(host, port)]);
  }

  /**
   * Hands out connections until close() is called.
   * @param onTrouble told why connections have to wait
   */
  serve(
    onConnection: (stream: ConnStream, from: HostPort) => void,
    onTrouble: (reason: string) => void,
  ): void {
    for (const listener of this.#listeners) void this.#accept(listener, onConnection, onTrouble);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const listener of this.#listeners) listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #accept(
    listener: Deno.TcpListener,
    onConnection: (stream: ConnStream, from: HostPort) => void,
    onTrouble: (reason: string) => void,
  ): Promise<void> {
    while (!this.#isClosed) {
      try {
        const conn = await listener.accept();
        const { hostname, port } = conn.remoteAddr;
        const stream = connStream(conn);
        // One that breaks before anybody reads it must not end the process.
        stream.on("error", () => {});
        onConnection(stream, { host: normalizeIp(hostname), port });
      } catch (e) {
        if (this.#isClosed) return;
        onTrouble(messageOf(e));
        await new Promise((resolve) => setTimeout(resolve, restMs));
      }
    }
  }
}

/**
 * Both families, as "localhost" may mean either. Another program on one of them would get what was
 * meant for us: then there is no listening at all.
 */
function onLoopback(port: number): [Deno.TcpListener, ...Deno.TcpListener[]] {
  const v4 = listen("127.0.0.1", port);
  try {
    return [v4, Deno.listen({ hostname: "::1", port: v4.addr.port })];
  } catch (e) {
    if (!(e instanceof Deno.errors.AddrInUse) || port === 0) return [v4];
    v4.close();
    throw refused({ host: "::1", port }, e);
  }
}

function onEveryAddress(port: number): Deno.TcpListener {
  try {
    // It takes IPv4, too.
    return Deno.listen({ hostname: "::", port });
  } catch (e) {
    if (e instanceof Deno.errors.AddrInUse || e instanceof Deno.errors.PermissionDenied) {
      throw refused({ host: "", port }, e);
    }
    return listen("0.0.0.0", port);
  }
}

function listen(host: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (e) {
    throw refused({ host, port }, e);
  }
}

function refused(address: Listen, cause: unknown): ConnectionProblem {
  const where = address.host === "" ? formatListen(address) : formatAddr(address);
  return new ConnectionProblem(`Cannot listen on ${where}: ${reasonOf(cause)}`, { cause });
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Deno.errors.AddrInUse) {
    return "another program has the port; choose another, or 0 for any free one";
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return "ports below 1024 are for root alone; choose a higher one";
  }
  if (cause instanceof Deno.errors.AddrNotAvailable) return "this computer has no such address";
  return messageOf(cause);
}
