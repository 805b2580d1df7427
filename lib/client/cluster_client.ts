/**
 * The one connection of a command to its cluster: SSH to the proxy with the user's certificate.
 * Nodes and the auth API are reached by channels of it; the proxy only relays their bytes.
 */
import type { Duplex } from "node:stream";
import { ApiClient } from "../api/client.ts";
import { utf8Decode } from "../base/bytes.ts";
import {
  AccessDenied,
  ConnectionProblem,
  InternalError,
  messageOf,
  NotFound,
  TeleportError,
} from "../base/errors.ts";
import { formatAddr, type HostPort } from "../base/net.ts";
import { printable } from "../base/text.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf, type HostRole } from "../cert/identity.ts";
import { type ClientChannel, connectSsh, type SshClient } from "../ssh/client.ts";
import { dialTcp, readAll } from "../ssh/stream.ts";
import { authoritiesOf, type ClientIdentity, outerLogin } from "./identity.ts";

export interface DialTarget {
  /** A node's name, address or UUID, or any host that the proxy may connect to. */
  host: string;
  /** 0 is the node's own. */
  port: number;
}

/** The bytes of a connection to a node. */
export interface NodeLink {
  stream: Duplex;
  /** What went wrong with the connection, as the proxy tells it; else the error itself. */
  explain(e: unknown): Promise<unknown>;
}

export interface Site {
  name: string;
  status: string;
  lastConnected?: string;
}

export class ClusterClient implements Disposable {
  readonly identity: ClientIdentity;
  readonly #ssh: SshClient;

  private constructor(identity: ClientIdentity, ssh: SshClient) {
    this.identity = identity;
    this.#ssh = ssh;
  }

  /**
   * @throws ConnectionProblem when the proxy cannot be reached, AccessDenied when it does not
   * believe the user's certificate, or the user's side not the proxy's
   */
  static async connect(options: {
    identity: ClientIdentity;
    address: HostPort;
    /** One of the certificate's logins; its first unless given. */
    login?: string | undefined;
    /** A connection to `address` that is being made already. */
    stream?: Promise<Duplex>;
    signal?: AbortSignal;
  }): Promise<ClusterClient> {
    const { identity, address, signal } = options;
    const where = `the proxy at ${formatAddr(address)}`;
    const abort = signal === undefined ? {} : { signal };
    const stream = await (options.stream ?? dialTcp({ ...address, ...abort }));
    try {
      const ssh = await connectSsh({
        stream,
        username: options.login ?? outerLogin(identity.certificate),
        credentials: [identity],
        verifyHost: (host) => verifyTeleportHost(identity, host, where, "Proxy", address.host),
        keepAlive,
        ...abort,
      });
      return new ClusterClient(identity, ssh);
    } catch (e) {
      stream.destroy();
      throw located(e, where);
    }
  }

  /** Asks the proxy for a connection to a host. Whether it worked shows when the bytes flow. */
  async dial(target: DialTarget): Promise<NodeLink> {
    const name = `proxy:${bracketed(target.host)}:${target.port}`;
    return linkOf(await this.#ssh.subsystem(name), formatAddr(target));
  }

  /** The auth API as the user, over a connection that only the user and auth can read. */
  async connectAuth(): Promise<ApiClient> {
    const { identity } = this;
    const where = `the auth server of cluster ${identity.cluster}`;
    const link = linkOf(await this.#ssh.subsystem(`proxy:@${identity.cluster}`), where);
    try {
      const ssh = await connectSsh({
        stream: link.stream,
        username: outerLogin(identity.certificate),
        credentials: [identity],
        verifyHost: (host) => verifyTeleportHost(identity, host, where, "Auth"),
      });
      return ApiClient.over((await ssh.subsystem("auth-api")).stream);
    } catch (e) {
      throw located(await link.explain(e), where);
    }
  }

  /** The clusters that the proxy knows. */
  async sites(): Promise<Site[]> {
    const channel = await this.#ssh.subsystem("proxysites");
    const answer = await readAll(channel.stream, 1 << 20);
    try {
      const sites: unknown = JSON.parse(utf8Decode(answer));
      if (Array.isArray(sites)) return sites.map(siteOf);
    } catch {
      // Said below.
    }
    throw new InternalError("The proxy's list of clusters cannot be understood");
  }

  close(): void {
    this.#ssh.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const keepAlive = { intervalMs: 60_000, countMax: 5 };

/** What the proxy writes on its side channel when it cannot connect. */
const maxReason = 64 * 1024;
/** How long the proxy's reason is waited for, once the connection has ended. */
const reasonMs = 2_000;

function linkOf(channel: ClientChannel, where: string): NodeLink {
  const reason = collect(channel);
  return {
    stream: channel.stream,
    async explain(e) {
      if (e instanceof AccessDenied) return e;
      channel.stream.destroy();
      const text = await reason;
      if (text === undefined) return e;
      const message = printable(text.text.replace(/^error: /, "").trim(), { lines: true });
      return text.status === 255
        ? new ConnectionProblem(message, { cause: e })
        : new NotFound(message || `The proxy could not connect to ${where}`, { cause: e });
    },
  };
}

/** The proxy's words and status, once the channel has ended; undefined when it said nothing. */
async function collect(
  channel: ClientChannel,
): Promise<{ text: string; status: number | undefined } | undefined> {
  let text = "";
  const decoder = new TextDecoder();
  channel.stderr.on("data", (chunk: Uint8Array) => {
    if (text.length < maxReason) text += decoder.decode(chunk, { stream: true });
  });
  channel.stderr.on("error", () => {});
  const ended = new Promise<void>((resolve) => channel.stderr.once("close", resolve));
  const status = await channel.exited;
  let timer: number | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, reasonMs));
  await Promise.race([ended, late]);
  clearTimeout(timer);
  if (text === "") return undefined;
  return { text, status: "code" in status ? status.code : undefined };
}

/** Checks a host of the cluster itself: it must have the role, and the name where one is given. */
function verifyTeleportHost(
  identity: ClientIdentity,
  host: Parameters<Parameters<typeof connectSsh>[0]["verifyHost"]>[0],
  where: string,
  role: HostRole,
  principal?: string,
): void {
  if (!host.certificate) {
    throw new AccessDenied(`${capitalized(where)} shows a plain key, expected a host certificate`);
  }
  try {
    const checked = checkCertificate(host.certificate, {
      type: "host",
      authorities: authoritiesOf(identity),
      nowMs: Date.now(),
      ...(principal === undefined ? { anyPrincipal: true } : { principal }),
    });
    if (hostIdentityOf(checked).roles.includes(role)) return;
  } catch (cause) {
    throw new AccessDenied(
      `${capitalized(where)} cannot be trusted: ${messageOf(cause)}. If the cluster was set up ` +
        "anew or its CA was changed, run `tsh logout` and `tsh login`",
      { cause },
    );
  }
  throw new AccessDenied(`${capitalized(where)} cannot be trusted: it has not the role ${role}`);
}

function located(e: unknown, where: string): unknown {
  if (!(e instanceof TeleportError) || messageOf(e).includes(where)) return e;
  if (e instanceof AccessDenied && !/cannot be trusted|plain key/.test(e.message)) {
    return new AccessDenied(`Access to ${where} is denied: ${e.message}`, { cause: e });
  }
  return e instanceof ConnectionProblem && !e.message.includes("Cannot connect")
    ? new ConnectionProblem(`The connection to ${where} failed: ${e.message}`, { cause: e })
    : e;
}

function siteOf(value: unknown): Site {
  const { name, status, lastconnected } = value as Record<string, unknown>;
  return {
    name: String(name),
    status: String(status),
    ...(typeof lastconnected === "string" ? { lastConnected: lastconnected } : {}),
  };
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
