import { printable } from "../../lib/base/text.ts";
import { Exit, exitStatus } from "../../lib/cli/exit.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData, say } from "../../lib/cli/output.ts";

/** The session that a shell runs in, from the environment the node gave it. */
interface SessionStatus {
  user: string;
  login: string;
  /** "client address, client port, server port", as sshd writes SSH_CLIENT. */
  client: string;
  cluster: string;
  host_id: string;
  session_id: string;
  session_url: string;
}

/** Undefined outside of a session. */
export function sessionStatus(
  env: (name: string) => string | undefined,
): SessionStatus | undefined {
  const get = (name: string) => printable(env(name) ?? "");
  const user = get("SSH_TELEPORT_USER");
  const sessionId = get("SSH_SESSION_ID");
  if (user === "" || sessionId === "") return undefined;
  const login = get("USER");
  const cluster = get("SSH_TELEPORT_CLUSTER_NAME");
  const hostId = get("SSH_TELEPORT_HOST_UUID");
  const proxy = get("SSH_SESSION_WEBPROXY_ADDR") || "<proxyhost>:3080";
  return {
    user,
    login,
    client: get("SSH_CLIENT"),
    cluster,
    host_id: hostId,
    session_id: sessionId,
    session_url: `https://${proxy}/web/cluster/${cluster}/node/${hostId}/${login}/${sessionId}`,
  };
}

export const command: CommandSpec = {
  name: "status",
  summary: "show which session this shell is in",
  options: [formatOption],
  run(_args, flags) {
    const status = sessionStatus((name) => Deno.env.get(name));
    if (!status) {
      say("You are not inside of a Teleport SSH session");
      throw new Exit(exitStatus.error);
    }
    printData(flags.format(), status, () =>
      [
        `User ID     : ${status.user}, logged in as ${status.login} from ${status.client}`,
        `Cluster Name: ${status.cluster}`,
        `Host UUID   : ${status.host_id}`,
        `Session ID  : ${status.session_id}`,
        `Session URL : ${status.session_url}`,
      ].join("\n"));
  },
};
