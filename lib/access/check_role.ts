import { BadParameter } from "../base/errors.ts";
import { parseTemplate } from "../resources/template.ts";
import type { Role } from "../resources/types.ts";
import { compileRegexp, isRegexp } from "./regexp.ts";

/**
 * What the schema of a role cannot see: that its regular expressions are ones of RE2. To be called
 * before a role is stored.
 * @throws BadParameter naming the label
 */
export function checkRole(role: Role): void {
  for (const side of ["allow", "deny"] as const) {
    for (const [key, patterns] of Object.entries(role.spec[side].node_labels)) {
      for (const pattern of patterns) checkPattern(`spec.${side}.node_labels.${key}`, pattern);
    }
  }
}

function checkPattern(path: string, pattern: string): void {
  const template = parseTemplate(pattern);
  try {
    if (template.type === "matcher") compileRegexp(template.pattern);
    else if (template.type === "literal" && isRegexp(pattern)) compileRegexp(pattern);
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    throw new BadParameter(`'${path}': ${e.message}`, { cause: e });
  }
}
