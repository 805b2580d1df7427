/** Who may do what with which kind of resource. */

import { implicitRole } from "../resources/roles.ts";
import type { Role, Rule, RuleVerb } from "../resources/types.ts";
import type { Decision } from "./node_access.ts";

export interface RuleRequest {
  /** Kind of resource: "user", "session", … */
  resource: string;
  verb: RuleVerb;
}

/**
 * Whether the roles, and what every user may do anyway, allow the verb. Deny first; of the rules
 * that allow, the most specific one is named as the reason.
 */
export function decideRule(roles: readonly Role[], request: RuleRequest): Decision {
  const what = `${request.verb} of resource "${request.resource}"`;
  for (const role of roles) {
    if (role.spec.deny.rules.some((rule) => covers(rule, request, denyingVerbs))) {
      return { allowed: false, reason: `role "${role.metadata.name}" denies ${what}` };
    }
  }
  const granting = [...roles, implicitRole()]
    .flatMap((role) => role.spec.allow.rules.map((rule) => ({ role, rule })))
    .filter(({ rule }) => covers(rule, request, allowingVerbs))
    .toSorted((a, b) => score(b.rule) - score(a.rule))[0];
  return granting
    ? { allowed: true, reason: `role "${granting.role.metadata.name}" allows ${what}` }
    : { allowed: false, reason: `no role allows ${what}` };
}

function covers(
  rule: Rule,
  { resource, verb }: RuleRequest,
  verbsFor: Partial<Record<RuleVerb, RuleVerb[]>>,
): boolean {
  const verbs: readonly string[] = verbsFor[verb] ?? [verb];
  return (rule.resources.includes("*") || rule.resources.includes(resource)) &&
    rule.verbs.some((each) => each === "*" || verbs.includes(each));
}

/** Who may read may read without the secrets as well. */
const allowingVerbs: Partial<Record<RuleVerb, RuleVerb[]>> = {
  readnosecrets: ["read", "readnosecrets"],
};

/** Who may not even read without the secrets may not read. */
const denyingVerbs: Partial<Record<RuleVerb, RuleVerb[]>> = {
  readnosecrets: ["read", "readnosecrets"],
  read: ["read", "readnosecrets"],
};

/** How specific a rule is; `where` and `actions` would add to it. */
function score({ resources, verbs }: Rule): number {
  return (resources.length === 1 ? 2 : 0) + (resources.includes("*") ? -4 : 0) +
    (verbs.includes("*") ? -2 : 0);
}
