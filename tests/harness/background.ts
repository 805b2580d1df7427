import { eventually } from "./run.ts";

/** A program that goes on until it is disposed of, and what it has said. */
export class Background implements AsyncDisposable {
  said = "";
  readonly #child: Deno.ChildProcess;
  readonly #pumps: Promise<void>[];

  private constructor(argv: string[], env: Record<string, string>) {
    this.#child = new Deno.Command(argv[0]!, {
      args: argv.slice(1),
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#pumps = [this.#child.stdout, this.#child.stderr].map(async (stream) => {
      const decoder = new TextDecoder();
      for await (const chunk of stream) this.said += decoder.decode(chunk, { stream: true });
    });
  }

  static async start(
    argv: string[],
    env: Record<string, string>,
    isReady: (said: string) => boolean | Promise<boolean>,
  ): Promise<Background> {
    const program = new Background(argv, env);
    try {
      await eventually(`${argv.join(" ")} to be ready`, () => isReady(program.said));
      return program;
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw new Error(program.said, { cause: error });
    }
  }

  /** Resolves when it has ended, by itself or by others, and all it said is in `said`. */
  get status(): Promise<Deno.CommandStatus> {
    return Promise.all(this.#pumps).then(() => this.#child.status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await Promise.all(this.#pumps);
  }
}
