/** Runs the roles of one daemon: auth, then proxy, then node; ends them in the opposite order. */
import { messageOf } from "../../lib/base/errors.ts";
import { log } from "../../lib/base/log.ts";
import { formatAddr } from "../../lib/base/net.ts";
import type { Config } from "../../lib/config/mod.ts";
import { AuthConnection, hostUuid, trustedAuthorities } from "../../lib/host/mod.ts";
import {
  CurrentIdentity,
  type HostIssuer,
  type IdentityRequest,
  issuedIdentity,
  joinedIdentity,
} from "./host_identity.ts";
import { nodeNames, reachableFromHere } from "./host_names.ts";
import { explainListenError, type ListenAddress } from "./listen_errors.ts";

export interface SupervisorOptions {
  readonly config: Config;
  /** Command line that runs this program, up to its verb. */
  readonly teleportCommand: readonly string[];
  /** Says the join token to an auth server that nobody vouches for. */
  readonly insecure: boolean;
  /** Gets the start-up lines. */
  readonly announce: (line: string) => void;
}

/** The auth service of this process, as the other roles see it. */
interface LocalAuth extends HostIssuer {
  readonly addr: Deno.NetAddr;
}

/** What an SSH or web role needs to call the auth service as itself. */
interface Connected {
  readonly identity: CurrentIdentity;
  readonly connection: AuthConnection;
}

/** How long sessions and requests may go on after the signal to stop, in milliseconds. */
const DRAIN_MS = 2_000;
/** A role that has not ended after so long is left to the end of the process, in milliseconds. */
const STOP_MS = 10_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #stop = new AbortController();
  /** In the order of their start. */
  readonly #running: { what: string; close: () => Promise<unknown> }[] = [];
  #hostId = "";

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Starts every enabled role; resolves when all of them serve.
   *
   * @throws TeleportError saying which role cannot start, and why
   */
  async start(): Promise<void> {
    const { config } = this.#options;
    this.#hostId = await hostUuid(config.dataDir);
    // Side by side: loading code is a good part of the time until the daemon is ready.
    const proxyModule = config.proxy.enabled ? import("../../lib/proxy/mod.ts") : undefined;
    const nodeModule = config.ssh.enabled ? import("../../lib/node/mod.ts") : undefined;
    const auth = config.auth.enabled ? await this.#startAuth() : undefined;
    const serving: { ready: Promise<void> }[] = [];
    if (proxyModule) serving.push(await this.#startProxy(await proxyModule, auth));
    if (nodeModule) serving.push(await this.#startNode(await nodeModule, auth));
    await Promise.all(serving.map(({ ready }) => ready));
  }

  /** Ends every role, the last one first. A `start` that still runs fails. */
  async stop(): Promise<void> {
    this.#stop.abort(new DOMException("the daemon is stopping", "AbortError"));
    for (const { what, close } of this.#running.splice(0).reverse()) {
      try {
        await within(STOP_MS, close());
      } catch (error) {
        log("process").error(`The ${what} did not stop in good order`, { error });
      }
    }
  }

  async #startAuth(): Promise<LocalAuth> {
    const { config, announce } = this.#options;
    // Loaded only now: TMPDIR is private, and the storage's native addon is unpacked into it.
    const { startAuth } = await import("../../lib/auth/mod.ts");
    const auth = await listening(
      () => startAuth({ config, hostId: this.#hostId }),
      [{ addr: config.auth.listenAddr, key: "auth_service.listen_addr" }],
    );
    this.#running.push({ what: "auth service", close: () => auth.close({ drainMs: 0 }) });
    announce(`[AUTH]  Auth service is starting on ${shown(auth.addr)}`);
    // tctl on this host becomes an administrator by reading this, as only our OS user can.
    await issuedIdentity(auth, this.#identityRequest("Admin", []));
    return auth;
  }

  async #startProxy(
    { proxyNames, startProxy }: typeof import("../../lib/proxy/mod.ts"),
    auth: LocalAuth | undefined,
  ): Promise<{ ready: Promise<void> }> {
    const { config, announce } = this.#options;
    const names = proxyNames(config);
    const request = { ...this.#identityRequest("Proxy", names), dnsNames: names };
    const { identity, connection } = await this.#connect("Proxy", request, auth);
    const proxy = await listening(
      () => startProxy({ config, identity: identity.get, auth: connection }),
      [
        { addr: config.proxy.webListenAddr, key: "proxy_service.web_listen_addr" },
        { addr: config.proxy.sshListenAddr, key: "proxy_service.listen_addr" },
      ],
    );
    this.#running.push({ what: "proxy service", close: () => proxy.close({ drainMs: DRAIN_MS }) });
    announce(`[PROXY] Web proxy service is starting on ${shown(proxy.webAddr)}`);
    announce(`[PROXY] SSH proxy service is starting on ${shown(proxy.sshAddr)}`);
    return proxy;
  }

  async #startNode(
    { startNode }: typeof import("../../lib/node/mod.ts"),
    auth: LocalAuth | undefined,
  ): Promise<{ ready: Promise<void> }> {
    const { config, announce, teleportCommand } = this.#options;
    const request = this.#identityRequest("Node", nodeNames(config));
    const { identity, connection } = await this.#connect("Node", request, auth);
    const node = await listening(
      () => startNode({ config, identity: identity.get, auth: connection, teleportCommand }),
      [{ addr: config.ssh.listenAddr, key: "ssh_service.listen_addr" }],
    );
    this.#running.push({ what: "SSH service", close: () => node.close({ drainMs: DRAIN_MS }) });
    announce(`[SSH]   Service is starting on ${shown(node.addr)}`);
    return node;
  }

  /** An identity for the role, and its connection to the auth service. */
  async #connect(
    role: "Proxy" | "Node",
    request: IdentityRequest,
    auth: LocalAuth | undefined,
  ): Promise<Connected> {
    const { config, insecure } = this.#options;
    const found = auth ? await issuedIdentity(auth, request) : await joinedIdentity({
      ...request,
      role,
      authServers: config.authServers,
      insecure,
      ...(config.authToken === undefined ? {} : { token: config.authToken }),
      ...(config.caPin === undefined ? {} : { caPin: config.caPin }),
    }, this.#stop.signal);
    const identity = new CurrentIdentity(found, config.dataDir);
    const connection = new AuthConnection({
      authServers: auth ? [reachableFromHere(auth.addr)] : config.authServers,
      identity: identity.get,
      authorities: () => trustedAuthorities(identity.get().authorities, "host"),
    });
    this.#running.push({ what: "connection to the auth service", close: () => connection.close() });
    if (!auth) this.#renew(identity, request, connection);
    return { identity, connection };
  }

  /** In the background: the auth service may be away, and the certificate at hand is good meanwhile. */
  #renew(identity: CurrentIdentity, request: IdentityRequest, connection: AuthConnection): void {
    identity.renewFor(request, connection, this.#stop.signal).catch((error) => {
      if (this.#stop.signal.aborted) return;
      log("process").error(`The ${request.role} certificate could not be renewed for new names`, {
        error: messageOf(error),
      });
    });
  }

  #identityRequest(role: IdentityRequest["role"], principals: readonly string[]): IdentityRequest {
    const { dataDir, nodename } = this.#options.config;
    return { role, dataDir, hostId: this.#hostId, nodeName: nodename, principals };
  }
}

async function listening<T>(
  start: () => Promise<T>,
  addresses: readonly ListenAddress[],
): Promise<T> {
  try {
    return await start();
  } catch (e) {
    throw explainListenError(e, addresses);
  }
}

async function within(timeMs: number, ending: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${timeMs} ms`)), timeMs);
  });
  try {
    await Promise.race([ending, late]);
  } finally {
    clearTimeout(timer);
  }
}

function shown({ hostname, port }: Deno.NetAddr): string {
  return formatAddr({ host: hostname, port });
}
