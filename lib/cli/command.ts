/** One verb of a program: what its help says of it, and what it does. */
import type { Flags, OptionSpec } from "./flags.ts";

export interface CommandSpec {
  name: string;
  summary: string;
  /** Longer text for --help; the summary unless given. */
  description?: string;
  /** The arguments as the usage line shows them, when `arguments` do not say it well. */
  usage?: string;
  /** commander's notation: "<host>", "[command...]". */
  arguments?: readonly { name: string; about: string }[];
  options?: readonly OptionSpec[];
  /** Shown below the options: files, environment, exit statuses. */
  notes?: string;
  /** Command lines and what they do. */
  examples?: readonly (readonly [command: string, what: string])[];
  /** The arguments after the first are somebody else's command line. */
  runsCommand?: boolean;
  /** Returns the exit status, 0 when nothing is returned. */
  run(args: readonly string[], flags: Flags): Promise<number | void> | number | void;
  /** The exit status of an error; 1, or 2 for UsageError, unless given. */
  statusOf?(e: unknown): number;
}
