/** What a client says that wants to join a session, and whether it may. */
import { decideJoin } from "../../access/mod.ts";
import { AccessDenied, BadParameter, LimitExceeded } from "../../base/errors.ts";
import { isUuid } from "../../base/ids.ts";
import { log } from "../../base/log.ts";
import { printable } from "../../base/text.ts";
import type { ClusterCache } from "../../host/cache.ts";
import { JOIN_MODES, type JoinMode } from "../../resources/types.ts";
import type { ServerConnection } from "../../ssh/server.ts";
import type { NodeUser } from "./authorizer.ts";
import { LiveSession, MAX_PARTIES } from "./live_session.ts";
import type { RunningSessions } from "../../host/running_sessions.ts";

/** Variables that a client sets to join. */
const SESSION = "TELEPORT_SESSION";
const MODE = "TELEPORT_SESSION_JOIN_MODE";

export interface JoinContext {
  readonly connection: Pick<ServerConnection<NodeUser>, "identity" | "username">;
  readonly sessions: RunningSessions;
  readonly cache: Pick<ClusterCache, "get">;
}

export class JoinRequest {
  #sid: string | undefined;
  #mode: string = JOIN_MODES[0];

  /** Takes the client's variables; false for those that are none of ours. */
  take(name: string, value: string): boolean {
    if (name === SESSION) this.#sid = value;
    else if (name === MODE) this.#mode = value;
    else return false;
    return true;
  }

  /** Whether the client wants to join a session. */
  get isThere(): boolean {
    return this.#sid !== undefined;
  }

  /** @throws BadParameter */
  get mode(): JoinMode {
    const mode = JOIN_MODES.find((each) => each === this.#mode);
    if (mode) return mode;
    throw new BadParameter(
      `${MODE}=${printable(this.#mode.slice(0, 60))} is not one of ${JOIN_MODES.join(", ")}`,
    );
  }

  /**
   * The session, when it may be joined by this user in this mode. The roles are those of now. Who
   * may not join a session does not learn whether it is there.
   *
   * @throws AccessDenied, and LimitExceeded when it is crowded
   */
  find({ connection, sessions, cache }: JoinContext): LiveSession {
    const sid = this.#sid ?? "";
    const { mode } = this;
    const { identity } = connection.identity;
    const session = isUuid(sid) ? sessions.get(sid) : undefined;
    const roles = identity.roles.map((name) => cache.get("role", name));
    const decision = session && roles.every((role) => role !== undefined)
      ? decideJoin({ user: identity.user, roles }, {
        user: session.owner.user,
        roleNames: session.owner.roles,
      }, mode)
      : undefined;
    if (!session || !decision?.allowed) {
      log("node").info("A session was not joined", {
        user: identity.user,
        sid,
        reason: decision?.reason ?? (session ? "a role does not exist any more" : "there is none"),
      });
      throw new AccessDenied(
        `the session ${printable(sid.slice(0, 60))} is over, or your roles do not let you join ` +
          `it as ${mode}`,
      );
    }
    if (session.login !== connection.username) {
      throw new AccessDenied(
        `can't switch users from ${session.login} to ${printable(connection.username)} for ` +
          `session ${sid}: log in as ${session.login}`,
      );
    }
    if (!(session instanceof LiveSession)) {
      throw new AccessDenied(`the session ${sid} has no terminal, so it cannot be joined`);
    }
    if (session.isCrowded) {
      throw new LimitExceeded(`too many people are in session ${sid} (max=${MAX_PARTIES})`);
    }
    return session;
  }
}
