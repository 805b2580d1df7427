/** Agent forwarding (`-A`): programs on the node use the ssh-agent of this computer. */
import type { Duplex } from "node:stream";
import { BadParameter, ConnectionProblem, messageOf } from "../../base/errors.ts";
import { connStream } from "../../ssh/stream.ts";

/**
 * The agent's socket, when somebody listens there.
 * @throws BadParameter, ConnectionProblem
 */
export async function findAgent(path: string | undefined): Promise<string> {
  if (!path) {
    throw new BadParameter(
      'SSH_AUTH_SOCK is not set: there is no agent to forward; start one with eval "$(ssh-agent)"',
    );
  }
  (await dialAgent(path)).destroy();
  return path;
}

/** One connection with it. Its protocol is between the two ends. @throws ConnectionProblem */
export async function dialAgent(path: string): Promise<Duplex> {
  try {
    return connStream(await Deno.connect({ transport: "unix", path }));
  } catch (cause) {
    throw new ConnectionProblem(
      `the ssh-agent at ${path} (SSH_AUTH_SOCK) cannot be reached: ${messageOf(cause)}`,
      { cause },
    );
  }
}
