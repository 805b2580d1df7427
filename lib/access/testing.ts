/** Helpers of this directory's tests. */

import { parseResources } from "../resources/codec.ts";
import type { Role } from "../resources/types.ts";

/** A role of which only `spec` is said, in YAML. */
export function role(name: string, spec: string): Role {
  const text = `kind: role\nversion: v3\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
  return parseResources(text)[0] as Role;
}
