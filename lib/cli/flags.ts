/** Options of a command as data: what is parsed, what is shown by --help, and how it is read. */
import { type Format, parseFormat } from "./output.ts";
import { UsageError } from "./exit.ts";

export interface OptionSpec {
  /** commander's notation: "-p, --port <port>", "--[no-]x" is written as "--no-x" beside "--x". */
  flags: string;
  description: string;
  /** The environment variable that stands in when the option is not given. */
  env?: string;
  /** May be given several times. */
  repeatable?: boolean;
  choices?: readonly string[];
  default?: string;
  hidden?: boolean;
  /** Known, but not in this version: giving it is refused, and this says what it would do. */
  refused?: string;
}

/** `--format`, for every command that reads. */
export const formatOption: OptionSpec = {
  flags: "--format <format>",
  description: "how to print: text, json or yaml",
  default: "text",
};

/** The long name without dashes: "port" of "-p, --port <port>", and "A" of "-A". */
export function nameOf(option: OptionSpec): string {
  const words = option.flags.split(/[ ,|]+/).filter((word) => word.startsWith("-"));
  return (words.at(-1) ?? "").replace(/^-+/, "").replace(/^no-/, "");
}

/** "-p" and "--port" of "-p, --port <port>". */
export function spellingsOf(option: OptionSpec): string[] {
  return option.flags.split(/[ ,|]+/).filter((word) => word.startsWith("-"));
}

export function takesValue(option: OptionSpec): boolean {
  return /[<[]/.test(option.flags.replace("[no-]", ""));
}

/** The options that were given, by their long names. Asking for one the command lacks is a bug. */
export class Flags {
  readonly #values: ReadonlyMap<string, string | boolean | readonly string[]>;
  readonly #known: ReadonlySet<string>;

  constructor(
    values: ReadonlyMap<string, string | boolean | readonly string[]>,
    known: Iterable<string>,
  ) {
    this.#values = values;
    this.#known = new Set(known);
  }

  /** As if that option had not been given, for code that would take it for another one. */
  without(name: string): Flags {
    return new Flags(new Map([...this.#values].filter(([key]) => key !== name)), this.#known);
  }

  text(name: string): string | undefined {
    const value = this.#get(name);
    return typeof value === "string" ? value : undefined;
  }

  on(name: string): boolean {
    return this.#get(name) === true;
  }

  /** Whether a switch was turned off, by `--no-name` or its environment variable. */
  off(name: string): boolean {
    return this.#get(name) === false;
  }

  list(name: string): readonly string[] {
    const value = this.#get(name);
    return Array.isArray(value) ? value : typeof value === "string" ? [value] : [];
  }

  /** @throws UsageError unless the value is a whole number between `min` and `max` */
  int(name: string, min: number, max: number): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new UsageError(`--${name}=${value} is not a whole number from ${min} to ${max}`);
    }
    return number;
  }

  /** @throws UsageError */
  format(): Format {
    return parseFormat(this.text("format") ?? "text");
  }

  #get(name: string): string | boolean | readonly string[] | undefined {
    if (!this.#known.has(name)) throw new Error(`no option is called ${name}`);
    return this.#values.get(name);
  }
}
