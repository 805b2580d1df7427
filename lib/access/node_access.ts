/**
 * Who may log in where.
 *
 * Deny first: one role that denies the login, or the labels, decides. Then one role must allow the
 * namespace, the labels and the login, all by itself: what several roles allow is never mixed.
 */

import { BadParameter } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import type { Labels, Role, RoleConditions, Traits } from "../resources/types.ts";
import { matchLabels } from "./labels.ts";
import { resolveRole } from "./traits.ts";

export interface Decision {
  allowed: boolean;
  /** For the log and the administrator: which role decided, and why. */
  reason: string;
}

export interface NodeAccessRequest {
  login: string;
  labels: Labels;
  /** "default" unless given. */
  namespace?: string;
}

/** Whether a user with these roles and traits may use `login` on a node with these labels. */
export function decideNodeAccess(
  request: NodeAccessRequest & { roles: readonly Role[]; traits: Traits },
): Decision {
  return new NodeAccess(request.roles, request.traits).decide(request);
}

/** The OS logins that the roles allow and none of them denies, for the user's certificate. */
export function allowedLogins(roles: readonly Role[], traits: Traits): string[] {
  return new NodeAccess(roles, traits).logins;
}

/** The roles of one user, resolved once for many decisions. */
export class NodeAccess {
  readonly #roles: readonly Role[];
  /** What the roles allow and none of them denies. */
  readonly logins: string[];

  constructor(roles: readonly Role[], traits: Traits) {
    this.#roles = roles.map((role) => resolveRole(role, traits));
    const denied = new Set(
      this.#roles.filter(({ spec }) => matchNamespace(spec.deny, "default"))
        .flatMap(({ spec }) => spec.deny.logins),
    );
    const allowed = new Set(this.#roles.flatMap(({ spec }) => spec.allow.logins));
    this.logins = [...allowed].filter((login) => !denied.has(login));
  }

  decide({ login, labels, namespace = "default" }: NodeAccessRequest): Decision {
    for (const role of this.#roles) {
      const denial = denies(role, login, labels, namespace);
      if (denial) return { allowed: false, reason: denial };
    }
    const misses: string[] = [];
    for (const role of this.#roles) {
      const miss = whyNotAllowed(role, login, labels, namespace);
      if (miss === undefined) {
        return { allowed: true, reason: `role ${quote(role)} allows login ${quoted(login)}` };
      }
      misses.push(`role ${quote(role)} ${miss}`);
    }
    const reason = misses.length === 0 ? "the user has no roles" : misses.slice(0, 10).join("; ");
    return { allowed: false, reason };
  }

  /** The logins that may be used on a node with these labels: none, and the node is not shown. */
  loginsOn(labels: Labels, namespace = "default"): string[] {
    return this.logins.filter((login) => this.decide({ login, labels, namespace }).allowed);
  }
}

function denies(
  role: Role,
  login: string,
  labels: Labels,
  namespace: string,
): string | undefined {
  const { deny } = role.spec;
  if (!matchNamespace(deny, namespace)) return undefined;
  if (deny.logins.includes(login)) return `role ${quote(role)} denies login ${quoted(login)}`;
  try {
    return matchLabels(deny.node_labels, labels)
      ? `role ${quote(role)} denies nodes with these labels`
      : undefined;
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    return `role ${quote(role)} cannot be evaluated, so it denies: ${e.message}`;
  }
}

function whyNotAllowed(
  role: Role,
  login: string,
  labels: Labels,
  namespace: string,
): string | undefined {
  const { allow } = role.spec;
  if (!matchNamespace(allow, namespace)) return `has no access to namespace ${quoted(namespace)}`;
  if (!allow.logins.includes(login)) return `does not allow login ${quoted(login)}`;
  try {
    return matchLabels(allow.node_labels, labels) ? undefined : "does not match the node's labels";
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    return `cannot be evaluated: ${e.message}`;
  }
}

function matchNamespace({ namespaces }: RoleConditions, namespace: string): boolean {
  return namespaces.includes("*") || namespaces.includes(namespace);
}

function quote(role: Role): string {
  return quoted(role.metadata.name);
}

function quoted(text: string): string {
  return `"${printable(text.slice(0, 100))}"`;
}
