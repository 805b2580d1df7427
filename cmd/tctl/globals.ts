import type { OptionSpec } from "../../lib/cli/flags.ts";

/** Options of every verb. */
export const globals: readonly OptionSpec[] = [
  { flags: "-d, --debug", description: "show where an error came from" },
  {
    flags: "-c, --config <file>",
    description: "configuration file of the daemon (default: /etc/teleport.yaml)",
  },
  {
    flags: "--config-string <base64>",
    description: "the configuration itself, in base64",
    env: "TELEPORT_CONFIG",
    hidden: true,
  },
  {
    flags: "--auth-server <host:port>",
    description: "auth server to talk to (default: the one of this host)",
    repeatable: true,
  },
  {
    flags: "-i, --identity <file>",
    description: "identity to use in place of this host's administrator",
  },
  {
    flags: "--insecure",
    description: "do not check the auth server's certificate (never outside of a test)",
  },
];
