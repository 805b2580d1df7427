/** Everything of lib/resources. It loads zod and yaml: what must start fast imports single files. */

export * from "./types.ts";
export { formatResources, parseResource, parseResourceOf, parseResources } from "./codec.ts";
export type { ResourceFormat } from "./codec.ts";
export { ADMIN_ROLE, adminRole, implicitRole } from "./roles.ts";
export { nodeLabels, withoutSecrets } from "./labels.ts";
export { parseJoinRole, parseJoinRoles } from "./join_roles.ts";
export { KINDS, parseKind } from "./kinds.ts";
