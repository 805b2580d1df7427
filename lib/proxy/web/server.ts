/** The HTTPS listener: serves a handler, and takes another certificate while it runs. */
import { BadParameter, messageOf } from "../../base/errors.ts";
import type { HostPort } from "../../base/net.ts";
import { sleep } from "../../base/backoff.ts";
import { log } from "../../base/log.ts";
import type { TlsPair } from "../../host/identity.ts";
import type { WebHandler } from "./app.ts";
import { errorResponse } from "./errors.ts";

export class WebServer {
  readonly #handler: WebHandler;
  #server: Deno.HttpServer<Deno.NetAddr>;
  #tls: TlsPair;
  #closing = false;

  /**
   * @param address port 0 takes a free one
   * @throws BadParameter when the key and the certificate cannot be used
   * @throws Deno.errors.* when the address cannot be listened on
   */
  constructor(address: HostPort, tls: TlsPair, handler: WebHandler) {
    this.#handler = handler;
    this.#tls = tls;
    this.#server = this.#listen(address);
  }

  get addr(): Deno.NetAddr {
    return this.#server.addr;
  }

  /** Serves new connections with this pair; open ones finish with the old one. */
  async replaceCertificate(tls: TlsPair): Promise<void> {
    if (this.#closing || sameCertificate(tls, this.#tls)) return;
    const before = this.#tls;
    const old = this.#server;
    const address = { host: old.addr.hostname, port: old.addr.port };
    // Deno lets go of the port at once and finishes what is in progress.
    old.shutdown().catch(() => {});
    this.#tls = tls;
    try {
      this.#server = await this.#listenAgain(address);
      log("web").info("Serving with a new certificate");
    } catch (error) {
      this.#tls = before;
      this.#server = await this.#listenAgain(address);
      throw error;
    }
  }

  /** Lets requests in progress finish for at most `drainMs` milliseconds. */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    this.#closing = true;
    const done = this.#server.shutdown();
    const patience = new AbortController();
    await Promise.race([done, sleep(o.drainMs ?? 1_000, patience.signal).catch(() => {})]);
    patience.abort();
  }

  #listen(address: HostPort): Deno.HttpServer<Deno.NetAddr> {
    const options = {
      hostname: address.host,
      port: address.port,
      key: this.#tls.keyPem,
      cert: this.#tls.certPem,
      onListen: () => {},
      onError: (error: unknown) => errorResponse(error),
    };
    try {
      return Deno.serve(
        options,
        (request, info: Deno.ServeHandlerInfo<Deno.NetAddr>) =>
          this.#handler(request, { host: info.remoteAddr.hostname, port: info.remoteAddr.port }),
      );
    } catch (error) {
      if (error instanceof Deno.errors.InvalidData || /key|cert/i.test(messageOf(error))) {
        throw new BadParameter(`the TLS key and certificate cannot be used: ${messageOf(error)}`, {
          cause: error,
        });
      }
      throw error;
    }
  }

  async #listenAgain(address: HostPort): Promise<Deno.HttpServer<Deno.NetAddr>> {
    for (let attempt = 0;; attempt++) {
      try {
        return this.#listen(address);
      } catch (error) {
        if (!(error instanceof Deno.errors.AddrInUse) || attempt >= 50) throw error;
        await sleep(20);
      }
    }
  }
}

function sameCertificate(a: TlsPair, b: TlsPair): boolean {
  return a.keyPem === b.keyPem && a.certPem === b.certPem;
}
