/** What every daemon has: its identity, the way to the auth service, and what it knows of the cluster. */
export * from "./audit_queue.ts";
export * from "./auth_connection.ts";
export { AUTH_PORT, checkAuthServer, type Dial, dialAuth } from "./auth_dial.ts";
export * from "./authorities.ts";
export * from "./cache.ts";
export * from "./heartbeat.ts";
export * from "./identity.ts";
export { join, type JoinOptions, readToken } from "./join.ts";
export * from "./renew.ts";
export * from "./session_reports.ts";
