/** What several verbs read from their command lines. */
import { BadParameter } from "../../lib/base/errors.ts";
import { parseDuration } from "../../lib/base/duration.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";

/** `--ttl` in milliseconds. @throws UsageError when it is not a positive duration */
export function ttlOf(flags: Flags, name = "ttl"): number | undefined {
  const text = flags.text(name);
  if (text === undefined) return undefined;
  try {
    const ms = parseDuration(text);
    if (ms > 0) return ms;
  } catch (error) {
    if (!(error instanceof BadParameter)) throw error;
  }
  throw new UsageError(`--${name}=${text} is not a duration such as 30m or 1h`);
}

/** "a, b,,c" → ["a", "b", "c"]. */
export function splitList(text: string): string[] {
  return text.split(",").map((item) => item.trim()).filter((item) => item !== "");
}

/** For optional members of parameters: nothing where there is nothing. */
export function given<K extends string, V>(
  key: K,
  value: V | undefined,
): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]: V };
}
