/** Options that every verb of tsh takes. */
import type { OptionSpec } from "../../lib/cli/flags.ts";

export const globals: readonly OptionSpec[] = [
  {
    flags: "--proxy <address>",
    description: "the proxy: host, host:3080 or host:3080,3023",
    env: "TELEPORT_PROXY",
  },
  {
    flags: "-J, --jumphost <host>",
    description: "go through this proxy, [login@]host[:port], instead of where you logged in",
  },
  { flags: "--user <name>", description: "your name in Teleport", env: "TELEPORT_USER" },
  { flags: "-l, --login <name>", description: "your login on the node", env: "TELEPORT_LOGIN" },
  {
    flags: "-i, --identity <file>",
    description: "be who this file says, instead of who is logged in",
  },
  {
    flags: "--ttl <minutes>",
    description: "how long a new certificate is good for; the cluster may give less",
  },
  {
    flags: "--ca-pin <sha256:…>",
    description: "trust the proxy only with this CA, as `tctl status` shows it",
    env: "TELEPORT_CA_PIN",
  },
  { flags: "--insecure", description: "do not check the proxy's certificate (dangerous)" },
  {
    flags: "--use-local-ssh-agent",
    description: "put the certificate into the running ssh-agent",
    env: "TELEPORT_USE_LOCAL_SSH_AGENT",
    default: "true",
    hidden: true,
  },
  { flags: "--no-use-local-ssh-agent", description: "leave the running ssh-agent alone" },
  {
    flags: "--enable-escape-sequences",
    description: "~. and others in a shell: ~? lists them",
    default: "true",
    hidden: true,
  },
  { flags: "--no-enable-escape-sequences", description: "send ~., ~? and so on to the node" },
  {
    flags: "--cluster <name>",
    description: "the cluster to use; so far only the one you logged in to",
    env: "TELEPORT_CLUSTER",
  },
  { flags: "-d, --debug", description: "show where an error came from", env: "TELEPORT_DEBUG" },
  { flags: "--auth <connector>", description: "", refused: "single sign-on", env: "TELEPORT_AUTH" },
  {
    flags: "--bind-addr <address>",
    description: "",
    refused: "single sign-on",
  },
  {
    flags: "--cert-format <format>",
    description: "accepted for compatibility; the role decides (cert_format)",
    choices: ["standard"],
    hidden: true,
  },
  { flags: "--skip-version-check", description: "accepted for compatibility", hidden: true },
];
