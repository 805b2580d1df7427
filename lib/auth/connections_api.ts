/** Connections of users that hosts have, as far as a role limits their number. */
import type { ApiService } from "../api/service.ts";
import type { Caller } from "../api/types.ts";
import { InternalError } from "../base/errors.ts";
import type { AuthParts } from "./parts.ts";

type ConnectionMethods = "connections.acquire" | "connections.renew" | "connections.release";

export function connectionsApi(
  { connectionLeases: leases }: AuthParts,
): Pick<ApiService, ConnectionMethods> {
  return {
    "connections.acquire": async (request, { caller }) => ({
      expires: new Date(await leases.acquire(hostOf(caller), request)).toISOString(),
    }),

    "connections.renew": async ({ leases: asked }, { caller }) => {
      const byUser = Map.groupBy(asked, ({ user }) => user);
      const lost: string[] = [];
      for (const [user, each] of byUser) {
        lost.push(...await leases.renew(hostOf(caller), user, each.map(({ lease }) => lease)));
      }
      return { lost };
    },

    "connections.release": async ({ user, lease }, { caller }) => {
      await leases.release(hostOf(caller), user, lease);
      return {};
    },
  };
}

function hostOf(caller: Caller): string {
  // A host's node and proxy are two, each with leases of its own.
  if (caller.kind === "node" || caller.kind === "proxy") return `${caller.kind} ${caller.hostId}`;
  // The table lets nobody else in.
  throw new InternalError(`${caller.kind} is not a host`);
}
