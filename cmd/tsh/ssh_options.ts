/** `-o Key=value`, as ssh has it. */
import { UsageError } from "../../lib/cli/exit.ts";

export interface SshOptions {
  requestTty?: "yes" | "no" | "force" | "auto";
  strictHostKeyChecking?: "yes" | "no" | "ask";
  /** Whether the ssh-agent gets the certificate when a login is due. */
  addKeysToAgent?: boolean;
  user?: string;
  port?: number;
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
    apply(parsed, key, value.replace(/^"(.*)"$/, "$1"), warn);
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
      if (oneOf(key, value, ["yes", "no"]) === "no") return;
      throw new UsageError(
        "-o ForwardAgent=yes (agent forwarding) is not supported by this version: " +
          "run the command without it",
      );
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
