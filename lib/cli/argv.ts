/** Finding things in an argument list before the verb, and so its options, is known. Pure. */
import { type OptionSpec, spellingsOf, takesValue } from "./flags.ts";

export interface FoundVerb {
  /** The verb's full name, e.g. "users add"; undefined when none of `names` was found. */
  verb?: string;
  /** The words that look like a verb, for the error message. */
  words: string[];
  /** The arguments without the verb's words. */
  rest: string[];
}

/**
 * Finds the verb among global options that may stand before it: `tsh --proxy x ssh host` and
 * `tctl -c file users add joe`. Verbs have one word or two.
 */
export function findVerb(
  argv: readonly string[],
  names: readonly string[],
  globals: readonly OptionSpec[],
): FoundVerb {
  const words: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--") return { words, rest: [...rest, ...argv.slice(i)] };
    if (word.startsWith("-") && word !== "-") {
      const count = 1 + (needsNext(word, globals) ? 1 : 0);
      rest.push(...argv.slice(i, i + count));
      i += count - 1;
      continue;
    }
    words.push(word);
    const verb = words.join(" ");
    const found = names.includes(verb);
    if (!found && words.length < 2 && names.some((name) => name.startsWith(`${verb} `))) continue;
    const all = [...rest, ...argv.slice(i + 1)];
    return found ? { verb, words, rest: all } : { words, rest: all };
  }
  return { words, rest };
}

/**
 * Arguments of a command that runs another one (`ssh [options] host [options] command…`): options
 * may stand around the host, as ssh has it, but what follows the command's first word is the
 * command's own. Returns the options, "--", and the rest, which any parser reads right.
 */
export function endOptionsAfterFirst(
  argv: readonly string[],
  options: readonly OptionSpec[],
): string[] {
  const ours: string[] = [];
  const operands: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--") {
      operands.push(...argv.slice(i + 1));
      break;
    }
    if (word.startsWith("-") && word !== "-") {
      const count = 1 + (needsNext(word, options) ? 1 : 0);
      ours.push(...argv.slice(i, i + count));
      i += count - 1;
    } else if (operands.length === 0) {
      operands.push(word);
    } else {
      operands.push(...argv.slice(i));
      break;
    }
  }
  return [...ours, "--", ...operands];
}

/** Whether the argument after `word` is its value: "--port 22", "-p 22", but not "-p22", "-tp 22". */
function needsNext(word: string, options: readonly OptionSpec[]): boolean {
  if (word.startsWith("--")) {
    return !word.includes("=") && has(word, options);
  }
  // In "-tqp 22" only the last letter can take the next argument, in "-p22" none does.
  for (let i = 1; i < word.length; i++) {
    if (has(`-${word[i]}`, options)) return i === word.length - 1;
  }
  return false;
}

function has(spelling: string, options: readonly OptionSpec[]): boolean {
  return options.some((option) =>
    takesValue(option) && option.flags.includes("<") && spellingsOf(option).includes(spelling)
  );
}
