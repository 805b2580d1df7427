/** Putting a user's traits into the templates of roles. */

import { isPrincipal } from "../cert/names.ts";
import { parseTemplate } from "../resources/template.ts";
import type { Role, RoleConditions, Traits } from "../resources/types.ts";

/**
 * The role with its templates replaced by what the user's traits give: a template whose trait the
 * user lacks gives nothing, and so does a login that is not usable as one.
 */
export function resolveRole(role: Role, traits: Traits): Role {
  return {
    ...role,
    spec: {
      ...role.spec,
      allow: resolveConditions(role.spec.allow, traits),
      deny: resolveConditions(role.spec.deny, traits),
    },
  };
}

function resolveConditions(conditions: RoleConditions, traits: Traits): RoleConditions {
  const logins = conditions.logins.flatMap((login) => resolve(login, traits)).filter(isPrincipal);
  const labels = Object.entries(conditions.node_labels).map(([key, patterns]) => [
    key,
    unique(patterns.flatMap((pattern) => resolve(pattern, traits))),
  ]);
  return { ...conditions, logins: unique(logins), node_labels: Object.fromEntries(labels) };
}

/** The values that stand for a text with a template; a matcher stays what it is. */
function resolve(text: string, traits: Traits): string[] {
  const template = parseTemplate(text);
  if (template.type !== "variable") return [text];
  const values = Object.hasOwn(traits, template.name) ? traits[template.name] ?? [] : [];
  return values.flatMap((value) => {
    // What came from outside must not become a template in its turn.
    if (value === "" || value.includes("{{") || value.includes("}}")) return [];
    const part = template.transform === "email.local" ? emailLocal(value) : value;
    return part === undefined ? [] : [`${template.prefix}${part}${template.suffix}`];
  });
}

/** "alice@example.com" → "alice"; undefined for what is no address. */
function emailLocal(address: string): string | undefined {
  const found = /^([^\s@"<>,;:\\()[\]]{1,64})@[^\s@"<>,;:\\()[\]]+$/.exec(address.trim());
  return found?.[1];
}

function unique(values: string[]): string[] {
  return [...new Set(values)];
}
