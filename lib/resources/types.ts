/**
 * The shapes of the resources that the cluster keeps and that people write as YAML.
 *
 * Types only: a module that must start fast may import them at no cost. A value of one of these
 * types has passed {@link file://./codec.ts parseResource}: defaults are filled in, durations are
 * in Go's notation ("30h0m0s") or "never", times are RFC 3339 in UTC.
 */

/** Names and values of labels, sorted by nobody: compare with `matchLabels()` of lib/access. */
export type Labels = Record<string, string>;

/** Facts about a user from the user resource or from single sign-on; each has several values. */
export type Traits = Record<string, string[]>;

export interface Metadata {
  name: string;
  /** Always "default": resources of other namespaces are refused. */
  namespace: string;
  description?: string;
  labels: Labels;
  /** RFC 3339, UTC. Absent: never. */
  expires?: string;
}

interface Resource<K extends string, V extends string, S> {
  kind: K;
  version: V;
  metadata: Metadata;
  spec: S;
}

export type User = Resource<"user", "v2", UserSpec>;

export interface UserSpec {
  /** Names of roles, at least one. */
  roles: string[];
  traits: Traits;
  status: UserStatus;
  created_by?: CreatedBy;
  /** The user itself ends then, RFC 3339; absent: never. */
  expires?: string;
}

export interface UserStatus {
  is_locked: boolean;
  locked_message?: string;
  locked_time?: string;
  lock_expires?: string;
}

export interface CreatedBy {
  time?: string;
  user?: { name: string };
}

export type Role = Resource<"role", "v3", RoleSpec>;

export interface RoleSpec {
  options: RoleOptions;
  allow: RoleConditions;
  deny: RoleConditions;
}

export type CertFormat = "standard" | "oldssh";

export interface RoleOptions {
  /** Longest life of a certificate; the least of all roles wins. */
  max_session_ttl: string;
  forward_agent: boolean;
  port_forwarding: boolean;
  permit_x11_forwarding: boolean;
  cert_format: CertFormat;
  /** "never" or a duration; the least of all roles wins. */
  client_idle_timeout: string;
  disconnect_expired_cert: boolean;
  /** Connections at one time of one user; 0 is no limit, the least other value wins. */
  max_connections: number;
  /** Session channels in one connection; 0 is no limit, the least other value wins. */
  max_sessions: number;
}

export interface RoleConditions {
  /** OS logins, literal or with a template such as `{{internal.logins}}`. */
  logins: string[];
  namespaces: string[];
  /** Empty matches no node. Values: literal, glob, `^re$` or `{{regexp.match("re")}}`. */
  node_labels: Record<string, string[]>;
  /** Kept for those who bring their roles along; there is no Kubernetes access. */
  kubernetes_groups?: string[];
  kubernetes_users?: string[];
  /** Sessions of others that may be joined; see `decideJoin()` of lib/access. */
  join_sessions?: JoinRule[];
  rules: Rule[];
}

/**
 * How one is in somebody else's session: a peer types like its owner, an observer only watches, a
 * moderator watches and may end it.
 */
export const JOIN_MODES = ["peer", "observer", "moderator"] as const;

export type JoinMode = typeof JOIN_MODES[number];

export interface JoinRule {
  /** For people only. */
  name: string;
  /** Globs: of the roles that the session's owner has, one must match. */
  roles: string[];
  /** Of "ssh" and "*"; "k8s" is kept for those who bring their roles along. */
  kinds: string[];
  modes: (JoinMode | "*")[];
}

export const RULE_VERBS = [
  "list",
  "create",
  "read",
  "readnosecrets",
  "update",
  "delete",
  "rotate",
] as const;

export type RuleVerb = typeof RULE_VERBS[number];

export interface Rule {
  /** Kinds of resources as in {@link RULE_RESOURCES}, or "*". */
  resources: string[];
  verbs: (RuleVerb | "*")[];
}

/** What a rule of a role may speak of. */
export const RULE_RESOURCES = [
  "role",
  "user",
  "auth_connector",
  "oidc",
  "saml",
  "github",
  "trusted_cluster",
  "remote_cluster",
  "session",
  "ssh_session",
  "event",
  "node",
  "proxy",
  "auth_server",
  "token",
  "cert_authority",
  "cluster_auth_preference",
  "cluster_config",
  "cluster_name",
  "static_tokens",
  "tunnel",
  "access_request",
  "plugin_data",
  "namespace",
  "license",
  "web_session",
  "semaphore",
  "user_token",
] as const;

/** What a node, a proxy and an auth server announce of themselves. */
export interface ServerSpec {
  /** "ip:port" where it listens; empty for one that is reached by a tunnel. */
  addr: string;
  public_addr?: string;
  hostname: string;
  /** Labels whose values come from commands. */
  cmd_labels: Record<string, CommandLabel>;
  use_tunnel: boolean;
  /** Version of the program. */
  version: string;
}

export interface CommandLabel {
  /** Duration between two runs. */
  period: string;
  command: string[];
  /** Last output. */
  result: string;
}

/** `metadata.name` is the host UUID, `metadata.labels` are the static labels. */
export type Node = Resource<"node", "v2", ServerSpec>;
export type Proxy = Resource<"proxy", "v2", ServerSpec>;
export type AuthServer = Resource<"auth_server", "v2", ServerSpec>;

/** Roles that a join token can give; as they stand in host certificates. */
export type JoinRole = "Node" | "Proxy";

/** `metadata.name` is the token itself, `metadata.expires` its end. */
export type Token = Resource<"token", "v2", TokenSpec>;

export interface TokenSpec {
  roles: JoinRole[];
}

/** `metadata.name` is the cluster's name. */
export type CertAuthority = Resource<"cert_authority", "v2", CertAuthoritySpec>;

export interface CertAuthoritySpec {
  type: "user" | "host";
  cluster_name: string;
  /** Public keys in the format of authorized_keys. */
  checking_keys: string[];
  /** Private keys in OpenSSH's format: secret. */
  signing_keys?: string[];
  tls_key_pairs: TlsKeyPair[];
  rotation?: Rotation;
}

export interface TlsKeyPair {
  /** PEM. */
  cert: string;
  /** PEM: secret. */
  key?: string;
}

export interface Rotation {
  state: "standby" | "in_progress";
  phase?: "standby" | "init" | "update_clients" | "update_servers" | "rollback";
  mode?: "manual" | "auto";
  current_id?: string;
  started?: string;
  grace_period?: string;
  last_rotated?: string;
  schedule?: { update_clients?: string; update_servers?: string; standby?: string };
}

export type ClusterName = Resource<"cluster_name", "v2", ClusterNameSpec>;

export interface ClusterNameSpec {
  cluster_name: string;
  /** UUID. */
  cluster_id?: string;
}

export type SecondFactor = "off" | "otp";

/** `metadata.name` is "cluster-config". */
export type ClusterConfig = Resource<"cluster_config", "v3", ClusterConfigSpec>;

export interface ClusterConfigSpec {
  cluster_id?: string;
  client_idle_timeout: string;
  disconnect_expired_cert: boolean;
  keep_alive_interval: string;
  keep_alive_count_max: number;
  /** How long a host may be out of touch before it ends the sessions whose number is limited. */
  session_control_timeout: string;
  /** Who records sessions; with "-sync" they go to auth while they run, and end when they cannot. */
  session_recording: SessionRecording;
  /** A proxy that records refuses hosts whose key no authority of the cluster has signed. */
  proxy_checks_host_keys: boolean;
  /** Whether sessions go on unrecorded when the disk of the host that records is full. */
  recording_on_full: "refuse" | "continue";
}

export const SESSION_RECORDINGS = ["node", "node-sync", "proxy", "proxy-sync", "off"] as const;

export type SessionRecording = typeof SESSION_RECORDINGS[number];

/** `metadata.name` is "cluster-auth-preference". */
export type ClusterAuthPreference = Resource<
  "cluster_auth_preference",
  "v2",
  ClusterAuthPreferenceSpec
>;

export interface ClusterAuthPreferenceSpec {
  type: "local";
  second_factor: SecondFactor;
}

export type AnyResource =
  | User
  | Role
  | Node
  | Proxy
  | AuthServer
  | Token
  | CertAuthority
  | ClusterName
  | ClusterConfig
  | ClusterAuthPreference;

export type Kind = AnyResource["kind"];

/** The resource type of a kind. */
export type ResourceOf<K extends Kind> = Extract<AnyResource, { kind: K }>;
