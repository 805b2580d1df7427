/**
 * A one-node cluster in a directory of its own: starts it, enrols the current OS user with a password
 * and a second factor, logs in and runs a first command. On a terminal it then stays until Ctrl-C; else it ends.
 *
 * Usage: scripts/quickstart [directory], .cache/quickstart when left out
 */
import { join, resolve } from "node:path";
import { elapsed, runScript, ScriptError } from "./progress.ts";
import { Programs } from "./quickstart_programs.ts";
import { loadState, type State, totpForNow } from "./quickstart_state.ts";

const root = resolve(import.meta.dirname ?? ".", "..");

async function main(): Promise<number> {
  const [from = ".", directory] = Deno.args;
  if (directory?.startsWith("-")) throw new ScriptError("Usage: scripts/quickstart [directory]");
  const dir = directory ? resolve(from, directory) : join(root, ".cache", "quickstart");
  const started = performance.now();

  await build();
  const state = await loadState(dir);
  const programs = new Programs(join(root, "bin"), dir, state);
  tell(`Starting a cluster in ${dir}`);
  await using daemon = await programs.startDaemon();
  const interrupted = onInterrupt();

  await Promise.race([introduce(programs, state), daemon.unexpectedEnd, interrupted.rejected]);
  tell(`\nReady after ${elapsed(performance.now() - started)}.`);
  printNextSteps(dir, state);
  if (!Deno.stdin.isTerminal()) {
    tell("\nNo terminal is attached, so the cluster is stopped again.");
    return 0;
  }
  tell("\nThe cluster runs until you press Ctrl-C. Type the commands above in another terminal.");
  await Promise.race([interrupted.arrived, daemon.unexpectedEnd]);
  return 0;
}

async function build(): Promise<void> {
  const status = await new Deno.Command(join(root, "scripts", "build")).spawn().status;
  if (!status.success) throw new ScriptError("the build failed: see the lines above");
}

/** From nothing to a first command on the node, each step shown as it would be typed. */
async function introduce(programs: Programs, state: State): Promise<void> {
  if (!state.enrolled) {
    const added = await programs.show("tctl", ["users", "add", state.user, state.user]);
    const link = added.match(/https:\/\/\S+\/web\/invite\/[0-9a-f]+/)?.[0];
    if (!link) throw new ScriptError("tctl users add printed no invite link");
    await programs.signUp(link);
  }
  if (!await programs.isLoggedIn()) {
    await programs.show("tsh", ["login", `--ca-pin=${await programs.caPin()}`], [
      state.password,
      await totpForNow(state),
    ]);
  }
  await programs.show("tsh", ["ls"]);
  await programs.show("tsh", [
    "ssh",
    `${state.user}@${state.nodename}`,
    `echo "I am $(id -un) on $(uname -n), process $$"`,
  ]);
}

function printNextSteps(dir: string, state: State): void {
  const { user, nodename, cluster, ports, otpSecret } = state;
  const environment = [
    `PATH=${join(root, "bin")}:$PATH`,
    `TELEPORT_HOME=${dir}/tsh`,
    `TELEPORT_PROXY=localhost:${ports.web},${ports.proxySsh}`,
  ];
  const steps: [command: string, what: string][] = [
    [`tsh ssh ${user}@${nodename}`, "a shell on the node"],
    [`tsh scp /etc/hostname ${user}@${nodename}:/tmp/`, "copy a file"],
    [`tsh config > ${dir}/ssh_config`, "for stock ssh, scp, rsync, git:"],
    [`ssh -F ${dir}/ssh_config ${user}@${nodename}.${cluster}`, "a shell by OpenSSH"],
    [`tctl -c ${dir}/teleport.yaml users add alice ${user}`, "invite somebody"],
    ["tsh recordings ls", "what was recorded; `tsh play <id>` shows it"],
    [`tctl -c ${dir}/teleport.yaml events watch`, "the audit log, as it is written"],
  ];
  const width = Math.max(...steps.map(([command]) => command.length));
  tell(`
Web address    https://localhost:${ports.web}
User           ${user}
Password       ${state.password}
Second factor  oathtool --totp -b ${otpSecret}   (or add this secret to an authenticator app)

In another terminal:
  export ${environment.join(" ")}
${steps.map(([command, what]) => `  ${command.padEnd(width)}   # ${what}`).join("\n")}`);
}

function onInterrupt(): { arrived: Promise<void>; rejected: Promise<never> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, resolve);
  const rejected = promise.then((): never => {
    throw new ScriptError("interrupted");
  });
  rejected.catch(() => {});
  return { arrived: promise, rejected };
}

function tell(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

await runScript("quickstart", main);
