import { utf8Encode } from "../../lib/base/bytes.ts";
import { ConnectionProblem } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import { GIVEN_BACK, overLastLine } from "../../lib/base/vt.ts";
import { transportStatusOf, UsageError } from "../../lib/cli/exit.ts";
import { outBytes, say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { outputStream, stdinStream, StdinTerminal } from "../../lib/cli/terminal.ts";
import { chooseMode, findSession, resizeOf, sizeNotice } from "../../lib/client/join.ts";
import { runSession, statusOf } from "../../lib/client/node_session.ts";
import { connectCluster } from "./credentials.ts";
import { agentFlag } from "./forward_flags.ts";
import { listSessions } from "./list_sessions.ts";
import { agentForwarding, type NodeAccess, openNode } from "./node_access.ts";

/** After joining, until a word about the terminal's size is shown, in milliseconds. */
const NOTICE_MS = 1_000;

export const command: CommandSpec = {
  name: "join",
  summary: "join somebody's shell session",
  arguments: [
    { name: "<session>", about: "its id as `tsh sessions ls` shows it; the beginning is enough" },
  ],
  options: [
    {
      flags: "--mode <mode>",
      description: "peer, observer or moderator (default: the first of these that you may)",
    },
    agentFlag,
  ],
  notes:
    "A peer types like the session's owner. An observer watches and leaves with Ctrl-C; so does a\n" +
    "moderator, who can end the session for everybody with the key t. ~. at the beginning of a\n" +
    "line leaves at once. Everybody in the session sees who comes and goes.\n" +
    "The exit status is that of the session when it ends; 0 when you leave; 255 when the connection\n" +
    "failed, the node refused, or somebody ended the session.",
  examples: [
    ["tsh sessions ls", "the sessions that you may join"],
    ["tsh join 3f1c", "the one whose id begins so"],
    ["tsh join --mode=observer 3f1c", "watch only"],
  ],
  statusOf: transportStatusOf,
  async run([text = ""], flags) {
    if (!Deno.stdin.isTerminal()) {
      throw new UsageError("a session is joined from a terminal, and stdin is none");
    }
    const { cluster, credentials } = await connectCluster(flags);
    using _cluster = cluster;
    const session = findSession(await listSessions(cluster), text, "tsh");
    const mode = chooseMode(session, flags.text("mode"));
    const { sid, login, server_id, server_hostname } = session;
    const terminal = new StdinTerminal();
    /** Over the last line: what the session draws is not ours to move. */
    const show = (notice: string | undefined) => {
      if (notice === undefined || !terminal.isRaw) return;
      outBytes(utf8Encode(overLastLine(notice.slice(0, terminal.size().cols - 1))));
    };
    const access: NodeAccess = { cluster, credentials, quiet: false, options: {} };
    const name = printable(server_hostname);
    const forwarding = await agentForwarding(flags);
    const client = await openNode(access, { host: server_id, port: 0, login, name }, {
      ...forwarding?.handlers,
      onGlobalRequest(name, payload) {
        const size = resizeOf(name, payload);
        if (size) show(sizeNotice(size, terminal.size()));
      },
    });
    // Not at once: the picture of the session wipes what was there before.
    const timer = setTimeout(() => show(sizeNotice(session, terminal.size())), NOTICE_MS);
    using _timer = { [Symbol.dispose]: () => clearTimeout(timer) };
    const end = await runSession(client, {
      terminal,
      env: { TELEPORT_SESSION: sid, TELEPORT_SESSION_JOIN_MODE: mode },
      ...forwarding?.session,
      escapes: flags.on("enable-escape-sequences"),
      stdin: stdinStream(),
      stdout: outputStream(Deno.stdout),
      stderr: outputStream(Deno.stderr),
    });
    if ("lost" in end || "disconnected" in end) outBytes(utf8Encode(GIVEN_BACK));
    if ("lost" in end) {
      throw new ConnectionProblem(`The connection to ${name} was lost; the session may go on`);
    }
    if ("disconnected" in end) {
      say("You have left the session.");
      return 0;
    }
    return statusOf(end);
  },
};
