/**
 * A display for one session, as sshd makes it with `X11UseLocalhost yes`: a port of loopback that
 * X clients find by DISPLAY, and the cookie in the user's own Xauthority file.
 */
import { ConnectionProblem, LimitExceeded, messageOf, NotFound } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { printable } from "../../base/text.ts";
import { PortListener } from "../../ssh/port_listener.ts";
import type { X11Request } from "../../ssh/server.ts";
import type { ConnStream } from "../../ssh/stream.ts";
import { loginPath } from "../process/login_defs.ts";
import { planLaunch } from "../process/launch.ts";
import type { OsUser } from "../process/os_user.ts";
import { PipedProcess } from "../process/piped_process.ts";

/** X's port of display 0. */
const X_PORT = 6000;
/** As sshd: lower ones may be real displays. */
const FIRST_DISPLAY = 10;
const LAST_DISPLAY = 1009;
const XAUTH: readonly string[] = [
  "/usr/bin/xauth",
  "/usr/X11R6/bin/xauth",
  "/usr/local/bin/xauth",
];
/** It waits that long for a lock that another one has left. */
const XAUTH_TIMEOUT_MS = 15_000;
const MAX_COMPLAINT = 500;

export interface X11DisplayOptions {
  readonly user: OsUser;
  readonly request: X11Request;
  /** Owns the stream. */
  readonly onConnection: (stream: ConnStream, from: Deno.NetAddr) => void;
  /** Where xauth may be. */
  readonly xauth?: readonly string[];
}

export class X11Display {
  readonly #options: X11DisplayOptions;
  readonly #xauth: string;
  readonly #listener: PortListener;
  readonly #number: number;
  #authorizing: Promise<void> | undefined;

  /** @throws NotFound when the node has no xauth */
  static assertPossible(): void {
    findXauth();
  }

  /**
   * Listens; the cookie is not known to anybody yet.
   *
   * @throws NotFound as above, LimitExceeded when all displays are taken
   */
  constructor(options: X11DisplayOptions) {
    const { request, onConnection, xauth } = options;
    this.#options = options;
    this.#xauth = findXauth(xauth);
    [this.#number, this.#listener] = firstFree((stream, from) => {
      if (request.singleConnection) this.#listener.close();
      onConnection(stream, from);
    });
  }

  /** For DISPLAY. */
  get name(): string {
    return `localhost:${this.#number}.${this.#options.request.screen}`;
  }

  /**
   * Writes the cookie to the user's Xauthority file.
   *
   * @throws ConnectionProblem with what xauth complained about
   */
  async authorize(): Promise<void> {
    const { protocol, cookie } = this.#options.request;
    const name = this.#authName;
    this.#authorizing = this.#runXauth(`remove ${name}\nadd ${name} ${protocol} ${cookie}\n`);
    await this.#authorizing;
  }

  /** Listens no more, and takes the cookie back. Never throws. */
  async close(): Promise<void> {
    await this.#listener.close();
    const authorizing = this.#authorizing;
    this.#authorizing = undefined;
    if (!authorizing) return;
    try {
      // Not at the same time: the one that adds it could be the last.
      await authorizing.catch(() => {});
      await this.#runXauth(`remove ${this.#authName}\n`);
    } catch (error) {
      log("node").warn("A display's cookie was left behind", { error: messageOf(error) });
    }
  }

  /** X libraries look a display of "localhost" up as if it was reached by a Unix socket. */
  get #authName(): string {
    return `unix:${this.#number}.${this.#options.request.screen}`;
  }

  /** As the user, who could make it write anywhere else; by stdin, because all see arguments. */
  async #runXauth(commands: string): Promise<void> {
    const { user } = this.#options;
    const env = {
      PATH: loginPath(user.uid),
      HOME: user.home,
      USER: user.name,
      LOGNAME: user.name,
    };
    const argv = [this.#xauth, "-q", "-"] as const;
    const process = PipedProcess.start(planLaunch(user, { kind: "argv", argv: [...argv] }, env));
    let said = "";
    for (const output of [process.stdout, process.stderr]) {
      output.on("data", (chunk: Uint8Array) => {
        said = (said + new TextDecoder().decode(chunk)).slice(0, MAX_COMPLAINT);
      });
    }
    process.stdin.end(commands);
    const timer = setTimeout(() => process.child.signal("KILL"), XAUTH_TIMEOUT_MS);
    try {
      const exit = await process.exited;
      if ("code" in exit && exit.code === 0) return;
      const how = "code" in exit ? `status ${exit.code}` : `signal ${exit.signal}`;
      const why = printable(said.trim()) || "it said nothing";
      throw new ConnectionProblem(`xauth ended with ${how}: ${why}`);
    } finally {
      clearTimeout(timer);
      await process.close();
    }
  }
}

function findXauth(candidates = XAUTH): string {
  const path = candidates.find(isFile);
  if (path) return path;
  throw new NotFound("this node has no xauth, which X11 forwarding needs: install it there");
}

function firstFree(
  onConnection: (stream: ConnStream, from: Deno.NetAddr) => void,
): [number, PortListener] {
  for (let display = FIRST_DISPLAY; display <= LAST_DISPLAY; display++) {
    try {
      return [display, PortListener.open({ port: X_PORT + display, onConnection })];
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new LimitExceeded("all X11 displays of this node are taken");
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
