/** Who may join whose session, and how. */
import { printable } from "../base/text.ts";
import type { JoinMode, JoinRule, Role } from "../resources/types.ts";
import { matchesGlob } from "./glob.ts";
import type { Decision } from "./node_access.ts";

/** Who wants to join. */
export interface Joiner {
  readonly user: string;
  readonly roles: readonly Role[];
}

/** Whose session it is, with the roles of the certificate that it was started with. */
export interface SessionOwner {
  readonly user: string;
  readonly roleNames: readonly string[];
}

/**
 * Whether somebody may join an SSH session of the owner's in this mode. One's own sessions may
 * always be joined. For those of others: deny first; then one role must allow it, by one rule that
 * has the mode and matches one of the owner's roles.
 *
 * That the joiner may log in to the node, with the session's login, is another question.
 */
export function decideJoin(joiner: Joiner, owner: SessionOwner, mode: JoinMode): Decision {
  if (joiner.user === owner.user) return { allowed: true, reason: "it is the user's own session" };
  const what = `to join sessions of ${quoted(owner.user)} as ${mode}`;
  const find = (side: "allow" | "deny") =>
    joiner.roles.find(({ spec }) =>
      spec[side].join_sessions?.some((rule) => covers(rule, owner, mode))
    );
  const denying = find("deny");
  if (denying) {
    return { allowed: false, reason: `role ${quoted(denying.metadata.name)} denies ${what}` };
  }
  const allowing = find("allow");
  return allowing
    ? { allowed: true, reason: `role ${quoted(allowing.metadata.name)} allows ${what}` }
    : { allowed: false, reason: `no role allows ${what}` };
}

function covers(rule: JoinRule, owner: SessionOwner, mode: JoinMode): boolean {
  return rule.kinds.some((kind) => kind === "ssh" || kind === "*") &&
    rule.modes.some((each) => each === mode || each === "*") &&
    rule.roles.some((glob) => owner.roleNames.some((name) => matchesGlob(glob, name)));
}

function quoted(text: string): string {
  return `"${printable(text.slice(0, 100))}"`;
}
