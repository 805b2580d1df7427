/** Defaults, then the file, then the flags: the later one wins. */

import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { DEFAULT_UNREGISTERED_TARGETS } from "../access/targets.ts";
import { parseDuration } from "../base/duration.ts";
import { BadParameter, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { formatAddr, isIpAddress, parseAddr } from "../base/net.ts";
import { assertPrincipal, isHostName } from "../cert/names.ts";
import { type LabelCommand, parseLabelsFlag } from "../resources/label_selector.ts";
import { assertLabelKey } from "../resources/names.ts";
import { parseConfigText, readConfigText } from "./read_file.ts";
import { assertAdvertiseIp, assertCaPin, type ConfigFile, parseListenAddr } from "./schema.ts";
import { checkSecret, readStaticToken } from "./secrets.ts";
import type { AuthConfig, Config, ConfigFlags, ProxyConfig, SshConfig } from "./types.ts";

export const DEFAULT_DATA_DIR = "/var/lib/teleport";

const ports = { ssh: 3022, proxySsh: 3023, auth: 3025, web: 3080 };
/** The shortest period of a command label, in milliseconds. */
const minPeriodMs = 1000;
const defaultPeriodMs = 60_000;

export interface ConfigSources {
  /** Path of the configuration file; /etc/teleport.yaml, if it is there, where none is named. */
  file?: string | undefined;
  /** The configuration in base64, in place of a file. */
  configString?: string | undefined;
  flags?: ConfigFlags;
  /** TELEPORT_CONFIG stands for `configString`. */
  env?: (name: string) => string | undefined;
}

/**
 * The complete configuration of this host.
 * @throws BadParameter, NotFound naming the file, the key with its line, or the flag
 */
export async function loadConfig(sources: ConfigSources = {}): Promise<Config> {
  const flags = sources.flags ?? {};
  const text = await readConfigText({
    file: sources.file ?? flags.config,
    configString: sources.configString ?? flags.configString ?? sources.env?.("TELEPORT_CONFIG"),
  });
  const file = text ? parseConfigText(text) : {} as ConfigFile;
  const at = (key: string) => text ? `${text.source}: '${key}'` : `'${key}'`;
  return await build(file, flags, at);
}

async function build(
  file: ConfigFile,
  flags: ConfigFlags,
  at: (key: string) => string,
): Promise<Config> {
  const teleport = file.teleport;
  const nodename = flag("--nodename", flags.nodename, assertPrincipal) ?? teleport?.nodename ??
    defaultNodename();
  const dataDir = resolve(teleport?.data_dir ?? DEFAULT_DATA_DIR);
  const enabled = enabledRoles(file, flags.roles);
  const listenIp = flag("--listen-ip", flags.listenIp, assertIp);
  const authServers = flags.authServers?.length ? flags.authServers : teleport?.auth_servers;
  const pidFile = flags.pidFile ?? teleport?.pid_file;
  const token = flags.token === undefined
    ? teleport?.auth_token && checkSecret(at("teleport.auth_token"), teleport.auth_token)
    : checkSecret("--token", flags.token);
  const caPin = flag("--ca-pin", flags.caPin, assertCaPin) ?? teleport?.ca_pin;
  const advertiseIp = flag("--advertise-ip", flags.advertiseIp, assertAdvertiseIp) ??
    teleport?.advertise_ip;
  return {
    nodename,
    dataDir,
    ...(pidFile === undefined ? {} : { pidFile: resolve(pidFile) }),
    ...(token === undefined ? {} : { authToken: token }),
    ...(caPin === undefined ? {} : { caPin: caPin.toLowerCase() }),
    ...(advertiseIp === undefined ? {} : { advertiseIp }),
    authServers: (authServers ?? ["127.0.0.1"]).map((addr) =>
      named("--auth-server", () => formatAddr(parseAddr(addr, ports.auth)))
    ),
    log: {
      severity: flags.debug ? "debug" : teleport?.log?.severity ?? "info",
      format: teleport?.log?.format ?? "text",
      output: logOutput(teleport?.log?.output),
    },
    storage: {
      type: "libsql",
      path: join(resolve(teleport?.storage?.path ?? join(dataDir, "backend")), "sqlite.db"),
    },
    auditEvents: (teleport?.storage?.audit_events_uri ?? [])
      .filter((to) => to.kind !== "file" || resolve(to.directory) !== join(dataDir, "log")),
    auth: {
      ...await authConfig(file.auth_service, listenIp, at),
      enabled: enabled.auth,
    },
    proxy: { ...proxyConfig(file.proxy_service, listenIp), enabled: enabled.proxy },
    ssh: { ...sshConfig(file.ssh_service, flags, listenIp), enabled: enabled.node },
  };
}

async function authConfig(
  section: ConfigFile["auth_service"],
  listenIp: string | undefined,
  at: (key: string) => string,
): Promise<Omit<AuthConfig, "enabled">> {
  const tokens: AuthConfig["tokens"] = [];
  for (const [index, text] of (section?.tokens ?? []).entries()) {
    tokens.push(await readStaticToken(at(`auth_service.tokens[${index}]`), text));
  }
  return {
    clusterName: section?.cluster_name ?? defaultClusterName(),
    listenAddr: listenAddr(section?.listen_addr, listenIp, ports.auth),
    publicAddrs: section?.public_addr ?? [],
    tokens,
    secondFactor: section?.authentication?.second_factor ?? "otp",
    clientIdleTimeoutMs: parseDuration(section?.client_idle_timeout ?? "never"),
    disconnectExpiredCert: section?.disconnect_expired_cert ?? false,
    keepAliveIntervalMs: parseDuration(section?.keep_alive_interval ?? "5m"),
    keepAliveCountMax: section?.keep_alive_count_max ?? 3,
    sessionControlTimeoutMs: parseDuration(section?.session_control_timeout ?? "2m"),
    sessionRecording: section?.session_recording ?? "node",
    proxyChecksHostKeys: section?.proxy_checks_host_keys ?? true,
    recordingOnFull: section?.session_recording_on_full ?? "refuse",
  };
}

function proxyConfig(
  section: ConfigFile["proxy_service"],
  listenIp: string | undefined,
): Omit<ProxyConfig, "enabled"> {
  const keyFile = section?.https_key_file;
  const certFile = section?.https_cert_file;
  return {
    sshListenAddr: listenAddr(section?.listen_addr, listenIp, ports.proxySsh),
    webListenAddr: listenAddr(section?.web_listen_addr, listenIp, ports.web),
    publicAddrs: section?.public_addr ?? [],
    sshPublicAddrs: section?.ssh_public_addr ?? [],
    ...(keyFile === undefined ? {} : { httpsKeyFile: resolve(keyFile) }),
    ...(certFile === undefined ? {} : { httpsCertFile: resolve(certFile) }),
    unregisteredTargets: section?.unregistered_targets ?? [...DEFAULT_UNREGISTERED_TARGETS],
  };
}

function sshConfig(
  section: ConfigFile["ssh_service"],
  flags: ConfigFlags,
  listenIp: string | undefined,
): Omit<SshConfig, "enabled"> {
  const { labels, commands } = flags.labels === undefined
    ? { labels: section?.labels ?? {}, commands: commandsOf(section) }
    : named("--labels", () => labelsFlag(flags.labels as string));
  return {
    listenAddr: listenAddr(section?.listen_addr, listenIp, ports.ssh),
    publicAddrs: section?.public_addr ?? [],
    labels,
    commands: commands.map(withPossiblePeriod),
    permitUserEnv: flags.permitUserEnv ?? section?.permit_user_env ?? false,
  };
}

function commandsOf(section: ConfigFile["ssh_service"]): LabelCommand[] {
  return (section?.commands ?? []).map(({ name, command, period }) => ({
    name,
    command,
    periodMs: period ?? defaultPeriodMs,
  }));
}

function labelsFlag(text: string): ReturnType<typeof parseLabelsFlag> {
  const read = parseLabelsFlag(text);
  for (const key of [...Object.keys(read.labels), ...read.commands.map(({ name }) => name)]) {
    assertLabelKey(key);
  }
  return read;
}

function withPossiblePeriod(command: LabelCommand): LabelCommand {
  if (command.periodMs >= minPeriodMs) return command;
  log("config").warn("The period of a label's command is raised to 1s", { label: command.name });
  return { ...command, periodMs: minPeriodMs };
}

/** Which services run: those of `--roles`, else those that the file does not switch off. */
function enabledRoles(
  file: ConfigFile,
  roles: string | undefined,
): { auth: boolean; proxy: boolean; node: boolean } {
  if (roles === undefined) {
    const enabled = {
      auth: file.auth_service?.enabled ?? true,
      proxy: file.proxy_service?.enabled ?? true,
      node: file.ssh_service?.enabled ?? true,
    };
    if (!Object.values(enabled).includes(true)) {
      throw new BadParameter(
        "No service is enabled: enable auth_service, proxy_service or ssh_service",
      );
    }
    return enabled;
  }
  const wanted = roles.split(",").map((role) => role.trim().toLowerCase());
  for (const role of wanted) {
    if (!["auth", "proxy", "node"].includes(role)) {
      throw new BadParameter(
        `--roles: ${JSON.stringify(role.slice(0, 40))} is no role; use auth, proxy and node`,
      );
    }
  }
  return {
    auth: wanted.includes("auth"),
    proxy: wanted.includes("proxy"),
    node: wanted.includes("node"),
  };
}

function listenAddr(configured: string | undefined, ip: string | undefined, port: number): string {
  const addr = parseListenAddr(configured ?? `0.0.0.0:${port}`, port);
  return formatAddr({ host: ip ?? addr.host, port: addr.port });
}

function logOutput(output: string | undefined): string {
  if (output === undefined || output === "stderr" || output === "stdout") return output ?? "stderr";
  return resolve(output);
}

/** The machine's name, as far as it can stand in a certificate. */
function defaultNodename(): string {
  const name = hostname().replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return name === "" ? "localhost" : name.slice(0, 253);
}

/** The machine's name, which the cluster keeps as its own from its first start on. */
function defaultClusterName(): string {
  const name = defaultNodename().toLowerCase().replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return isHostName(name) && !isIpAddress(name) ? name : "teleport";
}

function assertIp(text: string): void {
  if (!isIpAddress(text)) throw new BadParameter(`${JSON.stringify(text)} is not an IP address`);
}

function flag(
  name: string,
  value: string | undefined,
  check: (value: string) => void,
): string | undefined {
  if (value === undefined) return undefined;
  named(name, () => check(value));
  return value;
}

/** Says in an error which flag it is about. */
function named<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    throw new BadParameter(`${name}: ${messageOf(e)}`, { cause: e });
  }
}
