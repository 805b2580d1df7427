/** The SSH client: one connection, its host verified and its user authenticated. */
import type { Duplex } from "node:stream";
import type { TeleportError } from "../base/errors.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { WireWriter } from "../sshwire/codec.ts";
import { ClientConnection, type ConnectOptions, type SessionOptions } from "./client_connection.ts";
import type { OnForwarded, RemoteForward } from "./client_forwarding.ts";
import type { ClientChannel } from "./client_session.ts";
import type { ForwardBind } from "./forwarding.ts";

export type { AgentSigner, ClientCredential } from "./client_auth.ts";
export type { ConnectOptions, SessionOptions } from "./client_connection.ts";
export type { ClientChannel, ExitStatus } from "./client_session.ts";
export type { OnForwarded, RemoteForward } from "./client_forwarding.ts";
export type { ForwardBind, Origin, X11Request } from "./forwarding.ts";
export type { OfferedHost } from "./host_keys.ts";
export type { PtyRequest, WindowSize } from "./pty.ts";

/**
 * Connects.
 * @throws AccessDenied when the server refuses the user, with the server's reason if it gave one;
 *   what `verifyHost` threw; ConnectionProblem otherwise
 */
export async function connectSsh(options: ConnectOptions): Promise<SshClient> {
  const connection = new ClientConnection(options);
  await connection.ready;
  return new SshClient(connection);
}

export class SshClient {
  readonly #connection: ClientConnection;

  /** Use connectSsh(). */
  constructor(connection: ClientConnection) {
    this.#connection = connection;
  }

  /** The server's software, safe to show. */
  get serverVersion(): string {
    return this.#connection.serverVersion;
  }

  /** What `verifyHost` accepted. */
  get hostCertificate(): Certificate | undefined {
    return this.#connection.hostCertificate;
  }

  /** Resolves when the connection is gone: with the reason unless it was closed in good order. */
  get closed(): Promise<TeleportError | undefined> {
    return this.#connection.closed;
  }

  get isClosed(): boolean {
    return this.#connection.isClosed;
  }

  /** @throws AccessDenied, LimitExceeded, ConnectionProblem; so do the next four */
  exec(command: string, options?: SessionOptions): Promise<ClientChannel> {
    const fields = new WireWriter().string(command).bytes();
    return this.#connection.session("exec", fields, options);
  }

  shell(options?: SessionOptions): Promise<ClientChannel> {
    return this.#connection.session("shell", undefined, options);
  }

  subsystem(name: string, options?: SessionOptions): Promise<ClientChannel> {
    return this.#connection.session("subsystem", new WireWriter().string(name).bytes(), options);
  }

  /**
   * Has the server listen; connections that come to it go to `onConnection`.
   * @param bind host "" is all addresses, "localhost" both of loopback's; port 0 lets it choose
   * @throws AccessDenied, ConnectionProblem
   */
  requestTcpipForward(bind: ForwardBind, onConnection: OnForwarded): Promise<RemoteForward> {
    return this.#connection.forwarding.listen(bind, onConnection);
  }

  /**
   * From here on the server may use the agent behind `onAgentChannel`, also without a session that
   * offers it: as ssh -N has it, and as proxies need it that record.
   * @throws BadParameter when there is none
   */
  offerAgent(): void {
    this.#connection.forwarding.expectAgent();
  }

  /** A TCP connection made by the server. */
  directTcpip(
    host: string,
    port: number,
    origin: { host: string; port: number } = { host: "127.0.0.1", port: 0 },
  ): Promise<Duplex> {
    return this.#connection.directTcpip(host, port, origin);
  }

  close(): void {
    this.#connection.close();
  }
}
