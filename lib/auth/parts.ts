/** What the Auth service is made of, for its API handlers. */
import type { AuditLog } from "../audit/audit_log.ts";
import type { Clock } from "../base/clock.ts";
import type { ClusterConfigSpec, SecondFactor } from "../resources/types.ts";
import type { Authorities } from "./authorities.ts";
import type { ConnectionLeases } from "./connection_leases.ts";
import type { EventPage, EventQuery } from "./event_search.ts";
import type { Joins } from "./join.ts";
import type { Logins } from "./login.ts";
import type { Recordings } from "./recordings.ts";
import type { Roles } from "./roles.ts";
import type { Signer } from "./sign.ts";
import type { ActiveSessions } from "./sessions.ts";
import type { ResourceStore } from "./store.ts";
import type { JoinTokens, StaticToken } from "./tokens.ts";
import type { Users } from "./users.ts";
import type { ResourceHub } from "./watch.ts";

export interface AuthSettings {
  clusterName: string;
  secondFactor: SecondFactor;
  staticTokens?: readonly StaticToken[];
  /** What nodes and proxies are told; defaults for what is left out. */
  clusterConfig?: Partial<ClusterConfigSpec>;
  /** This auth service's own id, names and addresses, which no other host may be called by. */
  ownNames?: readonly string[];
}

export interface AuthParts {
  readonly settings: AuthSettings;
  readonly clock: Clock;
  readonly audit: AuditLog;
  /** Searches the audit log. */
  readonly eventIndex: { search(query: EventQuery): Promise<EventPage> } | undefined;
  readonly store: ResourceStore;
  readonly hub: ResourceHub;
  readonly authorities: Authorities;
  readonly signer: Signer;
  readonly users: Users;
  readonly roles: Roles;
  readonly logins: Logins;
  readonly tokens: JoinTokens;
  readonly joins: Joins;
  readonly connectionLeases: ConnectionLeases;
  readonly activeSessions: ActiveSessions;
  readonly recordings: Recordings;
}
