/**
 * The variable by which a proxy that records tells a node the id of the session, so that it is one
 * session with one id at both. A node believes it only of such a proxy.
 */
export const PROXIED_SESSION = "TELEPORT_PROXIED_SESSION";

/** The variable by which a client says which session it wants to join. */
export const JOINED_SESSION = "TELEPORT_SESSION";
