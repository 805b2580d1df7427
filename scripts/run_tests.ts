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
  readonly command: readonly [string, ...string[]];
  /** Its output is a test run's, with a summary to count. */
  readonly tests?: true;
  /** Needs the programs that end-to-end tests call. */
  readonly tools?: true;
}

const root = resolve(import.meta.dirname ?? ".", "..");
const logDir = join(root, ".cache", "test");
const deno = Deno.execPath();

const steps: readonly Step[] = [
  { name: "fmt", command: [deno, "fmt", "--check", "--quiet"] },
  { name: "lint", command: [deno, "lint", "--quiet"] },
  { name: "check", command: [deno, "task", "--quiet", "check"] },
  { name: "imports", command: [deno, "task", "--quiet", "imports"] },
  { name: "unit", command: [deno, "task", "--quiet", "test"], tests: true },
  { name: "build", command: [join(root, "scripts", "build")] },
  ...["e2e", "attacks", "fault"].map((name): Step => ({
    name,
    command: [deno, "test", "-A", "--no-check", "--permit-no-files", `tests/${name}`],
    tests: true,
    tools: true,
  })),
];

async function main(): Promise<number> {
  const chosen = chosenSteps(Deno.args);
  await Deno.mkdir(logDir, { recursive: true });
  const started = performance.now();
  const total: Counts = { passed: 0, failed: 0 };
  let built = true;
  for (const step of chosen) {
    if (step.tools && !built) {
      say("test", `${step.name}: cannot run without the binaries`);
      total.failed++;
      continue;
    }
    if (step.tools) await provideTools();
    const counts = await runStep(step);
    total.passed += counts.passed;
    total.failed += counts.failed;
    if (step.name === "build") built = counts.failed === 0;
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

/** Output goes to a log; what failed is shown. */
async function runStep(step: Step): Promise<Counts> {
  say("test", `${step.name} …`);
  const started = performance.now();
  const log = join(logDir, `${step.name}.log`);
  const [program, ...args] = step.command;
  const child = new Deno.Command(program, {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [status, output] = await Promise.all([child.status, collect(child, log)]);

  const found = step.tests ? countsOf(output) : { passed: 0, failed: 0 };
  const failed = status.success ? found.failed : Math.max(found.failed, 1);
  const took = elapsed(performance.now() - started);
  if (failed === 0) {
    say("test", `${step.name}: ok${step.tests ? `, ${found.passed} passed` : ""} (${took})`);
  } else {
    await Deno.stderr.write(new TextEncoder().encode(step.tests ? failuresOf(output) : output));
    say("test", `${step.name}: FAILED (${took}); all of its output is in ${log}`);
  }
  return { passed: found.passed, failed };
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
