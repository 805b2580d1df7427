/**
 * Templates in logins and labels of roles: `{{internal.logins}}`, `{{external.unix}}`,
 * `{{email.local(external.email)}}`, `{{regexp.match("^a")}}`. Here their syntax; lib/access puts
 * values in.
 */

import { BadParameter } from "../base/errors.ts";

export type Template =
  | { type: "literal"; text: string }
  | {
    type: "variable";
    prefix: string;
    suffix: string;
    namespace: "internal" | "external";
    /** Name of the trait. */
    name: string;
    /** `email.local(…)`: the part before the "@". */
    transform?: "email.local";
  }
  /** Only in label selectors and matchers, never in logins. */
  | { type: "matcher"; negated: boolean; pattern: string };

const traitOf = String.raw`(internal|external)\s*(?:\.\s*([A-Za-z0-9_-]+)|\[\s*"([^"\\\]]+)"\s*\])`;
const variable = new RegExp(`^${traitOf}$`);
const emailLocal = new RegExp(String.raw`^email\.local\(\s*${traitOf}\s*\)$`);
const matcher = /^regexp\.(match|not_match)\(\s*"((?:[^"\\]|\\.)*)"\s*\)$/;

/** @throws BadParameter for anything with braces that is not one of the forms above */
export function parseTemplate(text: string): Template {
  if (!text.includes("{{") && !text.includes("}}")) return { type: "literal", text };
  const parts = /^([^{}]*)\{\{(.*)\}\}([^{}]*)$/s.exec(text);
  if (!parts) throw unreadable(text);
  const [, prefix = "", body = "", suffix = ""] = parts;
  const expression = body.trim();

  const match = matcher.exec(expression);
  if (match) {
    if (prefix !== "" || suffix !== "") {
      throw new BadParameter(`${quote(text)}: regexp.${match[1]} must stand alone`);
    }
    return {
      type: "matcher",
      negated: match[1] === "not_match",
      pattern: unescape(match[2] ?? ""),
    };
  }
  const email = emailLocal.exec(expression);
  const trait = email ?? variable.exec(expression);
  if (!trait) throw unreadable(text);
  return {
    type: "variable",
    prefix,
    suffix,
    namespace: trait[1] as "internal" | "external",
    name: trait[2] ?? trait[3] ?? "",
    ...(email ? { transform: "email.local" as const } : {}),
  };
}

/** Go's string escapes, as far as regular expressions need them: \" and \\. */
function unescape(text: string): string {
  return text.replace(/\\(["\\])/g, "$1");
}

function unreadable(text: string): BadParameter {
  return new BadParameter(
    `${quote(text)} is no template: write it like {{internal.logins}}, {{external.unix}} or ` +
      "{{email.local(external.email)}}",
  );
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
