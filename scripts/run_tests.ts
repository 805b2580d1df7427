/**
 * Runs every check and test, and ends with one line `N passed, N failed`.
 * Usage: scripts/test [step …]
 *
 * Passed and failed count test cases; a step that fails without naming a failed case (a formatting
 * difference, a type error, a build that breaks) counts as one failure.
 */
import { join, resolve } from "node:path";
import { type Counts, countsOf } from "./deno_summary.ts";
import { elapsed, runScript, say, ScriptError } from "./progress.ts";
import { missingTools } from "./required_programs.ts";

interface Step {
  readonly name: string;
  /** What it runs; end-to-end tests two at a time, as they wait a lot. */
  readonly commands: () => Command[] | Promise<Command[]>;
  /** Test runs, with summaries to count; they call programs of others. */
  readonly tests?: true;
  /** Needs the compiled programs. */
  readonly endToEnd?: true;
}

interface Command {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
}

const root = resolve(import.meta.dirname ?? ".", "..");
const logDir = join(root, ".cache", "test");
const deno = Deno.execPath();

/** A command that hangs is ended, with all that it started, in milliseconds. */
const TIMEOUT_MS = 10 * 60_000;

const steps: readonly Step[] = [
  single("fmt", [deno, "fmt", "--check", "--quiet"]),
  single("lint", [deno, "lint", "--quiet"]),
  single("check", [deno, "task", "--quiet", "check"]),
  single("imports", [deno, "task", "--quiet", "imports"]),
  { ...single("unit", [deno, "task", "--quiet", "test"]), tests: true },
  single("build", [join(root, "scripts", "build")]),
  ...["e2e", "attacks", "fault"].map((name): Step => ({
    name,
    commands: () => testFiles(name),
    tests: true,
    endToEnd: true,
  })),
];

function single(name: string, argv: Command["argv"]): Step {
  return { name, commands: () => [{ name, argv }] };
}

/** One run for each file: a file that hangs or breaks takes no other with it. */
async function testFiles(dir: string): Promise<Command[]> {
  const commands: Command[] = [];
  for await (const { name } of Deno.readDir(join(root, "tests", dir))) {
    if (!name.endsWith("_test.ts")) continue;
    const path = `tests/${dir}/${name}`;
    commands.push({
      name: `${dir}/${name.slice(0, -"_test.ts".length)}`,
      argv: [deno, "test", "-A", "--no-check", path],
    });
  }
  return commands;
}

/** Files that take minutes: begun last, they would be waited for alone. */
const SLOW = ["e2e/copy", "fault/recording", "e2e/refusals", "e2e/command"];

/** The slow ones first, the others by name. */
function inOrder(commands: readonly Command[]): Command[] {
  const rank = ({ name }: Command) => SLOW.includes(name) ? SLOW.indexOf(name) : SLOW.length;
  return commands.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

async function main(): Promise<number> {
  const chosen = chosenSteps(Deno.args);
  endAllOnInterrupt();
  await Deno.mkdir(logDir, { recursive: true });
  const started = performance.now();
  const total: Counts = { passed: 0, failed: 0 };
  const add = ({ passed, failed }: Counts) => {
    total.passed += passed;
    total.failed += failed;
  };
  let built = true;
  for (const step of chosen.filter(({ endToEnd }) => !endToEnd)) {
    if (step.tests) await provideTools();
    const counts = await runSteps([step], 1);
    add(counts);
    if (step.name === "build") built = counts.failed === 0;
  }
  const endToEnd = chosen.filter((step) => step.endToEnd);
  if (endToEnd.length > 0) {
    if (built) {
      await provideTools();
      // Together, so that the machine is busy up to the last of them.
      add(await runSteps(endToEnd, 2));
    } else {
      say(
        "test",
        `${endToEnd.map(({ name }) => name).join(", ")}: cannot run without the programs`,
      );
      total.failed += endToEnd.length;
    }
  }
  say("test", `finished in ${elapsed(performance.now() - started)}`);
  await Deno.stdout.write(
    new TextEncoder().encode(`${total.passed} passed, ${total.failed} failed\n`),
  );
  return total.failed === 0 ? 0 : 1;
}

function chosenSteps(names: string[]): readonly Step[] {
  const unknown = names.find((name) => !steps.some((step) => step.name === name));
  if (unknown !== undefined) {
    const known = steps.map((step) => step.name).join(" ");
    throw new ScriptError(`unknown step "${unknown}". Usage: scripts/test [step …], of: ${known}`);
  }
  return names.length === 0 ? steps : steps.filter((step) => names.includes(step.name));
}

/** Runs the steps' commands, so many at a time. */
async function runSteps(steps: readonly Step[], atOnce: number): Promise<Counts> {
  const total: Counts = { passed: 0, failed: 0 };
  const isTest = steps.some(({ tests }) => tests);
  const queue = inOrder((await Promise.all(steps.map(({ commands }) => commands()))).flat());
  const work = async () => {
    for (let command = queue.shift(); command; command = queue.shift()) {
      const counts = await runCommand(command, isTest);
      total.passed += counts.passed;
      total.failed += counts.failed;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return total;
}

/** Output goes to a log; what failed is shown. */
async function runCommand({ name, argv }: Command, isTest: boolean): Promise<Counts> {
  say("test", `${name} …`);
  const started = performance.now();
  const log = join(logDir, `${name.replace("/", "-")}.log`);
  // A session of its own, so that a time-out reaches everything it has started.
  const child = new Deno.Command("setsid", {
    args: [...argv],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  running.add(child.pid);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    endGroup(child.pid);
  }, TIMEOUT_MS);
  const [status, output] = await Promise.all([child.status, collect(child, log)]);
  clearTimeout(timer);
  running.delete(child.pid);

  const found = isTest ? countsOf(output) : { passed: 0, failed: 0 };
  const failed = status.success ? found.failed : Math.max(found.failed, 1);
  const took = elapsed(performance.now() - started);
  if (failed === 0) {
    say("test", `${name}: ok${isTest ? `, ${found.passed} passed` : ""} (${took})`);
  } else {
    await Deno.stderr.write(new TextEncoder().encode(isTest ? failuresOf(output) : output));
    const how = timedOut ? "TIMED OUT" : status.signal ? `ENDED BY ${status.signal}` : "FAILED";
    say("test", `${name}: ${how} (${took}); all of its output is in ${log}`);
  }
  return { passed: found.passed, failed };
}

/** Commands that run now, each the leader of its process group. */
const running = new Set<number>();

function endGroup(leader: number): void {
  try {
    Deno.kill(-leader, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

function endAllOnInterrupt(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      for (const leader of running) endGroup(leader);
      Deno.exit(130);
    });
  }
}

/** Both streams in the order of arrival, also into the log file. */
async function collect(child: Deno.ChildProcess, log: string): Promise<string> {
  using file = await Deno.open(log, { write: true, create: true, truncate: true });
  let text = "";
  const drain = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      text += decoder.decode(chunk, { stream: true });
      await file.write(chunk);
    }
  };
  await Promise.all([drain(child.stdout), drain(child.stderr)]);
  return text;
}

/** From the first error report on; the whole output where there is none, as with type errors. */
function failuresOf(output: string): string {
  const start = output.search(/^ ERRORS $/m);
  return start < 0 ? output : output.slice(start);
}

let toolsProvided = false;

async function provideTools(): Promise<void> {
  if (toolsProvided) return;
  toolsProvided = true;
  const missing = await missingTools();
  if (missing.packages.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.packages.join(" ")}`;
  if (Deno.uid() !== 0) {
    throw new ScriptError(`missing: ${missing.programs.join(", ")}. Run as root: ${command}`);
  }
  say("test", `installing ${missing.packages.join(" ")}`);
  const log = join(logDir, "apt.log");
  for (const args of [["-q", "update"], ["-q", ...command.split(" ").slice(1)]]) {
    const result = await new Deno.Command("apt-get", {
      args,
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
    }).output();
    await Deno.writeFile(log, result.stdout, { append: true });
    await Deno.writeFile(log, result.stderr, { append: true });
  }
  const still = await missingTools();
  if (still.programs.length > 0) {
    throw new ScriptError(`${still.programs.join(", ")} could not be installed: see ${log}`);
  }
}

await runScript("test", main);
