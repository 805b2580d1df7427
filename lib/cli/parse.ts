/** Parses one command's arguments with commander, which is loaded here and nowhere else. */
import { Command, CommanderError, Option } from "commander";
import { endOptionsAfterFirst } from "./argv.ts";
import type { CommandSpec } from "./command.ts";
import { UsageError } from "./exit.ts";
import { Flags, nameOf, type OptionSpec, spellingsOf, takesValue } from "./flags.ts";
import { suggest } from "./suggest.ts";

export type Parsed = { help: string } | { args: string[]; flags: Flags };

/**
 * @param env where options that were not given are looked up
 * @throws UsageError
 */
export function parseCommand(
  program: string,
  spec: CommandSpec,
  globals: readonly OptionSpec[],
  argv: readonly string[],
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
): Parsed {
  const own = [...(spec.options ?? [])];
  const ownNames = new Set(own.map(nameOf));
  const options = [...own, ...globals.filter((option) => !ownNames.has(nameOf(option)))];
  const command = build(program, spec, own, options);
  let text = "";
  command.configureOutput({ writeOut: (s) => text += s, writeErr: () => {} });
  try {
    const words = spec.runsCommand ? endOptionsAfterFirst(argv, options) : [...argv];
    command.parse(words, { from: "user" });
  } catch (e) {
    if (!(e instanceof CommanderError)) throw e;
    if (e.code === "commander.helpDisplayed") return { help: text.trimEnd() };
    throw new UsageError(readable(e.message, `${program} ${spec.name}`, options));
  }
  return { args: command.args, flags: flagsOf(command, options, env) };
}

function build(
  program: string,
  spec: CommandSpec,
  own: readonly OptionSpec[],
  options: readonly OptionSpec[],
): Command {
  const command = new Command(`${program} ${spec.name}`)
    .description(spec.description ?? spec.summary)
    .usage(["[options]", spec.usage ?? argumentsOf(spec)].join(" ").trim())
    .helpOption("-h, --help", "show this help")
    .allowExcessArguments(false)
    .showSuggestionAfterError(false)
    .exitOverride();
  for (const argument of spec.arguments ?? []) command.argument(argument.name, argument.about);
  for (const option of options) {
    const parsed = new Option(option.flags, describe(option));
    if (option.hidden || option.refused) parsed.hideHelp();
    if (option.choices) parsed.choices(option.choices);
    if (option.repeatable) {
      parsed.argParser((
        value: string,
        previous: string[] | undefined,
      ) => [...(previous ?? []), value]);
    }
    if (!own.includes(option)) parsed.helpGroup("Global options:");
    command.addOption(parsed);
  }
  command.addHelpText("after", () => helpEnd(spec));
  return command;
}

function argumentsOf(spec: CommandSpec): string {
  return (spec.arguments ?? []).map((argument) => argument.name).join(" ");
}

function describe(option: OptionSpec): string {
  const notes = [
    ...(option.default === undefined ? [] : [`default: ${option.default}`]),
    ...(option.env === undefined ? [] : [`env: ${option.env}`]),
  ];
  return notes.length === 0 ? option.description : `${option.description} (${notes.join(", ")})`;
}

function helpEnd(spec: CommandSpec): string {
  const width = Math.max(0, ...(spec.examples ?? []).map(([command]) => command.length));
  const examples = (spec.examples ?? []).map(([command, what]) =>
    width > 50 ? `  # ${what}\n  ${command}` : `  ${command.padEnd(width)}  ${what}`
  );
  return [
    ...(spec.notes === undefined ? [] : ["", spec.notes]),
    ...(examples.length === 0 ? [] : ["", "Examples:", ...examples]),
  ].join("\n");
}

function flagsOf(
  command: Command,
  options: readonly OptionSpec[],
  env: (name: string) => string | undefined,
): Flags {
  const values = new Map<string, string | boolean | readonly string[]>();
  for (const option of options) {
    const name = nameOf(option);
    const key = new Option(option.flags).attributeName();
    const given = command.getOptionValueSource(key) === "cli"
      ? command.getOptionValue(key) as unknown
      : undefined;
    if (given !== undefined && option.refused) {
      throw new UsageError(
        `${spellingsOf(option)[0]} (${option.refused}) is not supported by this version: ` +
          "run the command without it",
      );
    }
    const value = given ?? fallback(option, env);
    if (isFlagValue(value)) values.set(name, value);
  }
  return new Flags(values, options.map(nameOf));
}

function fallback(
  option: OptionSpec,
  env: (name: string) => string | undefined,
): string | boolean | undefined {
  const text = (option.env && env(option.env)) || option.default;
  if (text === undefined || takesValue(option)) return text;
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  if (/^(?:0|false|no|off)$/i.test(text)) return false;
  throw new UsageError(`${option.env}=${text} is not one of true, false`);
}

function isFlagValue(value: unknown): value is string | boolean | readonly string[] {
  return typeof value === "string" || typeof value === "boolean" || Array.isArray(value);
}

/** commander's "error: unknown option '--x'" as a sentence of ours, with what was meant. */
function readable(message: string, program: string, options: readonly OptionSpec[]): string {
  const sentence = message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ").replace(/\.$/, "");
  const unknown = /^unknown option '(--[^=']+)/.exec(sentence)?.[1];
  const near = unknown && suggest(unknown, [...options.flatMap(spellingsOf), "--help"]);
  return near ? `${sentence}; did you mean ${near}?` : `${sentence}; see \`${program} --help\``;
}
