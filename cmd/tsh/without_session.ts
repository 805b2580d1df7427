/** `tsh ssh` without a session on the node: `-N`, and `--local`. Loaded when one of them is given. */
import { ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { exitStatus } from "../../lib/cli/exit.ts";
import { say } from "../../lib/cli/output.ts";
import type { SshClient } from "../../lib/ssh/client.ts";

/**
 * Stays until Ctrl-C or another signal, which gives ssh's status for it.
 * @param start what is done first; once it tells the person anything, signals end it in good order
 * @throws ConnectionProblem when the connection ends first
 */
export async function stayConnected(
  client: SshClient,
  node: string,
  start: () => Promise<void>,
): Promise<number> {
  const interrupted = Promise.withResolvers<"interrupted">();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onSignal = () => interrupted.resolve("interrupted");
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
  try {
    await start();
    const end = await Promise.race([interrupted.promise, client.closed]);
    if (end === "interrupted") return exitStatus.transport;
    throw new ConnectionProblem(
      end
        ? `The connection to ${node} was lost: ${messageOf(end)}`
        : `The connection to ${node} was closed by the node`,
    );
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, onSignal);
  }
}

/** In the words and with the statuses of a shell. */
const commandProblems = [
  [Deno.errors.NotFound, "command not found", 127],
  [Deno.errors.PermissionDenied, "permission denied", 126],
] as const;

/**
 * Runs a command of this computer, a shell unless one is given, and goes on when the connection is
 * lost: what the command makes of that is its own. Resolves with its exit status.
 */
export async function runLocally(
  words: readonly string[],
  client: SshClient,
  warn: (text: string) => void,
): Promise<number> {
  let hasEnded = false;
  void client.closed.then((reason) => {
    if (hasEnded) return;
    warn(`The connection is lost${reason ? `: ${messageOf(reason)}` : ""}; nothing is forwarded`);
  });
  const [program = Deno.env.get("SHELL") || "/bin/sh", ...args] = words;
  // Ctrl-C is for the command, which has the terminal; this program ends with it.
  const ignore = () => {};
  const signals = ["SIGINT", "SIGQUIT"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, ignore);
  try {
    const command = new Deno.Command(program, {
      args,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    });
    // 128 + n after signal n.
    return (await command.spawn().status).code;
  } catch (e) {
    const why = commandProblems.find(([type]) => e instanceof type);
    if (!why) throw e;
    say(`error: ${program}: ${why[1]}`);
    return why[2];
  } finally {
    hasEnded = true;
    for (const signal of signals) Deno.removeSignalListener(signal, ignore);
  }
}
