import { BadParameter, ConnectionProblem, messageOf } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import { transportStatusOf, UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say, warn } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { outputStream, stdinStream, StdinTerminal } from "../../lib/cli/terminal.ts";
import { runSession, type SessionEnd, statusOf } from "../../lib/client/node_session.ts";
import type { NodeTarget } from "../../lib/client/node_connection.ts";
import { parseTarget } from "../../lib/client/target.ts";
import type { SshClient } from "../../lib/ssh/client.ts";
import { connectCluster } from "./credentials.ts";
import { forwardFlags, wantedForwarding } from "./forward_flags.ts";
import type { Forwarding } from "./forwarding.ts";
import { loginFor, matchingNodes, type NodeAccess, openNode, portFor } from "./node_access.ts";
import { parseSshOptions } from "./ssh_options.ts";

export const command: CommandSpec = {
  name: "ssh",
  summary: "open a shell on a node, or run a command on one or many",
  usage: "[user@]host|label=value [command...]",
  arguments: [
    { name: "<target>", about: "a node's name, address or UUID, or labels: env=prod,os=linux" },
    { name: "[command...]", about: "what to run there; a shell when nothing is given" },
  ],
  options: [
    { flags: "-p, --port <port>", description: "the SSH port there (default: the node's own)" },
    { flags: "-t, --tty", description: "a terminal also for a command" },
    { flags: "-T, --no-tty", description: "no terminal, not even for a shell" },
    { flags: "-q, --quiet", description: "nothing but errors from tsh itself" },
    { flags: "-n, --stdin-null", description: "the command gets no input" },
    {
      flags: "-o, --option <Key=value>",
      description: "an option as in ssh_config",
      repeatable: true,
    },
    ...forwardFlags,
  ],
  notes:
    "With labels a command runs on all nodes that match, side by side; each line of output has\n" +
    "the node's name in front. Options of the command itself come after it, as with ssh.\n" +
    "The exit status is that of the command; 128+n when signal n killed it; 255 when the\n" +
    "connection failed or the node refused; with several nodes the greatest of all.\n\n" +
    "Ports are listened on at loopback unless a bind address is given (* for all). Port 0 takes\n" +
    "any free one and says which. IPv6 addresses stand in brackets: -L 8080:[::1]:80.\n" +
    "In a shell, ~? at the beginning of a line shows what can be typed besides.",
  examples: [
    ["tsh ssh root@db-1", "a shell"],
    ["tsh ssh root@db-1 systemctl status nginx", "a command"],
    ["tsh ssh root@env=prod,os=linux uptime", "a command on all nodes with these labels"],
    ["tar c site | tsh ssh root@web-1 tar x -C /srv", "with input"],
    ["tsh ssh -t root@db-1 top", "a command that needs a terminal"],
    ["tsh ssh -N -L 5432:localhost:5432 root@db-1", "its database at this computer's port 5432"],
    ["tsh ssh -N -D 1080 root@db-1", "a SOCKS proxy into its network"],
    ["tsh ssh -R 0:localhost:3000 root@web-1", "the web server of this computer, there"],
    [
      "tsh ssh --local -L 5432:localhost:5432 root@db-1 psql -h localhost",
      "a program here, for as long as it runs",
    ],
    ["tsh ssh -A root@web-1 git pull", "with the keys of the ssh-agent here"],
  ],
  runsCommand: true,
  statusOf: transportStatusOf,
  async run([target = "", ...words], flags) {
    const quiet = flags.on("quiet");
    const options = parseSshOptions(flags.list("option"), quiet ? () => {} : warn);
    const mode = flags.off("remote-exec") ? "forward" : flags.on("local") ? "local" : "session";
    const parsed = parseTarget(target);
    const login = loginFor(parsed.login, flags, options);
    const port = portFor(flags, "port", options);
    if (mode === "forward" && words.length > 0) {
      throw new UsageError("-N runs nothing on the node: leave the command out, or -N");
    }
    const terminal = new StdinTerminal();
    const run: Run = { mode, words, flags, terminal };
    const wanted = wantedForwarding(flags, options);
    if (wanted) {
      const { Forwarding } = await import("./forwarding.ts");
      run.forwarding = await Forwarding.prepare(wanted, {
        hasSession: mode === "session",
        notify: quiet ? () => {} : (text) => say(terminal.isRaw ? inRaw(text) : text),
      });
    }
    using _forwarding = run.forwarding;
    const { cluster, credentials } = await connectCluster(flags, options.addKeysToAgent);
    using _cluster = cluster;
    const access: NodeAccess = { cluster, credentials, quiet, options };
    if (parsed.labels === undefined) {
      return await runOnOne(access, { host: parsed.host, port, login }, run);
    }
    const nodes = await matchingNodes(access, parsed.labels);
    const targets = nodes.map(({ name, id }) => ({ host: id, port, login, name }));
    const [first] = targets;
    if (targets.length > 1 && (run.forwarding?.needsOneNode || mode !== "session")) {
      throw tooMany(targets);
    }
    if (first === undefined || targets.length === 1 || words.length === 0) {
      if (targets.length > 1 && !quiet) {
        warn(`Multiple nodes matched label selector, connecting to ${first?.name}.`);
      }
      return await runOnOne(access, first!, run);
    }
    if (!quiet) warn("Multiple nodes matched label selector, running command on all.");
    return await runOnMany(access, targets, commandLineOf(words)!, run.forwarding);
  },
};

/** What is to be done on a node. */
interface Run {
  mode: "session" | "forward" | "local";
  words: readonly string[];
  flags: Flags;
  terminal: StdinTerminal;
  forwarding?: Forwarding;
}

/** The remote shell reads one line, as from ssh: words are joined by spaces, quotes are its own. */
function commandLineOf(words: readonly string[]): string | undefined {
  return words.length === 0 ? undefined : words.join(" ");
}

/** A line for a terminal whose line feeds do not go back to the left. */
function inRaw(text: string): string {
  return `\r${text.replaceAll("\n", "\r\n")}\r`;
}

function tooMany(targets: readonly { name: string }[]): BadParameter {
  const names = targets.slice(0, 5).map(({ name }) => printable(name)).join(", ");
  const more = targets.length > 5 ? ", …" : "";
  return new BadParameter(
    `The labels match ${targets.length} nodes (${names}${more}), and forwarding needs one: name ` +
      "the node, or give labels that only it has",
  );
}

async function runOnOne(access: NodeAccess, target: NodeTarget, run: Run): Promise<number> {
  const { mode, words, forwarding } = run;
  const client = await openNode(access, target, forwarding?.handlers);
  const start = async () => await forwarding?.start(client, mode === "forward");
  if (mode === "session") {
    await start();
    return await runHere(access, client, target, run);
  }
  const { runLocally, stayConnected } = await import("./without_session.ts");
  if (mode === "forward") return await stayConnected(client, target.name ?? target.host, start);
  await start();
  return await runLocally(words, client, access.quiet ? () => {} : warn);
}

async function runHere(
  access: NodeAccess,
  client: SshClient,
  target: NodeTarget,
  { words, flags, forwarding, ...run }: Run,
): Promise<number> {
  const command = commandLineOf(words);
  const terminal = wantsTerminal(access, command, flags) ? run.terminal : undefined;
  const { setEnv } = access.options;
  const exit = await runSession(client, {
    ...(command === undefined ? {} : { command }),
    ...(terminal ? { terminal } : {}),
    ...(setEnv ? { env: setEnv } : {}),
    ...forwarding?.session,
    escapes: flags.on("enable-escape-sequences"),
    listForwarded: () => forwarding?.list() ?? [],
    onRefused: (what) => forwarding?.refused(what),
    stdin: flags.on("stdin-null") ? undefined : stdinStream(),
    stdout: outputStream(Deno.stdout),
    stderr: outputStream(Deno.stderr),
  });
  if ("lost" in exit) throw await lost(client, target, command, terminal !== undefined);
  if (!access.quiet) sayGoodbye(exit, target, command, terminal !== undefined);
  if ("code" in exit || "signal" in exit) await forwarding?.finish(client.closed);
  return statusOf(exit);
}

/** With the reason, when the whole connection has gone. */
async function lost(
  client: SshClient,
  target: NodeTarget,
  command: string | undefined,
  hadTerminal: boolean,
): Promise<ConnectionProblem> {
  const cause = client.isClosed ? await client.closed : undefined;
  return new ConnectionProblem(
    `The connection to ${target.name ?? target.host} was lost before the ` +
      `${command === undefined ? "shell" : "command"} ended` +
      (cause ? `: ${messageOf(cause)}` : "") +
      (hadTerminal ? "; a node that is well keeps it for 20 s: `tsh sessions ls`, `tsh join`" : ""),
    { cause },
  );
}

function sayGoodbye(
  exit: SessionEnd,
  target: NodeTarget,
  command: string | undefined,
  hasTerminal: boolean,
): void {
  if ("disconnected" in exit) {
    say(`Connection to ${target.name ?? target.host} closed.`);
  } else if ("signal" in exit) {
    say(`The remote side was killed by SIG${exit.signal}${exit.core ? " (core dumped)" : ""}`);
  } else if (command === undefined && hasTerminal) {
    say(`the connection was closed on the remote side on  ${rfc822(new Date())}`);
  }
}

async function runOnMany(
  access: NodeAccess,
  targets: (NodeTarget & { name: string })[],
  command: string,
  forwarding: Forwarding | undefined,
): Promise<number> {
  const { combinedStatus, runOnAll } = await import("../../lib/client/multi.ts");
  const results = await runOnAll({
    nodes: uniqueNames(targets).map(([name, target]) => ({
      name,
      connect: () => openNode(access, target, forwarding?.handlers),
    })),
    ...forwarding?.session,
    command,
    env: access.options.setEnv,
    stdout: outputStream(Deno.stdout),
    stderr: outputStream(Deno.stderr),
    statusOfError: transportStatusOf,
  });
  const failed = results.filter((result) => result.status !== 0);
  if (failed.length > 0) {
    say(`error: the command failed on ${failed.length} of ${results.length} nodes:`);
    for (const { name, reason } of failed) say(`  ${name}: ${printable(reason ?? "")}`);
  }
  return combinedStatus(results);
}

/** Nodes of one name are told apart by their ids. */
function uniqueNames<T extends { name: string; host: string }>(targets: T[]): [string, T][] {
  return targets.map((target) => {
    const name = printable(target.name);
    const alone = targets.filter((other) => other.name === target.name).length === 1;
    return [alone ? name : `${name} ${target.host}`, target];
  });
}

/** A shell gets one where there is one here; a command only when asked for, as with ssh. */
function wantsTerminal(access: NodeAccess, command: string | undefined, flags: Flags): boolean {
  const here = Deno.stdin.isTerminal();
  const { requestTty } = access.options;
  if (flags.off("tty") || requestTty === "no") return false;
  const asked = flags.on("tty") || requestTty === "yes" || requestTty === "force";
  if (asked && !here && requestTty !== "force") {
    if (!access.quiet) {
      warn("Pseudo-terminal will not be allocated because stdin is not a terminal.");
    }
    return false;
  }
  if (asked) return true;
  return here && command === undefined;
}

/** "02 Jan 06 15:04 MST", as Go prints RFC 822. */
function rfc822(date: Date): string {
  const part = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat("en-GB", options).format(date);
  const zone = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" }).formatToParts(date)
    .find((piece) => piece.type === "timeZoneName")?.value ?? "UTC";
  const day = part({ day: "2-digit" });
  const month = part({ month: "short" }).slice(0, 3);
  return `${day} ${month} ${part({ year: "2-digit" })} ` +
    `${part({ hour: "2-digit", minute: "2-digit", hour12: false })} ${zone}`;
}
