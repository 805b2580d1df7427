/** Port forwarding of one connection to a node: `-L`, `-R` and `-D`. */
import type { Duplex } from "node:stream";
import { AccessDenied, ConnectionProblem, messageOf } from "../../base/errors.ts";
import { formatAddr, type HostPort, normalizeIp } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import type { SshClient } from "../../ssh/client.ts";
import type { PortListener } from "../../ssh/port_listener.ts";
import { dialTcp } from "../../ssh/stream.ts";
import { Connections } from "./connections.ts";
import { openListener } from "./listen.ts";
import { socksFailure, socksSuccess } from "./socks.ts";
import { acceptSocks } from "./socks_accept.ts";
import {
  type DynamicForward,
  formatListen,
  type LocalForward,
  type RemoteForward,
} from "./spec.ts";

export interface ForwardPlan {
  local: readonly LocalForward[];
  remote: readonly RemoteForward[];
  dynamic: readonly DynamicForward[];
}

export interface ForwardsOptions {
  /** What the person should know: a port that was chosen, a connection that could not be made. */
  notify(text: string): void;
  /** As ExitOnForwardFailure: a forward that cannot be set up is an error. */
  exitOnFailure: boolean;
}

type Forwarder = Pick<SshClient, "directTcpip" | "requestTcpipForward">;

/** A reason that keeps coming is told once in so many milliseconds. */
const complaintMs = 1000;

export class Forwards implements Disposable {
  readonly connections = new Connections();
  readonly #client: Forwarder;
  readonly #options: ForwardsOptions;
  readonly #listeners: PortListener[] = [];
  readonly #descriptions: string[] = [];
  #lastComplaint = { text: "", atMs: 0 };

  private constructor(client: Forwarder, options: ForwardsOptions) {
    this.#client = client;
    this.#options = options;
  }

  /**
   * Sets all of them up. What cannot be is told, and is left out.
   * @throws ConnectionProblem for it with `exitOnFailure`
   */
  static async start(
    client: Forwarder,
    plan: ForwardPlan,
    options: ForwardsOptions,
  ): Promise<Forwards> {
    const forwards = new Forwards(client, options);
    try {
      const steps = [
        ...plan.local.map((forward) => () => forwards.#startLocal(forward)),
        ...plan.dynamic.map((forward) => () => forwards.#startDynamic(forward)),
        ...plan.remote.map((forward) => () => forwards.#startRemote(forward)),
      ];
      for (const step of steps) await forwards.#try(step);
      return forwards;
    } catch (e) {
      forwards.close();
      throw e;
    }
  }

  /** What is forwarded, a line each: "-L 127.0.0.1:8080 → db:80". */
  get descriptions(): readonly string[] {
    return this.#descriptions;
  }

  /** Takes no more connections. Those that are there go on. */
  stopListening(): void {
    for (const listener of this.#listeners.splice(0)) void listener.close();
  }

  close(): void {
    this.stopListening();
    this.connections.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #try(start: () => void | Promise<void>): Promise<void> {
    try {
      await start();
    } catch (e) {
      if (this.#options.exitOnFailure) throw e;
      this.#options.notify(`error: ${messageOf(e)}`);
    }
  }

  #startLocal({ listen, to }: LocalForward): void {
    const label = `-L ${formatListen(listen)}:${formatAddr(to)}`;
    const port = this.#listen(listen, label, (stream, from) => {
      void this.#throughNode(stream, from, to, label);
    });
    this.#describe(`-L ${formatListen({ ...listen, port })} → ${formatAddr(to)}`);
    this.#tellPort(listen, port, `local forward to ${formatAddr(to)}`);
  }

  #startDynamic({ listen }: DynamicForward): void {
    const label = `-D ${formatListen(listen)}`;
    const port = this.#listen(listen, label, (stream, from) => {
      void this.#socks(
        stream,
        label,
        (to) => this.#client.directTcpip(to.host, to.port, from),
        from,
      );
    });
    this.#describe(`-D ${formatListen({ ...listen, port })}`);
    this.#tellPort(listen, port, "dynamic forward");
  }

  async #startRemote({ listen, to }: RemoteForward): Promise<void> {
    const where = to ? formatAddr(to) : "SOCKS";
    const label = `-R ${formatListen(listen)}:${where}`;
    let port: number;
    try {
      ({ port } = await this.#client.requestTcpipForward(listen, (stream, from) => {
        stream.on("error", () => {});
        if (to) void this.#fromHere(stream, from, to, label);
        else void this.#socks(stream, label, (to) => dialTcp({ ...to }), from);
      }));
    } catch (e) {
      // A refusal carries no reason: these are all there are.
      const why = e instanceof AccessDenied
        ? "the port is in use there or reserved for root, or no role of yours allows port " +
          "forwarding (port_forwarding)"
        : messageOf(e);
      throw new ConnectionProblem(`The node refuses ${label}: ${why}`, { cause: e });
    }
    this.#describe(`-R ${formatListen({ ...listen, port })} → ${where}`);
    this.#tellPort(listen, port, `remote forward to ${where}`);
  }

  #listen(
    listen: { host: string; port: number },
    label: string,
    onConnection: (stream: Duplex, from: HostPort) => void,
  ): number {
    const listener = openListener(listen, {
      onConnection: (stream, { hostname, port }) =>
        onConnection(stream, { host: normalizeIp(hostname), port }),
      onTrouble: (reason) => this.#complain(`${label}: no connection: ${reason}`),
    });
    this.#listeners.push(listener);
    return listener.port;
  }

  async #throughNode(stream: Duplex, from: HostPort, to: HostPort, via: string): Promise<void> {
    try {
      const channel = await this.#client.directTcpip(to.host, to.port, from);
      await this.connections.relay(named(via, from, to), stream, channel);
    } catch (e) {
      stream.destroy();
      this.#complain(`${via}: cannot connect: ${messageOf(e)}`);
    }
  }

  async #fromHere(stream: Duplex, from: HostPort, to: HostPort, via: string): Promise<void> {
    try {
      await this.connections.relay(named(via, from, to), stream, await dialTcp({ ...to }));
    } catch (e) {
      stream.destroy();
      this.#complain(`${via}: ${messageOf(e)}`);
    }
  }

  async #socks(
    stream: Duplex,
    via: string,
    connect: (to: HostPort) => Promise<Duplex>,
    from: HostPort,
  ): Promise<void> {
    try {
      const request = await acceptSocks(stream);
      if (!request) return;
      const { version, to, rest } = request;
      let other: Duplex;
      try {
        other = await connect(to);
      } catch (e) {
        stream.end(socksFailure(version, e), () => stream.destroy());
        return this.#complain(`${via}: cannot connect to ${formatAddr(to)}: ${messageOf(e)}`);
      }
      stream.write(socksSuccess(version));
      if (rest.length > 0) other.write(rest);
      await this.connections.relay(named(via, from, to), stream, other);
    } catch (e) {
      this.#complain(`${via}: a program was turned away: ${messageOf(e)}`);
    }
  }

  #describe(line: string): void {
    this.#descriptions.push(line);
  }

  /** In the words of ssh, which scripts look for. */
  #tellPort(asked: HostPort, port: number, what: string): void {
    if (asked.port === 0) this.#options.notify(`Allocated port ${port} for ${what}`);
  }

  #complain(text: string): void {
    const atMs = performance.now();
    const last = this.#lastComplaint;
    if (text === last.text && atMs - last.atMs < complaintMs) return;
    this.#lastComplaint = { text, atMs };
    this.#options.notify(text);
  }
}

/** What the node says of where a connection is from is not to be trusted with a terminal. */
function named(via: string, from: HostPort, to: HostPort) {
  return { via, from: printable(formatAddr(from)), to: formatAddr(to) };
}
