import { Background } from "./background.ts";
import { exists } from "./files.ts";
import { must } from "./run.ts";

/** An X server without a screen, and the variables that let its user's programs find it. */
export class XServer implements AsyncDisposable {
  private constructor(readonly env: Record<string, string>, readonly program: Background) {}

  static async start(home: string): Promise<XServer> {
    const authority = `${home}/.Xauthority`;
    for (let display = 300;; display++) {
      if (exists(`/tmp/.X11-unix/X${display}`) || exists(`/tmp/.X${display}-lock`)) continue;
      const cookie = [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await must(["xauth", "-q", "-f", authority, "add", `:${display}`, ".", cookie]);
      // Without a client, as desktops never are, it would forget the cookies that it has made.
      const program = await Background.start(
        [
          ...["Xvfb", `:${display}`, "-auth", authority, "-nolisten", "tcp", "-noreset"],
          ...["-screen", "0", "64x64x8"],
        ],
        {},
        () => exists(`/tmp/.X11-unix/X${display}`),
      );
      return new XServer({ DISPLAY: `:${display}`, XAUTHORITY: authority }, program);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}
