import { eventually, must, run } from "./run.ts";

let serial = 0;

/** A real terminal (tmux) that a test types into and reads the screen of. */
export class Terminal {
  private constructor(readonly socket: string) {}

  /** Opens a terminal of `cols` by `rows` that runs the command; its last screen stays readable. */
  static async open(
    argv: string[],
    options: { dir: string; env?: Record<string, string>; cols?: number; rows?: number },
  ): Promise<Terminal> {
    const socket = `${options.dir}/tmux-${++serial}.sock`;
    const size = ["-x", String(options.cols ?? 80), "-y", String(options.rows ?? 24)];
    const env = Object.entries(options.env ?? {}).flatMap(([k, v]) => ["-e", `${k}=${v}`]);
    const command = argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    await must([
      ...["tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", ...size, ...env],
      `${command}; echo "[ended with status $?]"; sleep 1000`,
    ], { env: { TERM: "xterm-256color", LANG: "C.UTF-8" } });
    // Without a client attached, tmux would follow its own idea of the size.
    await must(["tmux", "-S", socket, "set-option", "-g", "window-size", "manual"]);
    await must(["tmux", "-S", socket, "resize-window", ...size]);
    return new Terminal(socket);
  }

  /** Types text as it is, without a return at its end. */
  async type(text: string): Promise<void> {
    await must(["tmux", "-S", this.socket, "send-keys", "-l", "--", text]);
  }

  /** Presses keys by tmux's names: `Enter`, `C-c`, `Escape`, … */
  async press(...keys: string[]): Promise<void> {
    await must(["tmux", "-S", this.socket, "send-keys", ...keys]);
  }

  async enter(line: string): Promise<void> {
    await this.type(line);
    await this.press("Enter");
  }

  async screen(): Promise<string> {
    return (await must(["tmux", "-S", this.socket, "capture-pane", "-p"])).stdout;
  }

  /** Waits until the screen shows the pattern; throws with the screen when it does not. */
  async shows(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpMatchArray> {
    let last = "";
    try {
      return await eventually(`the screen to show ${pattern}`, async () => {
        last = await this.screen();
        return last.match(pattern) ?? undefined;
      }, timeoutMs);
    } catch (error) {
      throw new Error(`the screen does not show ${pattern}:\n${last}`, { cause: error });
    }
  }

  async resize(cols: number, rows: number): Promise<void> {
    await must([
      ...["tmux", "-S", this.socket, "resize-window"],
      ...["-x", String(cols), "-y", String(rows)],
    ]);
  }

  async close(): Promise<void> {
    await run(["tmux", "-S", this.socket, "kill-server"]);
    await Deno.remove(this.socket).catch(() => {});
  }
}
