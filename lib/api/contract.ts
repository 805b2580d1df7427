/**
 * The auth API: one table of method → who may call it → what its parameters look like.
 *
 * The transport is JSON-RPC 2.0, one message a frame (frames.ts), over the `auth-api` subsystem of
 * the auth server's SSH port. Results are in types.ts. The server refuses a call before it looks
 * at the parameters unless the caller's kind is listed, and refuses unknown parameters.
 */
import { z } from "zod";
import { JOIN_MODES, type Node, type Proxy, type User } from "../resources/types.ts";
import type {
  ActiveSession,
  AuditEmitResult,
  AuthoritiesResult,
  CallerKind,
  EventSearchResult,
  HostCertificates,
  JoinTokenInfo,
  NodeListResult,
  PingResult,
  RecordingListResult,
  ResourceListResult,
  ResourceRef,
  SignupInfo,
  SignupLink,
  StatusResult,
  UserCertificates,
  UserListResult,
  WatchKind,
} from "./types.ts";
import { RECORDING_CHUNK_BYTES } from "./types.ts";
import type { AuditEvent } from "../audit/events.ts";

export interface ApiMethod<P extends z.ZodType, R> {
  readonly callers: readonly CallerKind[];
  readonly params: P;
  /** Carries the result type only; never set. */
  readonly result?: R;
}

function method<R>() {
  return <P extends z.ZodType>(callers: readonly CallerKind[], params: P): ApiMethod<P, R> => ({
    callers,
    params,
  });
}

const ANY: readonly CallerKind[] = ["admin", "user", "node", "proxy", "joining"];

const DAY = 24 * 3600_000;

const text = (max: number) => z.string().max(max);
const name = text(255).min(1);
const names = z.array(name).max(100);
const secret = text(512).min(1);
const authorizedKey = text(8192).min(1);
const spki = text(4096).min(1);
const ttlMs = z.number().int().min(1).max(10 * 365 * DAY);
const empty = z.strictObject({});
/** Of a session: lower case, as it is a file's name too. */
const sid = z.uuid().lowercase();
const recordingSize = z.number().int().min(0).max(2 ** 40);
/** A resource or an event: its own schema checks it where it is used. */
const resource = <T extends object>() =>
  z.custom<T>((v) => typeof v === "object" && v !== null && !Array.isArray(v), "must be an object");

const joinMode = z.enum(JOIN_MODES);
const activeSession = z.strictObject({
  sid: z.uuid(),
  user: name,
  roles: names,
  login: name,
  server_id: z.uuid(),
  server_hostname: text(255),
  server_addr: text(255),
  target_hostname: text(255).optional(),
  started: z.iso.datetime(),
  cols: z.number().int().min(0).max(65_535),
  rows: z.number().int().min(0).max(65_535),
  interactive: z.boolean(),
  command: text(1024).optional(),
  parties: z.array(z.strictObject({ user: name, mode: joinMode, joined: z.iso.datetime() })).max(
    1000,
  ),
  recording: z.enum(["node", "node-sync", "proxy", "proxy-sync", "off"]),
}).transform((session) => session as ActiveSession);

const hostAddresses = {
  /** Names and addresses of the host that go into its certificates. */
  additional_principals: names.default([]),
  dns_names: names.default([]),
  tls_public_key: spki.optional(),
};

export const RESOURCE_KINDS = [
  "user",
  "role",
  "token",
  "node",
  "proxy",
  "cert_authority",
  "cluster_config",
] as const;

const WATCH_KINDS: readonly WatchKind[] = [
  "node",
  "proxy",
  "role",
  "user",
  "cert_authority",
  "cluster_config",
];

export const methods = {
  ping: method<PingResult>()(ANY, empty),
  /** User and host CA of this cluster, public halves. */
  authorities: method<AuthoritiesResult>()(ANY, empty),

  // Hosts
  /** Certifies the key that the connection authenticated with. */
  join: method<HostCertificates>()(
    ["joining"],
    z.strictObject({
      token: secret,
      host_id: z.uuid(),
      node_name: name,
      role: z.enum(["Node", "Proxy"]),
      ...hostAddresses,
    }),
  ),
  /** New certificates for the same host, key and role, with today's addresses. */
  "host.renew": method<HostCertificates>()(
    ["node", "proxy"],
    z.strictObject({ node_name: name.optional(), ...hostAddresses }),
  ),
  "nodes.heartbeat": method<{ expires: string }>()(
    ["node"],
    z.strictObject({ node: resource<Node>() }),
  ),
  "proxies.heartbeat": method<{ expires: string }>()(
    ["proxy"],
    z.strictObject({ proxy: resource<Proxy>() }),
  ),
  /** A user gets the nodes where the roles of the certificate give some login. */
  "nodes.list": method<NodeListResult>()(
    ["admin", "user", "proxy"],
    z.strictObject({
      labels: z.record(name, text(1024)).optional(),
      /** Every word must occur in the host name, the address, the id or a label. */
      search: text(1024).optional(),
      limit: z.number().int().min(1).max(5000).default(1000),
      after: text(255).optional(),
    }),
  ),
  /** Answers at once; the events come as `watch.event` notifications. See types.ts. */
  watch: method<{ watch_id: string }>()(
    ["admin", "node", "proxy"],
    z.strictObject({ kinds: z.array(z.enum([...WATCH_KINDS, "session"])).min(1).max(16) }),
  ),
  "watch.stop": method<Record<never, never>>()(
    ["admin", "node", "proxy"],
    z.strictObject({ watch_id: text(64) }),
  ),
  "audit.emit": method<AuditEmitResult>()(
    ["node", "proxy"],
    z.strictObject({ events: z.array(resource<AuditEvent>()).max(1000) }),
  ),

  // Recordings
  /**
   * Adds to the end of a recording, or begins one at offset 0; what was sent before may be sent
   * again. Only the host that began it may go on.
   */
  "recordings.append": method<{ size: number }>()(
    ["node", "proxy"],
    z.strictObject({ sid, offset: recordingSize, data: text(RECORDING_CHUNK_BYTES / 3 * 4 + 4) }),
  ),
  /** Not `stored`: send what is missing from `size` on, and say it again. */
  "recordings.finish": method<{ stored: boolean; size: number }>()(
    ["node", "proxy"],
    z.strictObject({ sid, size: recordingSize, sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
  /** How much of a recording is here. */
  "recordings.state": method<{ size: number; finished: boolean }>()(
    ["node", "proxy"],
    z.strictObject({ sid }),
  ),

  /** The newest first. Users need the rule to list sessions, and to read them for their contents. */
  "recordings.list": method<RecordingListResult>()(
    ["admin", "user"],
    z.strictObject({
      /** When the session started, RFC 3339: not before, not after. */
      from: z.iso.datetime({ offset: true }).optional(),
      to: z.iso.datetime({ offset: true }).optional(),
      /** Who took part. */
      user: name.optional(),
      /** Its name or id. */
      node: name.optional(),
      /** How the session's id begins. */
      sid_prefix: text(36).optional(),
      limit: z.number().int().min(1).max(5000).default(500),
      after: text(255).optional(),
    }),
  ),
  /** `data` is empty where nothing is, or nothing yet. */
  "recordings.read": method<{ data: string; size: number; finished: boolean }>()(
    ["admin", "user"],
    z.strictObject({ sid, offset: recordingSize, length: z.number().int().min(1).max(1 << 20) }),
  ),
  /** Of finished recordings only. */
  "recordings.delete": method<Record<never, never>>()(["admin"], z.strictObject({ sid })),

  /**
   * For a proxy that records: certifies a key of its own for the host that a user asked for. Only
   * while the cluster records at the proxy, and for no name of auth, other proxies and clusters.
   */
  "sign.proxied_host": method<{ cert: string }>()(
    ["proxy"],
    z.strictObject({ host: name, public_key: authorizedKey }),
  ),

  // Sessions that run now
  /** All of the host's sessions; said again before 30 s have passed. */
  "sessions.heartbeat": method<Record<never, never>>()(
    ["node", "proxy"],
    z.strictObject({ sessions: z.array(activeSession).max(10_000) }),
  ),
  /** A user gets the own ones, and those that the roles let the user join. */
  "sessions.list": method<{ sessions: ActiveSession[] }>()(["admin", "user"], empty),
  /** Its host is told at once. */
  "sessions.kill": method<Record<never, never>>()(
    ["admin"],
    z.strictObject({
      sid,
      /** For who is in it to read, and for the audit log. */
      reason: text(500).optional(),
    }),
  ),

  /**
   * A connection of a user whose roles limit their number: a lease, to be renewed within the cluster's
   * session_control_timeout. limit_exceeded: the user has as many as that already.
   */
  "connections.acquire": method<{ expires: string }>()(
    ["node", "proxy"],
    z.strictObject({ user: name, lease: z.uuid(), max: z.number().int().min(1) }),
  ),
  /** Says which of them are lost: their connections must end. */
  "connections.renew": method<{ lost: string[] }>()(
    ["node", "proxy"],
    z.strictObject({
      leases: z.array(z.strictObject({ user: name, lease: z.uuid() })).max(1000),
    }),
  ),
  "connections.release": method<Record<never, never>>()(
    ["node", "proxy"],
    z.strictObject({ user: name, lease: z.uuid() }),
  ),

  // The audit log
  /** For users with the verbs list and read on `event`. */
  "events.search": method<EventSearchResult>()(
    ["admin", "user"],
    z.strictObject({
      from: z.iso.datetime({ offset: true }).optional(),
      /** The moment itself is left out. */
      to: z.iso.datetime({ offset: true }).optional(),
      types: z.array(text(64)).max(100).optional(),
      user: text(512).optional(),
      sid: z.uuid().optional(),
      /** UUID or name of the host. */
      server: text(512).optional(),
      /** Anywhere in the event, in any case of letters. */
      text: text(256).optional(),
      /** By time, newest or oldest first; or as the events arrived, for who follows the log. */
      order: z.enum(["desc", "asc", "arrival"]).default("desc"),
      limit: z.number().int().min(1).max(10_000).default(500),
      /** `next` of the page before; "end", with the order "arrival", is where the log ends now. */
      cursor: text(40).optional(),
    }),
  ),

  // People, spoken for by the proxy
  "auth.login": method<UserCertificates>()(
    ["proxy"],
    z.strictObject({
      user: text(255),
      password: text(1024),
      otp_token: text(64).optional(),
      public_key: authorizedKey,
      tls_public_key: spki.optional(),
      ttl_ms: ttlMs.optional(),
      /** "host:port" of the person's client, for the audit log. */
      client_addr: text(255),
    }),
  ),
  /** What an invite or reset link is for. Asking does not use it up. */
  "signup.get": method<SignupInfo>()(["proxy"], z.strictObject({ token: secret })),
  /** Sets the password (and the second factor) and uses the link up. */
  "signup.complete": method<{ user: string }>()(
    ["proxy"],
    z.strictObject({ token: secret, password: text(1024), otp_token: text(64).optional() }),
  ),

  // Administration
  "users.create": method<SignupLink>()(
    ["admin"],
    z.strictObject({
      name,
      /** Default: the user's own name. */
      logins: names.optional(),
      /** Default: ["admin"]. */
      roles: names.optional(),
      /** Of the invite: default 1 h, at most 48 h. */
      ttl_ms: ttlMs.optional(),
    }),
  ),
  /** Password and second factor stop to work at once. TTL of the link: default 8 h, at most 24 h. */
  "users.reset": method<SignupLink>()(
    ["admin"],
    z.strictObject({ name, ttl_ms: ttlMs.optional() }),
  ),
  "users.update": method<{ user: User }>()(
    ["admin"],
    z.strictObject({ name, roles: names.optional(), logins: names.optional() }),
  ),
  "users.list": method<UserListResult>()(["admin"], empty),
  "users.delete": method<Record<never, never>>()(["admin"], z.strictObject({ name })),
  "tokens.create": method<{ token: string; expires: string }>()(
    ["admin"],
    z.strictObject({
      /** Of "node", "proxy" (any case). */
      roles: z.array(text(64)).min(1).max(8),
      ttl_ms: ttlMs.optional(),
      /** Default: 16 random bytes as hex. */
      value: secret.optional(),
    }),
  ),
  "tokens.list": method<{ tokens: JoinTokenInfo[] }>()(["admin"], empty),
  "tokens.delete": method<Record<never, never>>()(
    ["admin"],
    // The token itself or its id.
    z.strictObject({ token: secret }),
  ),
  /** Not capped by the roles' max_session_ttl. */
  "sign.user": method<UserCertificates>()(
    ["admin"],
    z.strictObject({
      user: name,
      ttl_ms: ttlMs.optional(),
      public_key: authorizedKey,
      tls_public_key: spki.optional(),
    }),
  ),
  "sign.host": method<{ cert: string }>()(
    ["admin"],
    z.strictObject({
      principals: names.min(1),
      public_key: authorizedKey,
      /** Default: does not expire. */
      ttl_ms: ttlMs.optional(),
    }),
  ),
  "resources.list": method<ResourceListResult>()(
    ["admin"],
    z.strictObject({
      kind: z.enum(RESOURCE_KINDS),
      name: name.optional(),
      with_secrets: z.boolean().default(false),
    }),
  ),
  "resources.create": method<ResourceRef & { created: boolean }>()(
    ["admin"],
    z.strictObject({ resource: resource<object>(), force: z.boolean().default(false) }),
  ),
  "resources.delete": method<ResourceRef>()(
    ["admin"],
    z.strictObject({ kind: z.enum(RESOURCE_KINDS), name }),
  ),
  status: method<StatusResult>()(["admin"], empty),
} satisfies Record<string, ApiMethod<z.ZodType, unknown>>;

export type ApiMethods = typeof methods;
export type MethodName = keyof ApiMethods;

/** What a client may send: parameters with defaults are optional. */
export type ApiParams<M extends MethodName> = z.input<ApiMethods[M]["params"]>;
/** What a handler gets. */
export type ParsedParams<M extends MethodName> = z.output<ApiMethods[M]["params"]>;
export type ApiResult<M extends MethodName> = NonNullable<ApiMethods[M]["result"]>;

/** What each kind of caller may watch. */
export const WATCHABLE: Record<
  "admin" | "node" | "proxy",
  readonly (WatchKind | "session")[]
> = {
  admin: WATCH_KINDS,
  node: ["proxy", "role", "cert_authority", "cluster_config", "session"],
  proxy: ["node", "proxy", "role", "cert_authority", "cluster_config", "session"],
};
