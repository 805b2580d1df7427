/** Running a schema over a value from outside, with errors that a person can act on. */

import type { z } from "zod";
import { BadParameter } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import type { Path } from "./yaml.ts";

export interface ValidateOptions {
  /** The line of a path, where the value came from a text. */
  line?: ((path: Path) => number) | undefined;
  /** How an unknown key is reported; gets its path and " at line 7, did you mean 'x'?". */
  unknownKey?: (path: string, rest: string) => string;
}

const shownIssues = 3;

/**
 * The value as the schema makes it, without the keys that are undefined.
 * @throws BadParameter naming each bad key and, where known, its line
 */
export function validate<T>(
  schema: z.ZodType<T>,
  value: unknown,
  options: ValidateOptions = {},
): T {
  refusePrototypeKeys(value, []);
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return withoutUndefined(result.data) as T;
  // A mistyped key is often the reason for the other complaints.
  const mistyped = (issue: z.core.$ZodIssue) => issue.code === "unrecognized_keys" ? 0 : 1;
  const messages = result.error.issues.toSorted((a, b) => mistyped(a) - mistyped(b))
    .flatMap((issue) => describe(issue, options));
  const more = messages.length - shownIssues;
  throw new BadParameter(
    messages.slice(0, shownIssues).join("; ") + (more > 0 ? `; and ${more} more` : ""),
  );
}

/** "spec.allow.logins[0]" */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += `${text === "" ? "" : "."}${printable(String(step).slice(0, 100))}`;
  }
  return text;
}

function describe(issue: z.core.$ZodIssue, options: ValidateOptions): string[] {
  const at = (path: Path) => options.line ? ` at line ${options.line(path)}` : "";
  if (issue.code === "unrecognized_keys") {
    const unknownKey = options.unknownKey ?? ((path, rest) => `unknown key '${path}'${rest}`);
    // The schema's own message holds what the key may have been meant to be: see object().
    const meant: Record<string, string> = JSON.parse(issue.message);
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const hint = meant[key] === undefined ? "" : `, did you mean '${meant[key]}'?`;
      return unknownKey(formatPath(path), `${at(path)}${hint}`);
    });
  }
  const path = formatPath(issue.path);
  const missing = issue.code === "invalid_type" && issue.input === undefined;
  if (missing) return [`missing key '${path}'${at(issue.path)}`];
  const subject = path === "" ? `the value${at([])}` : `'${path}'${at(issue.path)}`;
  return [`${subject} ${complaint(issue)}`];
}

function complaint(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${kindOfValue[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      if (!issue.message.startsWith("Invalid ")) return issue.message;
      return `must be ${issue.values.map(String).join(" or ")}`;
    case "too_small":
      return `must not be ${issue.origin === "number" ? `below ${issue.minimum}` : "empty"}`;
    case "too_big":
      return `must not be ${issue.origin === "number" ? "above" : "longer than"} ${issue.maximum}`;
    case "invalid_key":
      return issue.issues[0]?.message ?? "is no valid key";
    default:
      return issue.message;
  }
}

const kindOfValue: Record<string, string> = {
  string: "text",
  array: "a list",
  object: "a mapping of keys to values",
  record: "a mapping of keys to values",
};

/** A key of this name would be dropped in silence, or worse, set a prototype. */
function refusePrototypeKeys(value: unknown, path: PropertyKey[]): void {
  if (typeof value !== "object" || value === null) return;
  if (path.length > 100) throw new BadParameter("The value is nested too deeply");
  for (const [key, member] of Object.entries(value)) {
    if (key === "__proto__") {
      throw new BadParameter(`'${formatPath([...path, key])}' is not allowed as a key`);
    }
    refusePrototypeKeys(member, [...path, key]);
  }
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => [key, withoutUndefined(member)]),
  );
}
