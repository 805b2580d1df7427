/** The built-in roles. */

import { JOIN_MODES, type Role, type Rule } from "./types.ts";

export const ADMIN_ROLE = "admin";

/** The role `admin`: every login of the user, on every node, and the administration's resources. */
export function adminRole(): Role {
  return {
    kind: "role",
    version: "v3",
    metadata: { name: ADMIN_ROLE, namespace: "default", labels: {} },
    spec: {
      options: {
        max_session_ttl: "30h0m0s",
        forward_agent: true,
        port_forwarding: true,
        permit_x11_forwarding: true,
        cert_format: "standard",
        client_idle_timeout: "never",
        disconnect_expired_cert: false,
        max_connections: 0,
        max_sessions: 0,
      },
      allow: {
        logins: ["{{internal.logins}}"],
        namespaces: ["default"],
        node_labels: { "*": ["*"] },
        join_sessions: [{ name: "all", roles: ["*"], kinds: ["ssh"], modes: [...JOIN_MODES] }],
        rules: [
          ...["role", "auth_connector", "trusted_cluster"].map((resource): Rule => ({
            resources: [resource],
            verbs: ["list", "create", "read", "update", "delete"],
          })),
          ...["session", "event"].map(readOnly),
        ],
      },
      deny: { logins: [], namespaces: ["default"], node_labels: {}, rules: [] },
    },
  };
}

/** What every user may do besides what the user's roles say. */
export function implicitRole(): Role {
  const role = adminRole();
  role.metadata.name = "default-implicit-role";
  Object.assign(role.spec.options, {
    forward_agent: false,
    port_forwarding: false,
    permit_x11_forwarding: false,
  });
  role.spec.allow = {
    logins: [],
    namespaces: ["default"],
    node_labels: {},
    rules: [
      ...[
        "node",
        "auth_server",
        "tunnel",
        "cluster_auth_preference",
        "cluster_name",
        "ssh_session",
      ].map(readOnly),
      { resources: ["cert_authority"], verbs: ["list", "readnosecrets"] },
    ],
  };
  return role;
}

function readOnly(resource: string): Rule {
  return { resources: [resource], verbs: ["list", "read"] };
}
