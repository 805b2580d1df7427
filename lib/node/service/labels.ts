/** The node's labels: fixed ones, and ones that a command gives, run again and again. */
import { sleep } from "../../base/backoff.ts";
import { messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { formatDuration } from "../../base/duration.ts";
import { printable } from "../../base/text.ts";
import type { LabelCommand } from "../../resources/label_selector.ts";
import type { Labels, Node } from "../../resources/types.ts";

const MIN_PERIOD_MS = 1_000;
/** A command that takes longer is ended; its label keeps the last value. */
const COMMAND_TIMEOUT_MS = 10_000;
const MAX_RESULT = 256;

export class NodeLabels {
  readonly #static: Labels;
  readonly #commands: readonly LabelCommand[];
  readonly #results = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[];
  /** Resolves when each command has run once. */
  readonly ready: Promise<unknown>;

  constructor(fixed: Labels, commands: readonly LabelCommand[]) {
    this.#static = fixed;
    this.#commands = commands;
    const first = commands.map((command) => this.#run(command));
    this.ready = Promise.all(first);
    this.#loops = commands.map((command, i) => this.#repeat(command, first[i]!));
  }

  /** All labels with their present values; a fixed one is not replaced by a command's. */
  get current(): Labels {
    return { ...Object.fromEntries(this.#results), ...this.#static };
  }

  /** As a node's record has them. */
  get records(): Node["spec"]["cmd_labels"] {
    return Object.fromEntries(this.#commands.map(({ name, command, periodMs }) => [name, {
      period: formatDuration(Math.max(periodMs, MIN_PERIOD_MS)),
      command: [...command],
      result: this.#results.get(name) ?? "",
    }]));
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #repeat(command: LabelCommand, first: Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    await first;
    while (!signal.aborted) {
      await sleep(Math.max(command.periodMs, MIN_PERIOD_MS), signal).catch(() => {});
      if (!signal.aborted) await this.#run(command);
    }
  }

  async #run({ name, command }: LabelCommand): Promise<void> {
    const [program, ...args] = command;
    if (program === undefined) return;
    try {
      const { success, code, stdout } = await new Deno.Command(program, {
        args,
        stdin: "null",
        stdout: "piped",
        stderr: "null",
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(COMMAND_TIMEOUT_MS)]),
      }).output();
      if (!success) throw new Error(`exit status ${code}`);
      const line = new TextDecoder().decode(stdout.subarray(0, 4 * MAX_RESULT)).trim();
      this.#results.set(name, printable(line.split("\n")[0]!.slice(0, MAX_RESULT)));
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      log("node").warn("A label's command failed", { label: name, error: messageOf(error) });
    }
  }
}
