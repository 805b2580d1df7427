/** The nodes of the cluster that the user can reach, asked for page by page. */
import type { ClusterClient } from "../../lib/client/cluster_client.ts";
import type { Node } from "../../lib/resources/types.ts";

export interface NodeQuery {
  labels?: Record<string, string>;
  /** Words that a node's name, address or labels must hold. */
  search?: string;
}

const pageSize = 1000;

/** By name, then by id. */
export async function listNodes(cluster: ClusterClient, query: NodeQuery): Promise<Node[]> {
  const api = await cluster.connectAuth();
  try {
    const nodes: Node[] = [];
    let after: string | undefined;
    do {
      const page = await api.call("nodes.list", {
        ...query,
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      nodes.push(...page.nodes);
      after = page.next;
    } while (after !== undefined);
    const key = (node: Node) => `${node.spec.hostname}\0${node.metadata.name}`;
    return nodes.sort((a, b) => key(a) < key(b) ? -1 : 1);
  } finally {
    api.close();
  }
}
