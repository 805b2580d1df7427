import { resolve } from "node:path";
import type { CommandSpec } from "../../lib/cli/program.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { out } from "../../lib/cli/output.ts";
import { configureLog, log } from "../../lib/base/log.ts";
import { type ConfigFlags, loadConfig } from "../../lib/config/mod.ts";
import { prepareDataDir } from "./data_dir.ts";
import { writePidFile } from "./pid_file.ts";
import { onStopSignal } from "./signals.ts";
import { Supervisor } from "./supervisor.ts";

export const command: CommandSpec = {
  name: "start",
  summary: "run this host's services",
  description: "Runs the services of this host: auth, proxy and SSH node, all in one process.\n" +
    "Settings come from the defaults, then the configuration file, then these flags.",
  options: [
    { flags: "-r, --roles <list>", description: "services to run, e.g. proxy,node,auth" },
    {
      flags: "-c, --config <file>",
      description: "configuration file (default: /etc/teleport.yaml)",
    },
    {
      flags: "--config-string <base64>",
      description: "the configuration itself, in base64",
      env: "TELEPORT_CONFIG",
      hidden: true,
    },
    { flags: "--pid-file <file>", description: "write the process id to this file" },
    { flags: "--advertise-ip <ip>", description: "IP address that others reach this host by" },
    { flags: "-l, --listen-ip <ip>", description: "IP address to listen on (default: 0.0.0.0)" },
    {
      flags: "--auth-server <host:port>",
      description: "auth server to join and to talk to (default: 127.0.0.1:3025)",
      repeatable: true,
    },
    { flags: "--token <token>", description: "join token, or the path of a file that holds it" },
    {
      flags: "--ca-pin <sha256:hex>",
      description: "CA pin of the cluster: the auth server must match it before the token is said",
    },
    { flags: "--nodename <name>", description: "name of this host (default: its hostname)" },
    {
      flags: "--labels <list>",
      description: `labels of this node, e.g. env=prod,kernel=[1h:"uname -r"]`,
    },
    {
      flags: "--permit-user-env",
      description: "read environment variables from ~/.tsh/environment",
    },
    { flags: "--insecure", description: "join without a CA pin (never outside of a test)" },
    { flags: "--diag-addr <addr>", description: "", refused: "serves metrics and health checks" },
    { flags: "--bootstrap <file>", description: "", refused: "loads resources into a new cluster" },
    { flags: "--insecure-no-tls", description: "", refused: "serves the web API without TLS" },
    { flags: "--fips", description: "", refused: "restricts the algorithms to FIPS 140" },
  ],
  notes: "SIGTERM and SIGINT stop the daemon in good order; a second one stops it at once.",
  examples: [
    ["teleport start", "auth, proxy and node on one machine"],
    [
      "teleport start --roles=node --token=… --ca-pin=sha256:… --auth-server=10.0.0.1:3025",
      "join a cluster as a node; `tctl nodes add` prints this line",
    ],
  ],
  run: (_args, flags) => start(flags),
};

async function start(flags: Flags): Promise<number> {
  const startedAt = performance.now();
  const config = await loadConfig({ flags: overridesOf(flags), env: (name) => Deno.env.get(name) });
  configureLog({
    level: config.log.severity,
    format: config.log.format,
    output: config.log.output,
  });
  surviveStrayErrors();
  Deno.env.set("TMPDIR", await prepareDataDir(config.dataDir));
  const removePidFile = config.pidFile ? await writePidFile(config.pidFile) : undefined;

  using signal = onStopSignal();
  const supervisor = new Supervisor({
    config,
    teleportCommand: teleportCommand(),
    insecure: flags.on("insecure"),
    announce: out,
  });
  try {
    const started = supervisor.start();
    // The signal may come while a role still waits for its auth server.
    started.catch(() => {});
    const stopped = await Promise.race([signal.arrived, started]);
    if (stopped === undefined) {
      out(`Teleport is ready (${((performance.now() - startedAt) / 1000).toFixed(2)} s)`);
      await signal.arrived;
    }
  } finally {
    await supervisor.stop();
    await removePidFile?.();
  }
  log("process").info("Stopped");
  return 0;
}

function overridesOf(flags: Flags): ConfigFlags {
  return {
    config: flags.text("config"),
    configString: flags.text("config-string"),
    roles: flags.text("roles"),
    nodename: flags.text("nodename"),
    pidFile: flags.text("pid-file"),
    token: flags.text("token"),
    caPin: flags.text("ca-pin"),
    advertiseIp: flags.text("advertise-ip"),
    listenIp: flags.text("listen-ip"),
    authServers: flags.list("auth-server"),
    labels: flags.text("labels"),
    permitUserEnv: flags.on("permit-user-env") ? true : undefined,
    debug: flags.on("debug"),
  };
}

/** This program, or the runtime and this program's source where it is not compiled. */
function teleportCommand(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  return [Deno.execPath(), "run", "-A", resolve(import.meta.dirname ?? ".", "main.ts")];
}

/**
 * One broken connection must not end everybody's sessions: an error that nobody waited for is
 * logged, with its stack, and the daemon goes on.
 */
function surviveStrayErrors(): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log("process").error("An error was not handled", { error: event.reason });
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    log("process").error("An error was not handled", { error: event.error });
  });
}
