/** Flags of ssh that this version knows and does not have. Giving one is an error, never ignored. */
import type { OptionSpec } from "../../lib/cli/flags.ts";

export const refusedSshFlags: readonly OptionSpec[] = [
  { flags: "-A, --forward-agent", description: "", refused: "agent forwarding" },
  { flags: "-L, --forward <address>", description: "", refused: "port forwarding" },
  { flags: "-R, --remote-forward <address>", description: "", refused: "port forwarding" },
  { flags: "-D, --dynamic-forward <address>", description: "", refused: "port forwarding" },
  { flags: "-N, --no-remote-exec", description: "", refused: "a connection without a command" },
  { flags: "-X, --x11-untrusted", description: "", refused: "X11 forwarding" },
  { flags: "-Y, --x11-trusted", description: "", refused: "X11 forwarding" },
  { flags: "--local", description: "", refused: "running the command on this computer" },
];
