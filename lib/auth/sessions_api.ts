/** Sessions that run now: what hosts say of them, who may see them, and their end. */
import { decideJoin, NodeAccess } from "../access/mod.ts";
import { callerName } from "../api/server.ts";
import type { ApiService } from "../api/service.ts";
import type { ActiveSession } from "../api/types.ts";
import { InternalError } from "../base/errors.ts";
import type { UserIdentity } from "../cert/identity.ts";
import { nodeLabels } from "../resources/labels.ts";
import { JOIN_MODES, type JoinMode } from "../resources/types.ts";
import { rolesOf } from "./caller_roles.ts";
import type { AuthParts } from "./parts.ts";
import type { ResourceHub } from "./watch.ts";

type SessionMethods = "sessions.heartbeat" | "sessions.list" | "sessions.kill";

export function sessionsApi({ hub, activeSessions }: AuthParts): Pick<ApiService, SessionMethods> {
  return {
    "sessions.heartbeat": ({ sessions }, { caller }) => {
      if (caller.kind !== "node" && caller.kind !== "proxy") {
        throw new InternalError(`${caller.kind} is not a host`);
      }
      activeSessions.report(caller, sessions, hub.get(caller.kind, caller.hostId)?.spec);
      return {};
    },

    "sessions.list": (_, { caller }) => {
      const sessions = activeSessions.list();
      if (caller.kind !== "user") return { sessions };
      const modesOf = joinModes(hub, caller.identity);
      return {
        sessions: sessions.flatMap((session) => {
          const join_modes = modesOf(session);
          const own = session.user === caller.identity.user;
          return own || join_modes.length > 0 ? [{ ...session, join_modes }] : [];
        }),
      };
    },

    "sessions.kill": ({ sid, reason }, { caller }) => {
      activeSessions.kill(sid, callerName(caller), reason);
      return {};
    },
  };
}

/** How a user may join a session: as the node will decide, which has the last word. */
function joinModes(
  hub: ResourceHub,
  identity: UserIdentity,
): (session: ActiveSession) => JoinMode[] {
  const roles = rolesOf(hub, identity);
  const access = new NodeAccess(roles, identity.traits);
  return ({ user, roles: roleNames, login, server_id, interactive }) => {
    const node = hub.get("node", server_id);
    const mayLogIn = node !== undefined && identity.principals.includes(login) &&
      access.decide({ login, labels: nodeLabels(node) }).allowed;
    if (!interactive || !mayLogIn) return [];
    const joiner = { user: identity.user, roles };
    return JOIN_MODES.filter((mode) => decideJoin(joiner, { user, roleNames }, mode).allowed);
  };
}
