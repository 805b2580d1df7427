/** Names of the kinds of resources, as `tctl get` and `tctl rm` take them. */

import { BadParameter } from "../base/errors.ts";
import { suggestion } from "./suggest.ts";
import type { Kind } from "./types.ts";

const names: Record<Kind, readonly string[]> = {
  user: ["users"],
  role: ["roles"],
  node: ["nodes"],
  proxy: ["proxies"],
  auth_server: ["auth_servers", "auth"],
  token: ["tokens"],
  cert_authority: ["cert_authorities", "cas", "ca"],
  cluster_name: [],
  cluster_config: [],
  cluster_auth_preference: ["cap"],
};

/** Kinds of Teleport that this version does not have. */
const unsupported = [
  "trusted_cluster",
  "remote_cluster",
  "github",
  "oidc",
  "saml",
  "connector",
  "access_request",
  "tunnel",
  "reverse_tunnel",
  "namespace",
  "semaphore",
  "static_tokens",
  "license",
  "lock",
];

export const KINDS = Object.keys(names) as Kind[];

/** "users", "user", "cas" → the kind. @throws BadParameter, with a suggestion */
export function parseKind(text: string): Kind {
  const name = text.toLowerCase();
  for (const kind of KINDS) {
    if (kind === name || names[kind].includes(name)) return kind;
  }
  if (unsupported.some((kind) => name === kind || name === `${kind}s`)) {
    throw new BadParameter(`Resources of kind '${name}' are not supported by this version`);
  }
  const meant = suggestion(name, KINDS);
  throw new BadParameter(
    `${JSON.stringify(text.slice(0, 60))} is no kind of resource` +
      (meant ? `, did you mean '${meant}'?` : `: use one of ${KINDS.join(", ")}`),
  );
}
