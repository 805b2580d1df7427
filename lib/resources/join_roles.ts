/** Roles that a join token can give, as people write them ("node", "proxy,node"). */

import { BadParameter } from "../base/errors.ts";
import type { JoinRole } from "./types.ts";

const roles: Record<string, JoinRole> = { node: "Node", proxy: "Proxy" };
const laterRoles = ["auth", "trusted_cluster"];

/** @throws BadParameter */
export function parseJoinRole(text: string): JoinRole {
  const name = text.trim().toLowerCase();
  if (Object.hasOwn(roles, name)) return roles[name] as JoinRole;
  if (laterRoles.includes(name)) {
    throw new BadParameter(`Tokens for the role '${name}' are not supported by this version`);
  }
  throw new BadParameter(
    `${JSON.stringify(text.slice(0, 60))} is no role to join with: use node or proxy`,
  );
}

/** "proxy,node" → each once, in that order. @throws BadParameter */
export function parseJoinRoles(text: string): JoinRole[] {
  return [...new Set(text.split(",").map(parseJoinRole))];
}
