/**
 * tsh: the user's program. Each verb is loaded when it is used: `tsh version` and `tsh ssh` start
 * without the code of the others.
 */
import process from "node:process";
import { main, type Program } from "../../lib/cli/program.ts";
import { globals } from "./globals.ts";

const program: Program = {
  name: "tsh",
  summary: "Certificate-based access to Linux machines: log in once, reach every node you may.",
  globals,
  commands: [
    { name: "login", summary: "log in to a cluster", load: () => import("./login.ts") },
    { name: "logout", summary: "forget certificates", load: () => import("./logout.ts") },
    {
      name: "status",
      summary: "show who is logged in, and where",
      load: () => import("./status.ts"),
    },
    {
      name: "ssh",
      summary: "open a shell on a node, or run a command on one or many",
      load: () => import("./ssh.ts"),
    },
    { name: "scp", summary: "copy files to and from nodes", load: () => import("./scp.ts") },
    { name: "play", summary: "play the recording of a session", load: () => import("./play.ts") },
    {
      name: "recordings ls",
      summary: "list the recordings of sessions",
      load: () => import("./recordings.ts"),
    },
    { name: "ls", summary: "list the nodes you can reach", load: () => import("./ls.ts") },
    {
      name: "sessions ls",
      aliases: ["sessions list"],
      summary: "list the sessions that run now: yours, and those you may join",
      load: () => import("./sessions_ls.ts"),
    },
    { name: "join", summary: "join somebody's shell session", load: () => import("./join.ts") },
    { name: "clusters", summary: "list the clusters", load: () => import("./clusters.ts") },
    { name: "env", summary: "print the environment of this login", load: () => import("./env.ts") },
    {
      name: "config",
      summary: "print the ssh_config block for ssh, scp, rsync, git, …",
      load: () => import("./config.ts"),
    },
    {
      name: "proxy ssh",
      summary: "connect stdin and stdout to a node's SSH: ssh's ProxyCommand",
      load: () => import("./proxy_ssh.ts"),
    },
    {
      name: "signup",
      summary: "complete an invitation or a reset link",
      load: () => import("./signup.ts"),
    },
    { name: "version", summary: "print the version", load: () => import("./version.ts") },
  ],
};

/** Called as `ssh` or `scp`, by a link of that name, tsh behaves as that command. */
function argv(): string[] {
  // Deno.execPath() has followed the link already.
  const called = process.argv0.split("/").at(-1);
  return called === "ssh" || called === "scp" ? [called, ...Deno.args] : [...Deno.args];
}

await main(program, argv());
