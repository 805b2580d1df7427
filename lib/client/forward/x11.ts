/**
 * X11 forwarding (`-X`, `-Y`): programs on the node draw on the display here. They are given a
 * cookie that is good for nothing but being known again; the display's own never leaves this
 * computer.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { toHex } from "../../base/bytes.ts";
import { AccessDenied, BadParameter, ConnectionProblem, messageOf } from "../../base/errors.ts";
import type { SessionOptions } from "../../ssh/client.ts";
import { ConnStream } from "../../ssh/stream.ts";
import { trustedCookie, untrustedCookie, type X11Cookie } from "./x11_cookie.ts";
import { parseDisplay, type X11Display } from "./x11_display.ts";
import { type CookieSwap, swapCookie } from "./x11_setup.ts";

export interface X11Options {
  /** DISPLAY. */
  display: string | undefined;
  /** Whether programs may do everything that programs of here may. */
  trusted: boolean;
  /** After so long no new programs of untrusted sessions are let in; 0 for never. */
  timeoutMs: number;
  /** What the person should know. */
  notify(text: string): void;
}

/** Where a display has no cookie, this is what the far side is told, and the display ignores. */
const usualProtocol = "MIT-MAGIC-COOKIE-1";
const usualSize = 16;

export class X11Forwarding {
  /** What the node is asked for. */
  readonly request: NonNullable<SessionOptions["x11"]>;
  readonly #display: X11Display;
  readonly #swap: CookieSwap;
  readonly #options: X11Options;
  readonly #startedMs = performance.now();

  private constructor(options: X11Options, display: X11Display, cookie: X11Cookie) {
    const fake = crypto.getRandomValues(new Uint8Array(cookie.value.length));
    this.#options = options;
    this.#display = display;
    this.#swap = { protocol: cookie.protocol, fake, real: cookie.value };
    this.request = { protocol: cookie.protocol, cookie: toHex(fake), screen: display.screen };
  }

  /** @throws BadParameter, ConnectionProblem when there is no display that could be forwarded */
  static async prepare(options: X11Options): Promise<X11Forwarding> {
    if (!options.display) {
      throw new BadParameter("DISPLAY is not set: there is no X display here to forward");
    }
    const display = parseDisplay(options.display);
    const cookie = options.trusted
      ? await trustedCookie(display.name) ??
        { protocol: usualProtocol, value: crypto.getRandomValues(new Uint8Array(usualSize)) }
      : await untrustedCookie(display.name, options.timeoutMs);
    return new X11Forwarding(options, display, cookie);
  }

  /** A connection of a program of the node. */
  async connect(): Promise<Duplex> {
    const { trusted, timeoutMs, notify } = this.#options;
    try {
      if (!trusted && timeoutMs > 0 && performance.now() - this.#startedMs > timeoutMs) {
        throw new AccessDenied("the time for new programs (ForwardX11Timeout) is over");
      }
      return new X11Stream(await this.#dial(), this.#swap, (reason) => {
        notify(`X11: a connection from the node was turned away: ${reason}`);
      });
    } catch (e) {
      notify(`X11: a program of the node could not be shown: ${messageOf(e)}`);
      throw e;
    }
  }

  async #dial(): Promise<Deno.Conn> {
    const { address } = this.#display;
    try {
      if ("path" in address) return await Deno.connect({ transport: "unix", path: address.path });
      return await Deno.connect({ hostname: address.host, port: address.port });
    } catch (cause) {
      throw new ConnectionProblem(
        `the display ${this.#options.display} cannot be reached: ${messageOf(cause)}`,
        { cause },
      );
    }
  }
}

/** A connection with the display, in whose first message the cookie is put right. */
class X11Stream extends ConnStream {
  readonly #swap: CookieSwap;
  readonly #onRefused: (reason: string) => void;
  #head: Buffer | undefined = Buffer.alloc(0);

  constructor(conn: Deno.Conn, swap: CookieSwap, onRefused: (reason: string) => void) {
    super(conn);
    this.#swap = swap;
    this.#onRefused = onRefused;
  }

  override _write(chunk: Buffer, encoding: string, done: (error?: Error | null) => void): void {
    if (!this.#head) return super._write(chunk, encoding, done);
    // A copy: the chunk's memory is used again.
    this.#head = Buffer.concat([this.#head, chunk]);
    let first: Buffer | undefined;
    try {
      first = swapCookie(this.#head, this.#swap);
    } catch (e) {
      this.#onRefused(messageOf(e));
      return done(e as Error);
    }
    if (!first) return done();
    this.#head = undefined;
    super._write(first, encoding, done);
  }
}
