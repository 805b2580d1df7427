/** Points in time as people write them on a command line. */
import { BadParameter } from "../base/errors.ts";
import { parseDuration } from "../base/duration.ts";
import { UsageError } from "./exit.ts";
import type { Flags, OptionSpec } from "./flags.ts";

/** `--from` and `--to`, for every command that searches by time. */
export const rangeOptions: readonly OptionSpec[] = [
  {
    flags: "--from <time>",
    description: "not before: 2026-03-02, 2026-03-02T10:00:00Z, or how long ago: 2h, 30d",
  },
  { flags: "--to <time>", description: "not after; a day is meant with its end" },
];

const DAY_MS = 86_400_000;

/** What the flags say, RFC 3339 in UTC. @throws UsageError */
export function rangeOf(flags: Flags, nowMs = Date.now()): { from?: string; to?: string } {
  const at = (name: "from" | "to") => {
    const text = flags.text(name);
    return text === undefined ? {} : { [name]: parseWhen(text, name, nowMs) };
  };
  return { ...at("from"), ...at("to") };
}

/** @throws UsageError */
function parseWhen(text: string, name: "from" | "to", nowMs: number): string {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/.test(
    text,
  );
  const ms = isDay || isTime ? Date.parse(text) : nowMs - ago(text);
  if (Number.isFinite(ms) && Math.abs(ms) < 8.64e15) {
    return new Date(isDay && name === "to" ? ms + DAY_MS - 1 : ms).toISOString();
  }
  throw new UsageError(
    `--${name}=${text} is no time: write a day (2026-03-02), a time with its zone ` +
      "(2026-03-02T10:00:00Z), or how long ago (90m, 24h, 30d)",
  );
}

function ago(text: string): number {
  const [, days] = /^(\d{1,6})d$/.exec(text) ?? [];
  if (days !== undefined) return Number(days) * DAY_MS;
  try {
    return parseDuration(text);
  } catch (e) {
    if (e instanceof BadParameter) return NaN;
    throw e;
  }
}
