/** The HTTPS listener: serves a handler, and takes another certificate while it runs. */
import { sleep } from "../../base/backoff.ts";
import { AccessDenied, BadParameter, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import type { HostPort } from "../../base/net.ts";
import type { TlsPair } from "../../host/identity.ts";
import type { WebHandler } from "./app.ts";
import { errorResponse } from "./errors.ts";
import { ConnectionGate, type GateLimits } from "./gate.ts";

type InnerServer = Deno.HttpServer<Deno.NetAddr>;

export class WebServer {
  readonly #handler: WebHandler;
  readonly #gate: ConnectionGate;
  #inner: InnerServer;
  #tls: TlsPair;

  /**
   * @param address port 0 takes a free one
   * @throws BadParameter when the key and the certificate cannot be used
   * @throws Deno.errors.* when the address cannot be listened on
   */
  constructor(
    address: HostPort,
    tls: TlsPair,
    handler: WebHandler,
    limits: Partial<GateLimits> = {},
  ) {
    this.#handler = handler;
    this.#tls = tls;
    this.#gate = new ConnectionGate(address, () => this.#inner.addr.port, limits);
    try {
      this.#inner = this.#serve(tls);
    } catch (error) {
      this.#gate.closeAll();
      throw error;
    }
  }

  get addr(): Deno.NetAddr {
    return this.#gate.addr;
  }

  /**
   * Serves new connections with this pair; open ones finish with the old one.
   *
   * @throws BadParameter when it cannot be used; then the old one stays
   */
  replaceCertificate(tls: TlsPair): void {
    if (tls.keyPem === this.#tls.keyPem && tls.certPem === this.#tls.certPem) return;
    const old = this.#inner;
    this.#inner = this.#serve(tls);
    this.#tls = tls;
    old.shutdown().catch(() => {});
    log("web").info("Serving with a new certificate");
  }

  /** Lets requests in progress finish for at most `drainMs` milliseconds. */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    this.#gate.stop();
    const done = this.#inner.shutdown();
    const patience = new AbortController();
    await Promise.race([done, sleep(o.drainMs ?? 1_000, patience.signal).catch(() => {})]);
    patience.abort();
    this.#gate.closeAll();
    await done;
  }

  #serve({ keyPem, certPem }: TlsPair): InnerServer {
    const options = {
      hostname: "127.0.0.1",
      port: 0,
      key: keyPem,
      cert: certPem,
      onListen: () => {},
      onError: (error: unknown) => errorResponse(error),
    };
    try {
      return Deno.serve(options, (request, info: Deno.ServeHandlerInfo<Deno.NetAddr>) => {
        const client = this.#gate.clientOf(info.remoteAddr.port);
        if (client) return this.#handler(request, client);
        return errorResponse(new AccessDenied("this port is not for clients"));
      });
    } catch (error) {
      throw new BadParameter(`the TLS key and certificate cannot be used: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
