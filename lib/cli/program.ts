/**
 * A command-line program: its verbs, each loaded when it is used, and the one place where an error
 * becomes a line on stderr and an exit status.
 */
import { messageOf } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { findVerb } from "./argv.ts";
import type { CommandSpec } from "./command.ts";
import { Exit, exitStatus, exitStatusOf, UsageError } from "./exit.ts";
import type { OptionSpec } from "./flags.ts";
import { out, paint, say } from "./output.ts";
import { suggest } from "./suggest.ts";

export type { CommandSpec } from "./command.ts";

export interface Program {
  name: string;
  summary: string;
  /** Options that every verb takes, before or after its name. One must be "-d, --debug". */
  globals: readonly OptionSpec[];
  commands: readonly CommandEntry[];
}

/** What the overview needs to know of a verb; the rest is loaded when the verb is used. */
export interface CommandEntry {
  /** One word or two: "ssh", "users add". */
  name: string;
  aliases?: readonly string[];
  summary: string;
  hidden?: boolean;
  load(): Promise<{ command: CommandSpec }>;
}

/** Runs the program and ends the process. */
export async function main(program: Program, argv: readonly string[] = Deno.args): Promise<never> {
  Deno.exit(await run(program, argv));
}

/** Runs the program; whatever happens, it ends with a status and at most one line of error. */
export async function run(program: Program, argv: readonly string[]): Promise<number> {
  let spec: CommandSpec | undefined;
  try {
    const { verb, words, rest } = findVerb(argv, verbs(program), program.globals);
    if (words[0] === "help") {
      const asked = rest.filter((word) => !word.startsWith("-"));
      return await run(program, [...asked, "--help"]);
    }
    if (verb === undefined) return withoutVerb(program, words, rest);
    const entry = entryOf(program, verb);
    spec = (await entry.load()).command;
    const { parseCommand } = await import("./parse.ts");
    const parsed = parseCommand(program.name, spec, program.globals, rest);
    if ("help" in parsed) {
      out(parsed.help);
      return exitStatus.ok;
    }
    return await spec.run(parsed.args, parsed.flags) ?? exitStatus.ok;
  } catch (e) {
    return report(e, argv, spec);
  }
}

/** Prints what went wrong, and with --debug where. */
function report(e: unknown, argv: readonly string[], spec: CommandSpec | undefined): number {
  if (e instanceof Exit) return e.status;
  const debug = argv.includes("--debug") || argv.includes("-d");
  try {
    say(`${paint("red", "error:", Deno.stderr)} ${printable(messageOf(e), { lines: true })}`);
    if (debug) say(printable(stackOf(e), { lines: true }));
  } catch {
    // Nobody listens on stderr. The status still tells.
  }
  return spec?.statusOf?.(e) ?? exitStatusOf(e);
}

function stackOf(e: unknown): string {
  if (!(e instanceof Error)) return String(e);
  const cause = e.cause === undefined ? "" : `\ncaused by: ${stackOf(e.cause)}`;
  return `${e.stack ?? e.message}${cause}`;
}

function withoutVerb(program: Program, words: string[], rest: string[]): number {
  const first = words[0];
  if (rest.includes("--help") || rest.includes("-h")) return help(program, words);
  if (first === undefined) {
    const option = rest.find((word) => word.startsWith("-"));
    if (option !== undefined) {
      throw new UsageError(`a command is missing; see \`${program.name} --help\``);
    }
    say(overview(program));
    return exitStatus.usage;
  }
  const group = program.commands.filter((entry) => entry.name.startsWith(`${first} `));
  if (group.length > 0 && words.length === 1) {
    say(overview(program, first));
    return exitStatus.usage;
  }
  throw unknownVerb(program, words);
}

function help(program: Program, asked: string[]): number {
  const name = asked.join(" ");
  if (name === "" || program.commands.some((entry) => entry.name.startsWith(`${name} `))) {
    out(overview(program, name || undefined));
    return exitStatus.ok;
  }
  throw unknownVerb(program, asked);
}

function unknownVerb(program: Program, words: string[]): UsageError {
  const name = words.join(" ");
  const near = suggest(name, verbs(program));
  return new UsageError(
    `unknown command ${JSON.stringify(name)}; ` +
      (near ? `did you mean \`${program.name} ${near}\`?` : `see \`${program.name} --help\``),
  );
}

function overview(program: Program, group?: string): string {
  const shown = program.commands.filter((entry) =>
    !entry.hidden && (group === undefined || entry.name.startsWith(`${group} `))
  );
  const width = Math.max(...shown.map((entry) => entry.name.length));
  return [
    `Usage: ${program.name} ${
      group === undefined ? "" : `${group} `
    }<command> [options] [arguments]`,
    "",
    ...(group === undefined ? [program.summary, ""] : []),
    "Commands:",
    ...shown.map((entry) => `  ${entry.name.padEnd(width)}  ${entry.summary}`),
    "",
    `Type \`${program.name} help <command>\` for a command's options and examples.`,
  ].join("\n");
}

function verbs(program: Program): string[] {
  return program.commands.flatMap((entry) => [entry.name, ...(entry.aliases ?? [])]);
}

function entryOf(program: Program, verb: string): CommandEntry {
  const entry = program.commands.find((e) => e.name === verb || e.aliases?.includes(verb));
  if (!entry) throw unknownVerb(program, [verb]);
  return entry;
}
