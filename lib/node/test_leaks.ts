/**
 * For tests: what sessions leave behind, looked at in a process of its own, where nobody else
 * opens descriptors or takes turns. `deno run -A test_leaks.ts pty|pipes|idle` prints one number.
 */
import { poller } from "./os/poller.ts";
import { planLaunch } from "./process/launch.ts";
import { PipedProcess } from "./process/piped_process.ts";
import { launchTestUser } from "./process/test_user.ts";
import { DEFAULT_SIZE, Pty } from "./pty/pty.ts";

const env = { PATH: "/usr/bin:/bin", TERM: "xterm" };

async function terminal(argv: readonly [string, ...string[]]): Promise<void> {
  const pty = Pty.open({ size: DEFAULT_SIZE });
  const child = pty.start({ path: argv[0], argv, env, cwd: "/" });
  for await (const _ of pty.output);
  pty.close();
  await child.end();
}

async function piped(): Promise<void> {
  const launch = planLaunch(await launchTestUser(), { kind: "command", command: "echo x" }, env);
  const process = PipedProcess.start(launch);
  for await (const _ of process.stdout);
  await process.close();
}

/** Descriptors that are open after many sessions, less those that were before. */
async function left(one: () => Promise<void>): Promise<number> {
  const count = () => [...Deno.readDirSync("/proc/self/fd")].length;
  await one();
  await poller.idle();
  const before = count();
  for (let i = 0; i < 20; i++) await one();
  await Promise.all(Array.from({ length: 200 }, one));
  await poller.idle();
  return count() - before;
}

/** How often the main thread woke up in half a second with forty idle terminals. */
async function wakeUps(): Promise<number> {
  const ptys = Array.from({ length: 40 }, () => Pty.open({ size: DEFAULT_SIZE }));
  const children = ptys.map((pty) => {
    pty.output.resume();
    return pty.start({ path: "/bin/cat", argv: ["cat"], env, cwd: "/" });
  });
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const switches = () =>
    Number(
      /^voluntary_ctxt_switches:\s*(\d+)/m.exec(Deno.readTextFileSync("/proc/self/status"))![1],
    );
  await pause(500);
  const before = switches();
  await pause(500);
  const count = switches() - before;
  for (const pty of ptys) pty.close();
  await Promise.all(children.map((child) => child.end()));
  return count;
}

const probes: Record<string, () => Promise<number>> = {
  pty: () => left(() => terminal(["/bin/echo", "x"])),
  pipes: () => left(piped),
  idle: wakeUps,
};
Deno.stdout.writeSync(new TextEncoder().encode(String(await probes[Deno.args[0]!]!())));
