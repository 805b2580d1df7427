/**
 * What crosses the auth API, as TypeScript types. No run-time dependency: clients load this file
 * and client.ts, the schemas in contract.ts stay at the server.
 *
 * Times are RFC 3339 UTC strings, durations milliseconds, keys and certificates text: SSH public
 * keys as authorized_keys lines, SSH certificates as certificate lines, X.509 as PEM, bare X.509
 * public keys as base64 of the SPKI.
 */
import type { RecordingMode } from "../audit/events.ts";
import type { StoredEvent } from "../audit/events.ts";
import type { PublicKey } from "../sshwire/keys.ts";
import type { HostRole, UserIdentity } from "../cert/identity.ts";
import type { PeerAddress } from "../ssh/server.ts";
import type { RecordingInfo } from "../recording/meta.ts";
import type {
  AnyResource,
  CertAuthority,
  JoinMode,
  Node,
  SecondFactor,
  User,
} from "../resources/types.ts";

export type { EmitResult as AuditEmitResult } from "../audit/events.ts";
export type { RecordingInfo } from "../recording/meta.ts";

/** SSH subsystem that carries the API. */
export const AUTH_API_SUBSYSTEM = "auth-api";
/** SSH user name of a host that has no certificate yet. */
export const JOIN_USER = "-teleport-join";
/** Bytes of a recording that go in one call at most. */
export const RECORDING_CHUNK_BYTES = 768 * 1024;
/** Server → client notification of `watch`. */
export const WATCH_EVENT = "watch.event";

/** Who may call a method. "joining" is a host that has no certificate yet. */
export type CallerKind = "admin" | "user" | "node" | "proxy" | "joining";

/** Who is calling, as the connection proved it. */
export type Caller =
  | { kind: "admin"; name: string }
  | { kind: "user"; identity: UserIdentity; remote?: PeerAddress }
  | {
    kind: "node" | "proxy";
    hostId: string;
    cluster: string;
    /** The key the host authenticated with: `host.renew` certifies exactly this one. */
    key: PublicKey;
    roles: readonly HostRole[];
    /** Where it calls from. */
    remote?: PeerAddress;
  }
  | { kind: "joining"; key: PublicKey; remote: PeerAddress };

export interface PingResult {
  cluster_name: string;
  server_version: string;
  caller: { kind: CallerKind; name: string };
  second_factor: SecondFactor;
}

export interface AuthoritiesResult {
  cluster_name: string;
  /** Without secrets. */
  authorities: CertAuthority[];
}

export interface HostCertificates extends AuthoritiesResult {
  host_id: string;
  /** SSH host certificate line for the key that the connection authenticated with. */
  certificate: string;
  /** PEM, leaf first, then the host CA; present when `tls_public_key` was given. */
  tls_certificate?: string;
}

export interface NodeListResult {
  /** Ordered by host id. */
  nodes: Node[];
  /** Give it as `after` for the next page; absent on the last one. */
  next?: string;
}

/** Kinds that can be watched. */
export type WatchKind = "node" | "proxy" | "role" | "user" | "cert_authority" | "cluster_config";

/**
 * A watch gives every present resource as "put", then "init", then changes as they happen.
 * What was known before and did not come before "init" is gone.
 *
 * The kind "session", watched by itself, gives a host the orders for its own sessions: "delete" is
 * to end one.
 */
export type WatchEvent =
  | { type: "put"; resource: AnyResource }
  | {
    type: "delete";
    kind: WatchKind | "session";
    name: string;
    /** Of the kind "session": who wants it, and why. */
    by?: string;
    reason?: string;
  }
  | { type: "init" };

/** Parameters of the server's `watch.event` notification. `error` is always its last. */
export interface WatchNotification {
  watch_id: string;
  events: WatchEvent[];
  error?: { code: string; message: string };
}

/** A session that runs now. */
export interface ActiveSession {
  /** UUID. */
  sid: string;
  /** Whose session it is, and the roles of the certificate it was started with. */
  user: string;
  roles: string[];
  /** OS login. */
  login: string;
  /** The host that runs it. */
  server_id: string;
  server_hostname: string;
  server_addr: string;
  /** Of a session that a proxy reports: the host behind it. */
  target_hostname?: string;
  /** RFC 3339, UTC. */
  started: string;
  /** Of the terminal; 0 without one. */
  cols: number;
  rows: number;
  /** With a terminal: it can be joined. */
  interactive: boolean;
  /** Absent: a shell. */
  command?: string;
  /** Who is in it now, its owner included. */
  parties: { user: string; mode: JoinMode; joined: string }[];
  recording: RecordingMode;
  /** How the user who asks may join it; absent for other callers. */
  join_modes?: JoinMode[];
}

export interface HostSigner {
  /** Cluster name. */
  domain_name: string;
  /** Host CA keys, authorized_keys lines. */
  checking_keys: string[];
  /** Host CA certificates, PEM. */
  tls_certs: string[];
}

export interface UserCertificates {
  username: string;
  /** SSH user certificate line. */
  cert: string;
  /** PEM; present when `tls_public_key` was given. */
  tls_cert?: string;
  host_signers: HostSigner[];
}

export interface SignupInfo {
  user: string;
  kind: "invite" | "reset";
  expires: string;
  second_factor: SecondFactor;
  /** otpauth:// URI for a QR code; absent when second_factor is off. */
  otp_uri?: string;
  /** The same secret, base32, to type by hand. */
  otp_secret?: string;
}

export interface SignupLink {
  user: string;
  /** 32 hex digits: the last part of the link. Said once, only its hash is kept. */
  token: string;
  expires: string;
}

export interface JoinTokenInfo {
  /** First 16 hex digits of the token's SHA-256: the token itself is not kept. */
  id: string;
  roles: string[];
  /** Absent for static tokens, which never expire. */
  expires?: string;
  static: boolean;
}

export interface AuthorityStatus {
  /** SHA256:… of each trusted CA key. */
  fingerprints: string[];
  last_rotated?: string;
}

export interface StatusResult {
  cluster_name: string;
  version: string;
  ca_pins: string[];
  user_ca: AuthorityStatus;
  host_ca: AuthorityStatus;
}

export interface RecordingListResult {
  recordings: RecordingInfo[];
  /** Give it as `after` for the next page; absent on the last one. */
  next?: string;
}

export interface EventSearchResult {
  events: StoredEvent[];
  /** Give it as `cursor` for the next page; absent on the last one, but for the order "arrival". */
  next?: string;
}

export interface ResourceRef {
  kind: string;
  name: string;
}

export interface ResourceListResult {
  resources: AnyResource[];
}

export interface UserListResult {
  users: User[];
}
