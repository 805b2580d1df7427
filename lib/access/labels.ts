/** Label selectors of roles against the labels of a node. */

import { parseTemplate } from "../resources/template.ts";
import type { Labels } from "../resources/types.ts";
import { matchesValue, searchRegexp } from "./regexp.ts";

export type LabelSelector = Readonly<Record<string, readonly string[]>>;

/**
 * Every key of the selector must be there, with a value that one of its patterns matches. An
 * empty selector matches nothing, `{"*": ["*"]}` everything.
 * @throws BadParameter for a regular expression that RE2 refuses
 */
export function matchLabels(selector: LabelSelector, labels: Readonly<Labels>): boolean {
  const entries = Object.entries(selector);
  if (entries.length === 0) return false;
  if (Object.hasOwn(selector, "*") && selector["*"]?.length === 1 && selector["*"][0] === "*") {
    return true;
  }
  return entries.every(([key, patterns]) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    return value !== undefined && patterns.some((pattern) => matchLabelValue(pattern, value));
  });
}

function matchLabelValue(pattern: string, value: string): boolean {
  if (pattern === "*") return true;
  const template = parseTemplate(pattern);
  switch (template.type) {
    case "literal":
      return matchesValue(pattern, value);
    case "matcher":
      return searchRegexp(template.pattern, value) !== template.negated;
    case "variable":
      // A template that has not been resolved stands for no value.
      return false;
  }
}
