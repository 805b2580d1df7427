/** The flags of `tsh ssh` that forward something, and whether any of them was given. */
import type { Flags, OptionSpec } from "../../lib/cli/flags.ts";
import type { SshOptions } from "./ssh_options.ts";

export const agentFlag: OptionSpec = {
  flags: "-A, --forward-agent",
  description: "let the session use the ssh-agent here; a proxy that records needs it",
};

export const forwardFlags: readonly OptionSpec[] = [
  {
    flags: "-L, --forward <[bind:]port:host:hostport>",
    description: "forward a port here to a host that the node reaches",
    repeatable: true,
  },
  {
    flags: "-R, --remote-forward <[bind:]port:host:hostport>",
    description: "forward a port of the node to a host that this computer reaches",
    repeatable: true,
  },
  {
    flags: "-D, --dynamic-forward <[bind:]port>",
    description: "a SOCKS proxy here, 4, 4a and 5, that connects from the node",
    repeatable: true,
  },
  { flags: "-N, --no-remote-exec", description: "run nothing, only forward, until Ctrl-C" },
  { flags: "--local", description: "run the command here instead, while the ports are forwarded" },
  agentFlag,
  { flags: "-X, --x11-untrusted", description: "show X11 programs here, with limited rights" },
  { flags: "-Y, --x11-trusted", description: "show X11 programs here, trusted with the display" },
];

/** What is to be forwarded, as it was typed. */
export interface WantedForwarding {
  local: readonly string[];
  remote: readonly string[];
  dynamic: readonly string[];
  exitOnFailure: boolean;
  agent: boolean;
  x11: { trusted: boolean; timeoutMs: number } | undefined;
}

/** ForwardX11Timeout, unless it is given. */
const x11TimeoutMs = 20 * 60_000;

/** -A of commands that forward nothing else. */
export function wantedAgent(flags: Flags): WantedForwarding | undefined {
  if (!flags.on("forward-agent")) return undefined;
  return { local: [], remote: [], dynamic: [], exitOnFailure: false, agent: true, x11: undefined };
}

/** undefined when nothing is: then the code that forwards need not be loaded. */
export function wantedForwarding(flags: Flags, options: SshOptions): WantedForwarding | undefined {
  const trusted = flags.on("x11-trusted");
  const wanted = {
    local: [...flags.list("forward"), ...options.localForward ?? []],
    remote: [...flags.list("remote-forward"), ...options.remoteForward ?? []],
    dynamic: [...flags.list("dynamic-forward"), ...options.dynamicForward ?? []],
    exitOnFailure: options.exitOnForwardFailure ?? false,
    agent: flags.on("forward-agent") || (options.forwardAgent ?? false),
    x11: trusted || flags.on("x11-untrusted") || options.forwardX11
      ? {
        trusted: trusted || (options.forwardX11Trusted ?? false),
        timeoutMs: options.forwardX11TimeoutMs ?? x11TimeoutMs,
      }
      : undefined,
  };
  const ports = wanted.local.length + wanted.remote.length + wanted.dynamic.length;
  return ports > 0 || wanted.agent || wanted.x11 ? wanted : undefined;
}
