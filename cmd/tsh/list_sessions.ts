/** The sessions that the user owns or may join, asked for by the auth API. */
import type { ActiveSession } from "../../lib/api/types.ts";
import type { ClusterClient } from "../../lib/client/cluster_client.ts";

/** The oldest first. */
export async function listSessions(cluster: ClusterClient): Promise<ActiveSession[]> {
  const api = await cluster.connectAuth();
  try {
    return (await api.call("sessions.list", {})).sessions;
  } finally {
    api.close();
  }
}
