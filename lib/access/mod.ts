/** Authorization: roles, labels and traits → a decision with its reason. Pure. */

export { allowedLogins, decideNodeAccess, NodeAccess } from "./node_access.ts";
export type { Decision, NodeAccessRequest } from "./node_access.ts";
export { resolveRole } from "./traits.ts";
export { matchLabels } from "./labels.ts";
export type { LabelSelector } from "./labels.ts";
export { decideJoin } from "./join.ts";
export type { Joiner, SessionOwner } from "./join.ts";
export { sessionOptions } from "./options.ts";
export type { SessionOptions } from "./options.ts";
export { decideRule } from "./rules.ts";
export type { RuleRequest } from "./rules.ts";
export { checkRole } from "./check_role.ts";
export { assertTargetPattern, DEFAULT_UNREGISTERED_TARGETS, targetAllowed } from "./targets.ts";
export type { Target } from "./targets.ts";
