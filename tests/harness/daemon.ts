import { bin } from "./run.ts";

/** One `teleport start` process of a test, with what it has logged so far. */
export class Daemon {
  readonly pid: number;
  readonly ended: Promise<Deno.CommandStatus>;
  #child: Deno.ChildProcess;
  #log = "";
  #wake: (() => void)[] = [];
  #over = false;
  #pumps: Promise<void>[];

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.pid = child.pid;
    this.#pumps = [this.#pump(child.stdout), this.#pump(child.stderr)];
    this.ended = child.status.then((status) => {
      this.#over = true;
      this.#wake.splice(0).forEach((wake) => wake());
      return status;
    });
  }

  /** Starts the compiled daemon with `teleport start` and these arguments, as an OS user if told. */
  static start(args: string[], env: Record<string, string> = {}, user?: string): Daemon {
    const [command, ...before] = user
      ? ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", bin("teleport")]
      : [bin("teleport")];
    return new Daemon(
      new Deno.Command(command!, {
        args: [...before, "start", ...args],
        env,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
  }

  get log(): string {
    return this.#log;
  }

  /** Waits for a line of the log; throws with the log when it does not come or the daemon ends. */
  async logged(pattern: RegExp, timeoutMs = 20_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!pattern.test(this.#log)) {
      if (this.#over) throw new Error(`teleport ended before it logged ${pattern}:\n${this.#log}`);
      if (Date.now() > end) throw new Error(`teleport did not log ${pattern}:\n${this.#log}`);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, 200);
        this.#wake.push(() => {
          clearTimeout(timer);
          done();
        });
      });
    }
  }

  /** Ends the daemon and waits for it; with SIGKILL this is the crash that the tests speak of. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    if (!this.#over) {
      this.#child.kill(signal);
      // A daemon that ignores SIGTERM must not hold the suite up for ever.
      const timer = setTimeout(() => this.#over || this.#child.kill("SIGKILL"), 15_000);
      await this.ended;
      clearTimeout(timer);
    }
    await Promise.all(this.#pumps);
    return await this.ended;
  }

  async #pump(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.#log += decoder.decode(chunk, { stream: true });
      this.#wake.splice(0).forEach((wake) => wake());
    }
  }
}
