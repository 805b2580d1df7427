/** `-o Key=value`, as ssh has it. */
import { parseDuration } from "../../lib/base/duration.ts";
import { UsageError } from "../../lib/cli/exit.ts";

export interface SshOptions {
  requestTty?: "yes" | "no" | "force" | "auto";
  strictHostKeyChecking?: "yes" | "no" | "ask";
  /** Whether the ssh-agent gets the certificate when a login is due. */
  addKeysToAgent?: boolean;
  user?: string;
  port?: number;
  forwardAgent?: boolean;
  /** As -L, -R and -D have them. */
  localForward?: string[];
  remoteForward?: string[];
  dynamicForward?: string[];
  exitOnForwardFailure?: boolean;
  forwardX11?: boolean;
  forwardX11Trusted?: boolean;
  forwardX11TimeoutMs?: number;
  /** 0 for never. */
  serverAliveIntervalMs?: number;
  serverAliveCountMax?: number;
  setEnv?: Record<string, string>;
}

/**
 * Options with an effect are understood, other options of ssh are accepted with a warning, words
 * that are no option of ssh are refused.
 * @throws UsageError
 */
export function parseSshOptions(
  options: readonly string[],
  warn: (text: string) => void,
): SshOptions {
  const parsed: SshOptions = {};
  for (const option of options) {
    const [, key = "", value = ""] = /^\s*([A-Za-z0-9]+)\s*(?:=|\s)\s*(.*?)\s*$/.exec(option) ?? [];
    if (key === "") {
      throw new UsageError(`-o ${JSON.stringify(option)} is not of the form Key=value`);
    }
    // Where several words are possible, each has its own quotes.
    const isList = key.toLowerCase() === "setenv";
    apply(parsed, key, isList ? value : value.replace(/^"(.*)"$/, "$1"), warn);
  }
  return parsed;
}

function apply(
  parsed: SshOptions,
  key: string,
  value: string,
  warn: (text: string) => void,
): void {
  switch (key.toLowerCase()) {
    case "requesttty":
      parsed.requestTty = oneOf(key, value, ["yes", "no", "force", "auto"]);
      return;
    case "stricthostkeychecking": {
      const checking = oneOf(key, value, ["yes", "no", "ask", "off", "accept-new"]);
      parsed.strictHostKeyChecking = checking === "off"
        ? "no"
        : checking === "accept-new"
        ? "ask"
        : checking;
      return;
    }
    case "addkeystoagent":
      parsed.addKeysToAgent = oneOf(key, value, ["yes", "no", "ask", "confirm"]) === "yes";
      return;
    case "user":
      parsed.user = value;
      return;
    case "port":
      parsed.port = portOf(value);
      return;
    case "forwardagent":
      parsed.forwardAgent = isYes(key, value);
      return;
    case "localforward":
      (parsed.localForward ??= []).push(forwardOf(value));
      return;
    case "remoteforward":
      (parsed.remoteForward ??= []).push(forwardOf(value));
      return;
    case "dynamicforward":
      (parsed.dynamicForward ??= []).push(value);
      return;
    case "exitonforwardfailure":
      parsed.exitOnForwardFailure = isYes(key, value);
      return;
    case "forwardx11":
      parsed.forwardX11 = isYes(key, value);
      return;
    case "forwardx11trusted":
      parsed.forwardX11Trusted = isYes(key, value);
      return;
    case "forwardx11timeout":
      parsed.forwardX11TimeoutMs = timeOf(key, value);
      return;
    case "serveraliveinterval":
      parsed.serverAliveIntervalMs = timeOf(key, value);
      return;
    case "serveralivecountmax":
      if (!/^[1-9]\d{0,3}$/.test(value)) {
        throw new UsageError(`-o ${key}=${value}: the value is not a whole number from 1 to 9999`);
      }
      parsed.serverAliveCountMax = Number(value);
      return;
    case "setenv":
      parsed.setEnv = { ...parsed.setEnv, ...assignmentsOf(key, value) };
      return;
  }
  if (!sshOptionNames.has(key.toLowerCase())) {
    throw new UsageError(`-o ${key} is not an option of ssh; see ssh_config(5)`);
  }
  warn(`Option '${key}' is not supported.`);
}

function oneOf<T extends string>(key: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value.toLowerCase());
  if (found === undefined) {
    throw new UsageError(`-o ${key}=${value}: the value is not one of ${allowed.join(", ")}`);
  }
  return found;
}

function portOf(value: string): number {
  const port = Number(value);
  if (/^\d+$/.test(value) && port >= 1 && port <= 65_535) return port;
  throw new UsageError(`-o Port=${value}: the value is not a port`);
}

function isYes(key: string, value: string): boolean {
  return oneOf(key, value, ["yes", "no"]) === "yes";
}

/** ssh_config writes the two ends of a forward as two words. */
function forwardOf(value: string): string {
  return value.trim().replace(/\s+/g, ":");
}

/** Seconds, or "1m30s". The longest is a day: more is as good as never. */
function timeOf(key: string, value: string): number {
  try {
    const ms = /^\d{1,6}$/.test(value) ? Number(value) * 1000 : parseDuration(value);
    if (ms <= 86_400_000) return ms;
  } catch {
    // Said below.
  }
  throw new UsageError(`-o ${key}=${value}: the value is not a time up to a day, like 30 or 1m30s`);
}

/** `A=1 B="two words"`. */
function assignmentsOf(key: string, value: string): Record<string, string> {
  const found: Record<string, string> = {};
  const part = /\s*(?:"([A-Za-z_]\w*)=([^"]*)"|([A-Za-z_]\w*)=(?:"([^"]*)"|([^\s"]*)))(?:\s+|$)/y;
  while (part.lastIndex < value.length || value === "") {
    const match = part.exec(value);
    if (!match) throw new UsageError(`-o ${key}=${value}: write it like ${key}=NAME=value`);
    found[(match[1] ?? match[3])!] = match[2] ?? match[4] ?? match[5] ?? "";
  }
  return found;
}

/** ssh_config(5) of OpenSSH 9, in lower case. */
const sshOptionNames = new Set(
  `addkeystoagent addressfamily batchmode bindaddress bindinterface canonicaldomains
  canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots canonicalizepermittedcnames
  casignaturealgorithms certificatefile challengeresponseauthentication channeltimeout checkhostip
  cipher ciphers clearallforwardings compression compressionlevel connectionattempts connecttimeout
  controlmaster controlpath controlpersist dynamicforward enableescapecommandline enablesshkeysign
  escapechar exitonforwardfailure fingerprinthash forkafterauthentication forwardagent forwardx11
  forwardx11timeout forwardx11trusted gatewayports globalknownhostsfile gssapiauthentication
  gssapidelegatecredentials hashknownhosts host hostbasedacceptedalgorithms hostbasedauthentication
  hostbasedkeytypes hostkeyalgorithms hostkeyalias hostname identitiesonly identityagent identityfile
  ignoreunknown include ipqos kbdinteractiveauthentication kbdinteractivedevices kexalgorithms
  knownhostscommand localcommand localforward loglevel logverbose macs match
  nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming
  passwordauthentication permitlocalcommand permitremoteopen pkcs11provider port
  preferredauthentications protocol proxycommand proxyjump proxyusefdpass pubkeyacceptedalgorithms
  pubkeyacceptedkeytypes pubkeyauthentication rekeylimit remotecommand remoteforward requesttty
  requiredrsasize revokedhostkeys rhostsrsaauthentication rsaauthentication securitykeyprovider
  sendenv serveralivecountmax serveraliveinterval sessiontype setenv smartcarddevice stdinnull
  streamlocalbindmask streamlocalbindunlink stricthostkeychecking syslogfacility tag tcpkeepalive
  tunnel tunneldevice updatehostkeys useprivilegedport user userknownhostsfile verifyhostkeydns
  versionaddendum visualhostkey xauthlocation`.split(/\s+/),
);
