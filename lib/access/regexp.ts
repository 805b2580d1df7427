/**
 * Patterns that people write into roles: literal, glob, `^regular expression$`.
 *
 * Regular expressions run on RE2, whose time is linear in the text: a role cannot stall the
 * daemon. The engine loads in about 30 ms and decisions are synchronous, so it is imported
 * outright; lib/access itself belongs into no program that must start fast.
 */

import { RE2JS } from "re2js";
import { BadParameter, messageOf } from "../base/errors.ts";
import { matchesGlob } from "./glob.ts";

const cache = new Map<string, RE2JS>();
const maxCached = 1000;
/** A repetition can multiply a short pattern into a huge program. */
const maxProgramSize = 2000;

/** @throws BadParameter for what is no RE2 expression, or compiles to too large a program */
export function compileRegexp(pattern: string): RE2JS {
  const known = cache.get(pattern);
  if (known) return known;
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (e) {
    throw new BadParameter(
      `${quote(pattern)} is no regular expression of RE2: ${messageOf(e)}`,
      { cause: e },
    );
  }
  if (compiled.programSize() > maxProgramSize) {
    throw new BadParameter(`${quote(pattern)} is too large a regular expression`);
  }
  if (cache.size >= maxCached) cache.clear();
  cache.set(pattern, compiled);
  return compiled;
}

/** Whether the expression is found in the text: anchors are the pattern's own matter. */
export function searchRegexp(pattern: string, text: string): boolean {
  return compileRegexp(pattern).matcher(text).find();
}

/** A value that begins with ^ and ends with $ is a regular expression. */
export function isRegexp(value: string): boolean {
  return value.length >= 2 && value.startsWith("^") && value.endsWith("$");
}

/** Whether `text` is what `value` says: `^re$`, a glob with `*`, or the very text. */
export function matchesValue(value: string, text: string): boolean {
  return isRegexp(value) ? searchRegexp(value, text) : matchesGlob(value, text);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
