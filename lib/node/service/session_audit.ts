/** How the audit log names a node and the connections to it. */
import { formatAddr } from "../../base/net.ts";
import type { Labels } from "../../resources/types.ts";
import type { ServerConnection } from "../../ssh/server.ts";
import type { NodeUser } from "./authorizer.ts";

export { type Outcome, SessionAudit, sizeText } from "../../host/session_audit.ts";

/** The node, as its events name it. */
export interface NodeFacts {
  readonly hostId: string;
  readonly hostname: string;
  readonly addr: string;
  readonly labels: () => Labels;
}

/** Fields of every event of a connection to this node. */
export function connectionFields(
  node: NodeFacts,
  connection: Pick<ServerConnection<NodeUser>, "identity" | "username" | "remote" | "local">,
) {
  return {
    user: connection.identity.identity.user,
    login: connection.username,
    server_id: node.hostId,
    namespace: "default",
    server_hostname: node.hostname,
    server_addr: node.addr,
    server_labels: node.labels(),
    "addr.local": formatAddr(connection.local),
    "addr.remote": formatAddr(connection.remote),
    proto: "ssh" as const,
  };
}

export type ConnectionFacts = ReturnType<typeof connectionFields>;
