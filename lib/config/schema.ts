/** Schema of teleport.yaml. Keys of Teleport that belong to later work are refused by name. */

import { z } from "zod";
import { assertTargetPattern } from "../access/targets.ts";
import { parseDuration } from "../base/duration.ts";
import { BadParameter } from "../base/errors.ts";
import { type HostPort, isIpAddress, parseAddr } from "../base/net.ts";
import { assertClusterName, assertPrincipal } from "../cert/names.ts";
import {
  attempt,
  bool,
  duration,
  hasControls,
  integer,
  later,
  line,
  object,
  oneOrMany,
  optional,
} from "../resources/fields.ts";
import { assertLabelKey, MAX_LABEL_VALUE } from "../resources/names.ts";
import { SESSION_RECORDINGS } from "../resources/types.ts";
import { parseAuditUri } from "./audit_uri.ts";
import type { AuditDestination, Config } from "./types.ts";

/** Text that a function of ours accepts. */
function checked(check: (text: string) => unknown) {
  return line(4096).transform((text, context) => {
    attempt(context, () => check(text));
    return text;
  });
}

const name = () => checked(assertPrincipal);
const path = () => line(4096);
const address = () => checked((text) => parseAddr(text, 1));
const listenAddr = () => checked((text) => parseListenAddr(text, 1));
const publicAddrs = () => optional(oneOrMany(address()));
const isOff = (value: unknown) => value === null || /^(no|off|false)$/i.test(String(value));
const isOn = (value: unknown) => value === null || /^(yes|on|true)$/i.test(String(value));

/** A section that is harmless as long as it is switched off. */
const switchedOff = (value: unknown) =>
  value === null || (typeof value === "object" && value !== null && "enabled" in value &&
    isOff((value as { enabled: unknown }).enabled));

/** "host:port", "host", or ":port" for every address. @throws BadParameter */
export function parseListenAddr(text: string, defaultPort: number): HostPort {
  const addr = parseAddr(text.startsWith(":") ? `0.0.0.0${text}` : text, defaultPort);
  if (/^\d+$/.test(addr.host)) {
    throw new BadParameter(`${JSON.stringify(text)} lacks a host: write it like 0.0.0.0:${text}`);
  }
  return addr;
}

export function assertCaPin(pin: string): void {
  if (!/^sha256:[0-9a-f]{64}$/i.test(pin)) {
    throw new BadParameter(
      "A CA pin is sha256: and 64 hexadecimal digits, as 'tctl status' shows it",
    );
  }
}

export function assertAdvertiseIp(text: string): void {
  if (!isIpAddress(text) || /^(0\.0\.0\.0|::)$/.test(text)) {
    throw new BadParameter(`${JSON.stringify(text)} is not an IP address that others can reach`);
  }
}

const severities = ["debug", "info", "warn", "error"] as const;

const log = object({
  output: optional(
    line(4096).refine((text) => text !== "syslog", {
      message: "is not supported by this version: syslog; use stderr and the service manager",
    }),
  ),
  severity: optional(
    z.string().transform((text, context): Config["log"]["severity"] => {
      const severity = text.toLowerCase();
      const found = severities.find((each) => each === severity);
      if (found !== undefined) return found;
      if (severity === "warning") return "warn";
      context.addIssue({ code: "custom", message: "must be DEBUG, INFO, WARN or ERROR" });
      return z.NEVER;
    }),
  ),
  format: optional(
    z.unknown().transform((value, context): "text" | "json" => {
      if (value === "text" || value === "json") return value;
      context.addIssue({
        code: "custom",
        message: Array.isArray(value)
          ? "is not supported by this version: choosing the fields; use text or json"
          : "must be text or json",
      });
      return z.NEVER;
    }),
  ),
});

const absolutePath = () =>
  path().refine((text) => text.startsWith("/"), { message: "must be an absolute path" });

/** A URI, or one with its files: `{uri: https://…, token_file: /…, ca_file: /…}`. */
const auditUri = z.preprocess(
  (value) => typeof value === "string" ? { uri: value } : value,
  object({
    uri: line(4096),
    token_file: optional(absolutePath()),
    ca_file: optional(absolutePath()),
  }),
).transform(({ uri, token_file, ca_file }, context): AuditDestination => {
  const files = {
    ...(token_file === undefined ? {} : { tokenFile: token_file }),
    ...(ca_file === undefined ? {} : { caFile: ca_file }),
  };
  return attempt(context, () => parseAuditUri(uri, files)) ?? z.NEVER;
});

const storage = object({
  type: optional(
    z.string().transform((type, context) => {
      if (["dir", "sqlite", "libsql"].includes(type)) return "libsql" as const;
      const known = ["etcd", "dynamodb", "firestore"].includes(type);
      context.addIssue({
        code: "custom",
        message: known
          ? `is not supported by this version: ${type}; use dir`
          : "must be dir: a database file below 'path'",
      });
      return z.NEVER;
    }),
  ),
  path: optional(path()),
  audit_events_uri: optional(oneOrMany(auditUri)),
  ...Object.fromEntries(
    [
      "audit_sessions_uri",
      "peers",
      "prefix",
      "tls_cert_file",
      "tls_key_file",
      "tls_ca_file",
      "username",
      "password_file",
      "insecure",
      "region",
      "table_name",
      "project_id",
      "collection_name",
      "credentials_path",
    ].map((key) => [key, later("other storage than a directory")]),
  ),
});

const teleport = object({
  nodename: optional(name()),
  data_dir: optional(path()),
  pid_file: optional(path()),
  auth_token: optional(line(4096)),
  ca_pin: optional(checked(assertCaPin)),
  advertise_ip: optional(checked(assertAdvertiseIp)),
  auth_servers: optional(oneOrMany(address()).pipe(z.array(z.string()).min(1))),
  log: optional(log),
  storage: optional(storage),
  connection_limits: later("limits of connections"),
  cache: later("settings of the cache"),
  ciphers: later("choosing algorithms; the hardened list is always used"),
  kex_algos: later("choosing algorithms; the hardened list is always used"),
  mac_algos: later("choosing algorithms; the hardened list is always used"),
  ciphersuites: later("choosing algorithms; the hardened list is always used"),
  ca_signature_algo: later("choosing algorithms; the certificate authorities use Ed25519"),
});

const authentication = object({
  type: optional(choice(["local"], ["github", "oidc", "saml"])),
  second_factor: optional(choice(["otp", "off"], ["u2f", "webauthn", "on", "optional"])),
  connector_name: later("single sign-on"),
  local_auth: later("switching local users off", isOn),
  u2f: later("U2F"),
});

const authService = object({
  enabled: optional(bool()),
  cluster_name: optional(checked(assertClusterName)),
  listen_addr: optional(listenAddr()),
  public_addr: publicAddrs(),
  tokens: optional(z.array(line(4096))),
  authentication: optional(authentication),
  client_idle_timeout: optional(duration({ never: true, minMs: 1000 })),
  disconnect_expired_cert: optional(bool()),
  keep_alive_interval: optional(duration({ minMs: 1000 })),
  keep_alive_count_max: optional(integer(1, 1000)),
  session_recording: optional(choice(SESSION_RECORDINGS, [])),
  proxy_checks_host_keys: optional(bool()),
  session_recording_on_full: optional(choice(["refuse", "continue"], [])),
  session_control_timeout: optional(duration({ minMs: 1000 })),
  proxy_protocol: later("the PROXY protocol", isOff),
  license_file: later("licenses; none is needed"),
});

const labels = z.record(
  z.string(),
  z.string().max(MAX_LABEL_VALUE).refine((text) => !hasControls(text), {
    message: "must not have control characters or line breaks",
  }),
).transform((read, context) => {
  for (const key of Object.keys(read)) attempt(context, () => assertLabelKey(key), [key]);
  return read;
});

const commandLabel = object({
  name: checked(assertLabelKey),
  command: z.array(z.string().min(1).max(4096)).min(1),
  period: optional(duration().transform(parseDuration)),
});

const sshService = object({
  enabled: optional(bool()),
  listen_addr: optional(listenAddr()),
  public_addr: publicAddrs(),
  labels: optional(labels),
  commands: optional(
    z.array(commandLabel).superRefine((commands, context) => {
      const seen = new Set<string>();
      for (const [index, { name }] of commands.entries()) {
        if (seen.has(name)) {
          const path = [index, "name"];
          context.addIssue({ code: "custom", path, message: "is the name of another command" });
        }
        seen.add(name);
      }
    }),
  ),
  permit_user_env: optional(bool()),
  enhanced_recording: later("enhanced session recording", switchedOff),
  pam: later("PAM", switchedOff),
});

const proxyService = object({
  enabled: optional(bool()),
  listen_addr: optional(listenAddr()),
  web_listen_addr: optional(listenAddr()),
  public_addr: publicAddrs(),
  ssh_public_addr: publicAddrs(),
  https_key_file: optional(path()),
  https_cert_file: optional(path()),
  unregistered_targets: optional(z.array(checked(assertTargetPattern))),
  tunnel_listen_addr: later("reverse tunnels"),
  tunnel_public_addr: later("reverse tunnels"),
  proxy_protocol: later("the PROXY protocol", isOff),
  kubernetes: later("Kubernetes access", switchedOff),
}).superRefine((read, context) => {
  const { https_key_file: key, https_cert_file: certificate } = read as Record<string, unknown>;
  if ((key === undefined) === (certificate === undefined)) return;
  context.addIssue({
    code: "custom",
    path: [key === undefined ? "https_cert_file" : "https_key_file"],
    message: "is only half: https_key_file and https_cert_file belong together",
  });
});

/** One of `known`; one of `laterOn` is refused as not supported yet. */
function choice<const K extends string>(known: readonly K[], laterOn: readonly string[]) {
  return z.string().transform((value, context): K => {
    const found = known.find((each) => each === value);
    if (found !== undefined) return found;
    context.addIssue({
      code: "custom",
      message: laterOn.includes(value)
        ? `is not supported by this version: ${value}; use ${known.join(" or ")}`
        : `must be ${known.join(" or ")}`,
    });
    return z.NEVER;
  });
}

export const fileSchema = object({
  teleport: optional(teleport),
  auth_service: optional(authService),
  ssh_service: optional(sshService),
  proxy_service: optional(proxyService),
});

export type ConfigFile = z.output<typeof fileSchema>;
