/**
 * teleport: the daemon. Each verb is loaded when it is used, so that `teleport version` and the hidden
 * verbs, which run once for every file transfer, start without the daemon's code.
 */
import type { Program } from "../../lib/cli/program.ts";

const program: Program = {
  name: "teleport",
  summary: "Certificate-based access to Linux machines: the daemon for auth, proxy and nodes.",
  globals: [{ flags: "-d, --debug", description: "log more, and show where an error came from" }],
  commands: [
    {
      name: "start",
      summary: "run this host's services",
      load: () => import("./start.ts"),
    },
    {
      name: "configure",
      summary: "print a sample configuration file",
      load: () => import("./configure.ts"),
    },
    {
      name: "status",
      summary: "show which session this shell is in",
      load: () => import("./status.ts"),
    },
    { name: "version", summary: "print the version", load: () => import("./version.ts") },
  ],
};

async function main(): Promise<never> {
  const [verb, ...args] = Deno.args;
  // The two verbs that a node runs as the OS user of a session.
  if (verb === "sftp-server") {
    const { runSftpServer } = await import("../../lib/node/entry.ts");
    Deno.exit(await runSftpServer(args));
  }
  if (verb === "scp") {
    const { runScp } = await import("../../lib/node/entry.ts");
    Deno.exit(await runScp(args));
  }
  const { main } = await import("../../lib/cli/program.ts");
  return await main(program);
}

await main();
