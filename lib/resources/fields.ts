/**
 * Schemas of the single fields that resources and the configuration file share.
 *
 * They read what YAML gives (text) as well as what JSON gives (numbers, booleans): see yaml.ts.
 * A null is as good as an absent key.
 */

import { z } from "zod";
import { BadParameter } from "../base/errors.ts";
import { formatDuration, parseDuration } from "../base/duration.ts";
import { suggestion } from "./suggest.ts";

/** An object without other keys; a mistyped one gets a suggestion (see validate.ts). */
export function object<S extends z.core.$ZodLooseShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      const known = Object.keys(shape);
      const meant = (issue.keys as string[]).map((key) => [key, suggestion(key, known)]);
      return JSON.stringify(Object.fromEntries(meant));
    },
  }) as z.ZodObject<S, z.core.$strict>;
}

/** May be absent or null, and is `fallback()` then. */
export function withDefault<T extends z.ZodType, D>(schema: T, fallback: () => D) {
  return schema.nullish().transform((value) => (value ?? fallback()) as z.output<T> | D);
}

/** May be absent or null, and is absent then. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => (value ?? undefined) as z.output<T> | undefined);
}

/** A key that is known but belongs to what this version cannot do; null and "empty" are let by. */
export function later(what: string, harmless: (value: unknown) => boolean = isEmpty) {
  return z.unknown().optional().transform((value, context): undefined => {
    if (value !== undefined && !harmless(value)) {
      context.addIssue({ code: "custom", message: `is not supported by this version: ${what}` });
    }
    return undefined;
  });
}

function isEmpty(value: unknown): boolean {
  return value === null || value === "" || (Array.isArray(value) && value.length === 0) ||
    (typeof value === "object" && Object.keys(value).length === 0);
}

/** Text on one line, at most `max` characters, not empty. */
export function line(max = 1024) {
  return z.string().min(1).max(max).refine((text) => !hasControls(text), {
    message: "must not have control characters or line breaks",
  });
}

export function hasControls(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /[\x00-\x1f\x7f-\x9f\u2028\u2029]|[\ud800-\udfff]/u.test(text);
}

const booleans: Record<string, boolean> = {
  true: true,
  yes: true,
  on: true,
  false: false,
  no: false,
  off: false,
};

export function bool() {
  return z.union([z.boolean(), z.string()], { error: "must be yes or no" })
    .transform((value, context): boolean => {
      if (typeof value === "boolean") return value;
      const read = Object.hasOwn(booleans, value.toLowerCase())
        ? booleans[value.toLowerCase()]
        : undefined;
      if (read === undefined) {
        context.addIssue({ code: "custom", message: "must be yes or no" });
        return z.NEVER;
      }
      return read;
    });
}

export function integer(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.union([z.number(), z.string()], { error: message }).transform((value, context) => {
    const read = typeof value === "number" ? value : /^\d{1,15}$/.test(value) ? Number(value) : NaN;
    if (!Number.isSafeInteger(read) || read < min || read > max) {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    return read;
  });
}

/** A duration in Go's notation; "never" where it is 0 and `never` allows that. */
export function duration(options: { never?: boolean; minMs?: number; maxMs?: number } = {}) {
  const { never = false, minMs = 1, maxMs = Number.MAX_SAFE_INTEGER } = options;
  return z.string({ error: "must be a duration such as 12h, 1h30m or 90s" })
    .transform((text, context): string => {
      const read = attempt(context, () => parseDuration(text));
      if (read === undefined) return z.NEVER;
      if (read === 0 && never) return "never";
      if (read < minMs || read > maxMs) {
        const message = read < minMs
          ? `must be at least ${formatDuration(minMs)}`
          : `must be at most ${formatDuration(maxMs)}`;
        context.addIssue({ code: "custom", message });
      }
      return formatDuration(read);
    });
}

/** RFC 3339 with any offset → UTC. Go's zero time, in year 1, is as good as absent. */
export function time() {
  return z.string({ error: "must be a time such as 2025-01-31T12:00:00Z" })
    .transform((text, context): string | undefined => {
      const ms = rfc3339.test(text) ? Date.parse(text) : NaN;
      if (Number.isNaN(ms)) {
        const message = "must be a time such as 2025-01-31T12:00:00Z";
        context.addIssue({ code: "custom", message });
        return z.NEVER;
      }
      return text.startsWith("0001-01-01T") ? undefined : new Date(ms).toISOString();
    });
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** One value or a list of them → a list. */
export function oneOrMany<T extends z.ZodType>(item: T) {
  return z.preprocess(
    (value) => value === null || value === undefined || Array.isArray(value) ? value : [value],
    z.array(item),
  );
}

/**
 * Runs a parser of ours inside a transform: its BadParameter becomes the complaint of the field,
 * (or of what is at `path` below it), and the result is undefined.
 */
export function attempt<T, I>(
  context: z.core.$RefinementCtx<I>,
  parse: () => T,
  path: PropertyKey[] = [],
): T | undefined {
  try {
    return parse();
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    context.addIssue({ code: "custom", path, message: `is not usable: ${e.message}` });
    return undefined;
  }
}
