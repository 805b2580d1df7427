/** What the daemon runs with: the configuration file and the flags, checked and complete. */

import type { LogLevel } from "../base/log.ts";
import type { LabelCommand } from "../resources/label_selector.ts";
import type { JoinRole, Labels, SecondFactor, SessionRecording } from "../resources/types.ts";

export interface Config {
  /** Name of this host. */
  nodename: string;
  /** Absolute. */
  dataDir: string;
  pidFile?: string;
  /** Join token, or the absolute path of the file that holds it. */
  authToken?: string;
  /** "sha256:" and 64 hexadecimal digits. */
  caPin?: string;
  advertiseIp?: string;
  /** "host:port" each. */
  authServers: string[];
  log: LogConfig;
  storage: { type: "libsql"; path: string };
  /** Where audit events go besides the log in the data directory. */
  auditEvents: AuditDestination[];
  auth: AuthConfig;
  proxy: ProxyConfig;
  ssh: SshConfig;
}

export type AuditDestination =
  /** Files like those in the data directory. */
  | { kind: "file"; directory: string }
  | { kind: "stdout" }
  | {
    kind: "http";
    url: string;
    /** Absolute; holds a bearer token. */
    tokenFile?: string;
    /** Absolute; PEM, in place of the system's authorities. */
    caFile?: string;
  };

export interface LogConfig {
  severity: Exclude<LogLevel, "off">;
  format: "text" | "json";
  /** "stderr", "stdout" or the absolute path of a file. */
  output: string;
}

export interface AuthConfig {
  enabled: boolean;
  clusterName: string;
  /** "host:port". */
  listenAddr: string;
  /** "host" or "host:port" each. */
  publicAddrs: string[];
  /** Static join tokens; what stood in files is read. */
  tokens: { roles: JoinRole[]; value: string }[];
  secondFactor: SecondFactor;
  /** 0: never. */
  clientIdleTimeoutMs: number;
  disconnectExpiredCert: boolean;
  keepAliveIntervalMs: number;
  keepAliveCountMax: number;
  /** How long a host may be out of touch before it ends the sessions whose number is limited. */
  sessionControlTimeoutMs: number;
  sessionRecording: SessionRecording;
  /** Of proxies that record. */
  proxyChecksHostKeys: boolean;
  /** What happens to sessions where the disk that they are recorded on is full. */
  recordingOnFull: "refuse" | "continue";
}

export interface ProxyConfig {
  enabled: boolean;
  /** "host:port". */
  sshListenAddr: string;
  /** "host:port". */
  webListenAddr: string;
  /** "host" or "host:port" each, of the web listener. */
  publicAddrs: string[];
  /** "host" or "host:port" each, of the SSH listener. */
  sshPublicAddrs: string[];
  /** Both or neither; absolute. */
  httpsKeyFile?: string;
  httpsCertFile?: string;
  /** Patterns of hosts that are no nodes and may be dialled: see lib/access/targets.ts. */
  unregisteredTargets: string[];
}

export interface SshConfig {
  enabled: boolean;
  /** "host:port". */
  listenAddr: string;
  /** "host" or "host:port" each. */
  publicAddrs: string[];
  labels: Labels;
  commands: LabelCommand[];
  permitUserEnv: boolean;
}

/** Flags of `teleport start` and `tctl` that say something about the configuration. */
export interface ConfigFlags {
  /** Path of the configuration file. */
  config?: string | undefined;
  /** The configuration itself, in base64. */
  configString?: string | undefined;
  /** "proxy,node,auth" */
  roles?: string | undefined;
  nodename?: string | undefined;
  pidFile?: string | undefined;
  /** Token, or the path of a file that holds it. */
  token?: string | undefined;
  caPin?: string | undefined;
  advertiseIp?: string | undefined;
  /** Takes the place of the host in every listen address. */
  listenIp?: string | undefined;
  authServers?: readonly string[] | undefined;
  labels?: string | undefined;
  permitUserEnv?: boolean | undefined;
  debug?: boolean | undefined;
}
