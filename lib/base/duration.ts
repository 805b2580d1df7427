/** Durations as people and configuration files write them: Go's notation, in milliseconds here. */
import { BadParameter } from "./errors.ts";

const unitsMs: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  "μs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const pattern = /^(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)/;

/** The longest duration that Go's int64 nanoseconds can hold: about 292 years. */
const maxMs = 9_223_372_036_854;

/**
 * "30h0m0s", "1h30m", "90s", "1.5h", "500ms" → whole milliseconds; "never" and "0" → 0.
 * @throws BadParameter for anything else, negative values included
 */
export function parseDuration(text: string): number {
  if (text === "never" || text === "0") return 0;
  let rest = text;
  let total = 0;
  while (rest !== "") {
    const part = pattern.exec(rest)?.[0];
    if (part === undefined) throw unreadable(text);
    const unit = part.replace(/^[\d.]+/, "");
    total += Number(part.slice(0, -unit.length)) * (unitsMs[unit] ?? NaN);
    rest = rest.slice(part.length);
  }
  if (text === "" || !(total <= maxMs)) throw unreadable(text);
  return Math.round(total);
}

/** Milliseconds as Go prints them: "12h0m0s", "1m30s", "1.5s", "500ms", "0s". */
export function formatDuration(ms: number): string {
  const whole = Math.round(ms);
  if (whole === 0) return "0s";
  if (whole < 0) return `-${formatDuration(-whole)}`;
  if (whole < 1000) return `${whole}ms`;
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor(whole / 60_000) % 60;
  const seconds = `${(whole % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

function unreadable(text: string): BadParameter {
  return new BadParameter(
    `Cannot read ${
      JSON.stringify(text.slice(0, 60))
    } as a duration: write it like 12h, 1h30m or 90s`,
  );
}
