/**
 * Stands in front of the HTTPS server and keeps away those who only hold connections open.
 *
 * Deno's HTTP server has no limit for the time of a TLS handshake or of a request's head, nor for
 * the number of connections, and takes one certificate for its whole life. So it listens on
 * loopback, and this relays to it: it counts connections, closes the ones on which nothing happens,
 * and can lead new ones to another server.
 */
import { messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import type { HostPort } from "../../base/net.ts";

export interface GateLimits {
  /** Open connections; 2000. */
  readonly total: number;
  /** Open connections of one address; 100. */
  readonly perAddress: number;
  /** Milliseconds from the connection to the server's first byte: the TLS handshake; 15 s. */
  readonly handshakeMs: number;
  /** Milliseconds after which a connection is closed on which the server has said nothing; 75 s. */
  readonly idleMs: number;
}

const DEFAULT_LIMITS: GateLimits = {
  total: 2_000,
  perAddress: 100,
  handshakeMs: 15_000,
  idleMs: 75_000,
};

/** A client that sends so many bytes within `idleMs` is uploading something: it may go on. */
const UPLOAD_BYTES = 64 * 1024;
const BUFFER_BYTES = 32 * 1024;
/** Of `idleMs` and `handshakeMs`, how exactly they are kept. */
const CHECKS_PER_LIMIT = 5;

interface Guest {
  readonly client: Deno.TcpConn;
  readonly address: HostPort;
  inner?: Deno.TcpConn;
  deadline: number;
  received: number;
}

export class ConnectionGate {
  readonly #listener: Deno.TcpListener;
  readonly #limits: GateLimits;
  readonly #target: () => number;
  readonly #guests = new Set<Guest>();
  readonly #perAddress = new Map<string, number>();
  /** By the port that the inner connection comes from. */
  readonly #byInnerPort = new Map<number, HostPort>();
  readonly #timer: number;
  readonly #log = log("web");
  #closing = false;

  /**
   * @param address port 0 takes a free one
   * @param target the port on 127.0.0.1 that a new connection is led to
   * @throws Deno.errors.* when the address cannot be listened on
   */
  constructor(address: HostPort, target: () => number, limits: Partial<GateLimits> = {}) {
    this.#listener = Deno.listen({ hostname: address.host, port: address.port });
    this.#target = target;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    const shortest = Math.min(this.#limits.handshakeMs, this.#limits.idleMs);
    this.#timer = setInterval(() => this.#closeIdle(), shortest / CHECKS_PER_LIMIT);
    Deno.unrefTimer(this.#timer);
    this.#serve();
  }

  get addr(): Deno.NetAddr {
    return this.#listener.addr as Deno.NetAddr;
  }

  get connectionCount(): number {
    return this.#guests.size;
  }

  /** Whose connection comes from this port of loopback; undefined when it did not come by here. */
  clientOf(innerPort: number): HostPort | undefined {
    return this.#byInnerPort.get(innerPort);
  }

  /** Takes no new connections; the open ones go on until {@linkcode closeAll}. */
  stop(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#listener.close();
  }

  closeAll(): void {
    this.stop();
    clearInterval(this.#timer);
    for (const guest of this.#guests) close(guest);
  }

  async #serve(): Promise<void> {
    while (!this.#closing) {
      try {
        this.#admit(await this.#listener.accept());
      } catch (error) {
        if (this.#closing) return;
        // Out of file descriptors, or a client that is gone already: never a reason to stop.
        this.#log.warn("Cannot accept a connection", { error: messageOf(error) });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #admit(client: Deno.TcpConn): void {
    const address = { host: client.remoteAddr.hostname, port: client.remoteAddr.port };
    const present = this.#perAddress.get(address.host) ?? 0;
    if (this.#guests.size >= this.#limits.total || present >= this.#limits.perAddress) {
      client.close();
      this.#log.debug("Too many connections", { client: address.host, present });
      return;
    }
    const deadline = performance.now() + this.#limits.handshakeMs;
    const guest: Guest = { client, address, deadline, received: 0 };
    this.#guests.add(guest);
    this.#perAddress.set(address.host, present + 1);
    this.#relay(guest).catch((error) => {
      this.#log.debug("A connection broke", { client: address.host, error: messageOf(error) });
    }).finally(() => {
      close(guest);
      this.#guests.delete(guest);
      const left = this.#perAddress.get(address.host)! - 1;
      if (left > 0) this.#perAddress.set(address.host, left);
      else this.#perAddress.delete(address.host);
    });
  }

  async #relay(guest: Guest): Promise<void> {
    const inner = await Deno.connect({ hostname: "127.0.0.1", port: this.#target() });
    guest.inner = inner;
    const innerPort = inner.localAddr.port;
    // Known before a byte of the client goes in, so before there can be a request.
    this.#byInnerPort.set(innerPort, guest.address);
    try {
      guest.client.setNoDelay(true);
      inner.setNoDelay(true);
      await Promise.all([
        pump(guest.client, inner, (bytes) => guest.received += bytes),
        pump(inner, guest.client, () => {
          guest.deadline = performance.now() + this.#limits.idleMs;
          guest.received = 0;
        }),
      ]);
    } finally {
      this.#byInnerPort.delete(innerPort);
    }
  }

  #closeIdle(): void {
    const now = performance.now();
    for (const guest of this.#guests) {
      if (now < guest.deadline) continue;
      if (guest.received >= UPLOAD_BYTES) {
        guest.deadline = now + this.#limits.idleMs;
        guest.received = 0;
      } else close(guest);
    }
  }
}

/** Copies until the end, and passes the end on. */
async function pump(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  moved: (bytes: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (let count; (count = await from.read(buffer)) !== null;) {
    moved(count);
    for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
  }
  await to.closeWrite();
}

function close({ client, inner }: Guest): void {
  for (const conn of [client, inner]) {
    try {
      conn?.close();
    } catch {
      // Closed already.
    }
  }
}
