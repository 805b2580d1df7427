/**
 * Audit events: names, codes and fields as they appear in the audit log.
 *
 * One event is one flat JSON object. Times are RFC 3339 UTC strings with milliseconds, sizes are
 * bytes, durations milliseconds, terminal sizes "columns:rows". This file has no run-time
 * dependency, so that everything may import it.
 */

import type { SessionRecording } from "../resources/types.ts";

/** Severity is the code's last letter: I information, W warning, E failure. */
export const EventCode = {
  UserLocalLogin: "T1000I",
  UserLocalLoginFailure: "T1000W",
  UserCreate: "T1002I",
  UserUpdate: "T1003I",
  UserDelete: "T1004I",
  UserPasswordChange: "T1005I",
  SessionRejected: "T1006W",
  SessionStart: "T2000I",
  SessionJoin: "T2001I",
  TerminalResize: "T2002I",
  SessionLeave: "T2003I",
  SessionEnd: "T2004I",
  SessionUpload: "T2005I",
  SessionData: "T2006I",
  Subsystem: "T3001I",
  SubsystemFailure: "T3001E",
  Exec: "T3002I",
  ExecFailure: "T3002E",
  PortForward: "T3003I",
  PortForwardFailure: "T3003E",
  ScpDownload: "T3004I",
  ScpDownloadFailure: "T3004E",
  ScpUpload: "T3005I",
  ScpUploadFailure: "T3005E",
  ClientDisconnect: "T3006I",
  AuthFailure: "T3007W",
  X11Forward: "T3008I",
  X11ForwardFailure: "T3008W",
  SftpOperation: "TS001I",
  SftpOperationFailure: "TS001E",
  ResetPasswordTokenCreate: "T6000I",
  RoleCreated: "T9000I",
  RoleDeleted: "T9001I",
  AuditGap: "TA001W",
} as const;

export type EventCodeValue = typeof EventCode[keyof typeof EventCode];

/** Fields of every stored event. */
export interface StoredFields {
  /** UUID of the event; made by the sender's queue, so that a second delivery is recognised. */
  uid: string;
  /** RFC 3339 UTC. Stamped by the auth server; a sender's own time is kept only when it is near. */
  time: string;
  /** Index of the event within its session; 0 outside sessions. */
  ei: number;
  /** What the sender's clock said, when it was too far from the auth server's to be believed. */
  reported_time?: string;
  /** Host id of the node or proxy that sent the event, stamped from its certificate. */
  reported_by?: string;
  reported_service?: "node" | "proxy";
  /** What a host that was not known (yet) said of itself. */
  reported_hostname?: string;
  reported_addr?: string;
  /** The sender's spool (a UUID of version 7), and the number of the event in it, from 1. */
  reported_stream?: string;
  reported_seq?: number;
}

/**
 * U in the reference: who, and as which operating-system user. Of a host's events it is the host's
 * word: it has checked the certificate, and the auth server was not there.
 */
interface UserFields {
  user: string;
  login?: string;
}

/**
 * S in the reference: the node. Of a host's events the auth server stamps it all, from its certificate
 * and from what it has announced.
 */
export interface ServerFields {
  /** Host UUID. The auth server refuses any other than the sender's own. */
  server_id: string;
  namespace?: string;
  server_hostname?: string;
  server_addr?: string;
  server_labels?: Record<string, string>;
  /** Where a session leads that a proxy reports: the server behind it. A node's UUID, if it is one. */
  target_id?: string;
  target_hostname?: string;
  /** "host:port". */
  target_addr?: string;
}

/** C in the reference: the connection. Addresses are "host:port". */
export interface ConnectionFields {
  "addr.local"?: string;
  "addr.remote"?: string;
  proto?: "ssh" | "https";
}

/** R in the reference: the resource. */
interface ResourceFields {
  name: string;
  expires?: string;
  updated_by?: string;
  /** Go-style duration, e.g. "1h0m0s". */
  ttl?: string;
}

export interface UserLoginEvent extends UserFields, ConnectionFields {
  event: "user.login";
  code: "T1000I" | "T1000W";
  success: boolean;
  method: "local" | "client.cert" | "oidc" | "saml" | "github";
  /** What single sign-on said of the user. */
  attributes?: Record<string, string[]>;
  /** Shown to administrators only: why it failed. */
  error?: string;
  message?: string;
}

export interface UserChangeEvent extends UserFields, ResourceFields {
  event: "user.create" | "user.update" | "user.delete";
  code: "T1002I" | "T1003I" | "T1004I";
  roles?: string[];
  connector?: string;
}

export interface UserPasswordChangeEvent extends UserFields {
  event: "user.password_change";
  code: "T1005I";
}

export interface ResetPasswordTokenCreateEvent extends UserFields, ResourceFields {
  event: "reset_password_token.create";
  code: "T6000I";
}

export interface RoleChangeEvent extends UserFields, ResourceFields {
  event: "role.created" | "role.deleted";
  code: "T9000I" | "T9001I";
}

export interface SessionRejectedEvent extends UserFields, ServerFields, ConnectionFields {
  event: "session.rejected";
  code: "T1006W";
  /** e.g. "max_connections limit reached". */
  reason: string;
  max?: number;
}

/** Fields of everything that belongs to one SSH session. */
interface SessionFields extends UserFields, ServerFields, ConnectionFields {
  /** Session UUID. */
  sid: string;
}

export interface SessionStartEvent extends SessionFields {
  event: "session.start";
  code: "T2000I";
  /** "80:25"; absent without a terminal. */
  size?: string;
  interactive?: boolean;
}

export type JoinMode = "peer" | "observer" | "moderator";

export interface SessionJoinEvent extends SessionFields {
  event: "session.join";
  code: "T2001I";
  mode?: JoinMode;
}

export interface SessionLeaveEvent extends SessionFields {
  event: "session.leave";
  code: "T2003I";
}

/** Reported exactly once: its uid is sessionEndUid(sid) of session_end.ts, whoever reports it. */
export interface SessionEndEvent extends SessionFields {
  event: "session.end";
  code: "T2004I";
  enhanced_recording: boolean;
  interactive: boolean;
  participants: string[];
  session_start: string;
  session_stop: string;
  /** Where the session was recorded. */
  session_recording?: RecordingMode;
  /** The recording ends before the session did. */
  torn?: true;
}

export type RecordingMode = SessionRecording;

/** The recording of a session has arrived whole at the auth server, which says so itself. */
export interface SessionUploadEvent {
  event: "session.upload";
  code: "T2005I";
  sid: string;
  /** Where it is kept, e.g. "file:///var/lib/teleport/log/records/<sid>.cast.gz". */
  url: string;
}

export interface SessionDataEvent extends SessionFields {
  event: "session.data";
  code: "T2006I";
  /** Bytes sent to the client. */
  tx: number;
  /** Bytes received from the client. */
  rx: number;
}

export interface ResizeEvent extends SessionFields {
  event: "resize";
  code: "T2002I";
  size: string;
}

export interface ExecEvent extends UserFields, ServerFields, ConnectionFields {
  event: "exec";
  code: "T3002I" | "T3002E";
  sid?: string;
  command: string;
  /** Decimal exit status as a string, "0" for success, as Teleport 4 writes it. */
  exitCode?: string;
  exitError?: string;
}

export interface ScpEvent extends UserFields, ServerFields, ConnectionFields {
  event: "scp";
  code: "T3004I" | "T3004E" | "T3005I" | "T3005E";
  sid?: string;
  command?: string;
  path: string;
  action: "upload" | "download";
  exitCode?: string;
  exitError?: string;
}

export type SftpAction =
  | "open"
  | "close"
  | "read"
  | "write"
  | "setstat"
  | "fsetstat"
  | "opendir"
  | "readdir"
  | "remove"
  | "mkdir"
  | "rmdir"
  | "rename"
  | "symlink"
  | "link";

export interface SftpEvent extends UserFields, ServerFields, ConnectionFields {
  event: "sftp";
  code: "TS001I" | "TS001E";
  sid?: string;
  action: SftpAction;
  path: string;
  /** Of rename, symlink and link. */
  target_path?: string;
  /** Bytes moved while the file was open (on "close"). */
  bytes_read?: number;
  bytes_written?: number;
  error?: string;
}

export interface SubsystemEvent extends UserFields, Partial<ServerFields>, ConnectionFields {
  event: "subsystem";
  code: "T3001I" | "T3001E";
  name: string;
  exitError?: string;
}

export interface PortForwardEvent extends UserFields, Partial<ServerFields>, ConnectionFields {
  event: "port";
  code: "T3003I" | "T3003E";
  success: boolean;
  error?: string;
  /** Target "host:port"; of a remote forwarding, where the node listens. */
  addr: string;
  /** "remote": the node listens for the client (`ssh -R`). Absent: local. */
  direction?: "local" | "remote";
}

export interface X11ForwardEvent extends UserFields, Partial<ServerFields>, ConnectionFields {
  event: "x11-forward";
  code: "T3008I" | "T3008W";
  sid?: string;
  success: boolean;
  error?: string;
}

/** A refused SSH authentication or authorization. Only failures are logged under this name. */
export interface AuthEvent extends UserFields, Partial<ServerFields>, ConnectionFields {
  event: "auth";
  code: "T3007W";
  success: false;
  error: string;
  message?: string;
}

export interface ClientDisconnectEvent extends UserFields, ServerFields, ConnectionFields {
  event: "client.disconnect";
  code: "T3006I";
  reason: string;
}

/** Events of a host never arrived: the numbers between what was known and what came next. */
export interface AuditGapEvent {
  event: "audit.gap";
  code: "TA001W";
  /** The host whose events are missing, and which of its services sends them. */
  server_id: string;
  service: "node" | "proxy";
  /** As reported_stream of its events. */
  stream: string;
  first_missing: number;
  last_missing: number;
}

/** What an emitter says; uid, time and ei are filled in by the audit log when absent. */
export type AuditEvent =
  & (
    | UserLoginEvent
    | UserChangeEvent
    | UserPasswordChangeEvent
    | ResetPasswordTokenCreateEvent
    | RoleChangeEvent
    | SessionRejectedEvent
    | SessionStartEvent
    | SessionJoinEvent
    | SessionLeaveEvent
    | SessionEndEvent
    | SessionDataEvent
    | SessionUploadEvent
    | ResizeEvent
    | ExecEvent
    | ScpEvent
    | SftpEvent
    | SubsystemEvent
    | PortForwardEvent
    | AuthEvent
    | ClientDisconnectEvent
    | X11ForwardEvent
    | AuditGapEvent
  )
  & Partial<StoredFields>;

export type StoredEvent = AuditEvent & StoredFields;

export type EventName = AuditEvent["event"];

/** What happens inside a session; reported by the host that sees into it. */
const SESSION_EVENTS = [
  "session.start",
  "session.join",
  "session.leave",
  "session.end",
  "session.data",
  "resize",
  "exec",
  "scp",
  "sftp",
  "x11-forward",
] as const;

const CONNECTION_EVENTS = [
  "session.rejected",
  "subsystem",
  "port",
  "auth",
  "client.disconnect",
] as const;

/**
 * The events each kind of host may report; everything else is the auth server's own to say. A proxy
 * sees into the sessions that it records.
 */
export const HOST_EVENTS = {
  node: [...SESSION_EVENTS, ...CONNECTION_EVENTS],
  proxy: [...SESSION_EVENTS, ...CONNECTION_EVENTS],
} as const satisfies Record<string, readonly EventName[]>;

export interface EmitResult {
  /** Events that were refused for good: do not send them again. All others are on disk. */
  rejected: { index: number; uid?: string; reason: string }[];
}

/** `ei` of session.data: it sorts after everything else of its session, as in Teleport 4. */
export const SESSION_DATA_INDEX = 2 ** 31 - 2;
/** `ei` of session.end and session.upload: the last of a session. */
export const LAST_INDEX = 2 ** 31 - 1;

/** Where events go. Never throws and never waits: losing the log must not stop the service. */
export interface AuditEmitter {
  emit(event: AuditEvent): void;
}
