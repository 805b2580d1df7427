import assert from "node:assert/strict";
import { AccessDenied } from "../base/errors.ts";
import { Exit } from "./exit.ts";
import { type CommandSpec, type Program, run } from "./program.ts";

interface Told {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with what it writes caught. */
async function told(commands: CommandSpec[], argv: string[]): Promise<Told> {
  const program: Program = {
    name: "prog",
    summary: "A program.",
    globals: [
      { flags: "--proxy <address>", description: "proxy", env: "PROG_TEST_PROXY" },
      { flags: "-d, --debug", description: "debug" },
    ],
    commands: commands.map((command) => ({
      name: command.name,
      summary: command.summary,
      load: () => Promise.resolve({ command }),
    })),
  };
  const caught = { stdout: "", stderr: "" };
  const decoder = new TextDecoder();
  const real = { stdout: Deno.stdout.writeSync, stderr: Deno.stderr.writeSync };
  for (const stream of ["stdout", "stderr"] as const) {
    Deno[stream].writeSync = (bytes) => {
      caught[stream] += decoder.decode(bytes);
      return bytes.length;
    };
  }
  try {
    return { status: await run(program, argv), ...caught };
  } finally {
    Deno.stdout.writeSync = real.stdout;
    Deno.stderr.writeSync = real.stderr;
  }
}

function echo(spec: Partial<CommandSpec> = {}): { command: CommandSpec; seen: string[][] } {
  const seen: string[][] = [];
  const command: CommandSpec = {
    name: "echo",
    summary: "Repeats.",
    arguments: [{ name: "[words...]", about: "what to say" }],
    run: (args) => void seen.push([...args]),
    ...spec,
  };
  return { command, seen };
}

Deno.test("run() finds a verb of two words behind global options", async () => {
  const { command, seen } = echo({ name: "users add" });
  assert.equal((await told([command], ["--proxy", "x:1", "users", "-d", "add", "joe"])).status, 0);
  assert.deepEqual(seen, [["joe"]]);
});

Deno.test("run() returns the status that the command gives", async () => {
  const { command } = echo({ run: () => Promise.resolve(7) });
  assert.equal((await told([command], ["echo"])).status, 7);
});

Deno.test("run() prints one line for an error and ends with 1", async () => {
  const { command } = echo({
    run() {
      throw new AccessDenied("No entry, because of the dog: call first");
    },
  });
  assert.deepEqual(await told([command], ["echo"]), {
    status: 1,
    stdout: "",
    stderr: "error: No entry, because of the dog: call first\n",
  });
});

Deno.test("run() prints the stack and the cause only with --debug", async () => {
  const { command } = echo({
    run() {
      throw new AccessDenied("No entry", { cause: new Error("the dog") });
    },
  });
  const { stderr } = await told([command], ["echo", "--debug"]);
  assert.match(stderr, /^error: No entry\n/);
  assert.match(stderr, /program_test\.ts/);
  assert.match(stderr, /caused by: Error: the dog/);
});

Deno.test("run() makes escape sequences in an error visible", async () => {
  const { command } = echo({
    run() {
      throw new AccessDenied("node \x1b[2Jgone");
    },
  });
  assert.match((await told([command], ["echo"])).stderr, /node \\x1b\[2Jgone/);
});

Deno.test("run() ends silently with the status of Exit", async () => {
  const { command } = echo({
    run() {
      throw new Exit(42);
    },
  });
  assert.deepEqual(await told([command], ["echo"]), { status: 42, stdout: "", stderr: "" });
});

Deno.test("run() asks whether a similar command was meant, with status 2", async () => {
  const { command } = echo();
  const { status, stderr } = await told([command], ["ehco"]);
  assert.equal(status, 2);
  assert.equal(stderr, 'error: unknown command "ehco"; did you mean `prog echo`?\n');
});

Deno.test("run() asks whether a similar option was meant, with status 2", async () => {
  const { command } = echo({ options: [{ flags: "--format <f>", description: "format" }] });
  const { status, stderr } = await told([command], ["echo", "--fromat=json"]);
  assert.equal(status, 2);
  assert.match(stderr, /unknown option '--fromat=json'; did you mean --format\?/);
});

Deno.test("run() refuses an option of later versions by its name", async () => {
  const { command, seen } = echo({
    options: [{ flags: "-A, --forward-agent", description: "", refused: "agent forwarding" }],
  });
  const { status, stderr } = await told([command], ["echo", "-A"]);
  assert.equal(status, 2);
  assert.match(stderr, /^error: -A \(agent forwarding\) is not supported by this version/);
  assert.deepEqual(seen, []);
});

Deno.test("run() shows help with examples on stdout, by --help and by help", async () => {
  const { command } = echo({ examples: [["prog echo hi", "says hi"]] });
  for (const argv of [["echo", "--help"], ["help", "echo"], ["echo", "-h"]]) {
    const { status, stdout, stderr } = await told([command], argv);
    assert.equal(status, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /Usage: prog echo \[options\] \[words\.\.\.\]/);
    assert.match(stdout, /Examples:\n {2}prog echo hi {2}says hi/);
    assert.match(stdout, /Global options:[^]*--proxy <address>/);
  }
});

Deno.test("run() lists the commands, without any on stderr with status 2", async () => {
  const { command } = echo();
  assert.match((await told([command], ["--help"])).stdout, /Commands:\n {2}echo {2}Repeats\./);
  const bare = await told([command], []);
  assert.equal(bare.status, 2);
  assert.match(bare.stderr, /Commands:/);
});

Deno.test("run() leaves the options of the other command alone", async () => {
  const { command, seen } = echo({
    name: "ssh",
    runsCommand: true,
    options: [
      { flags: "-p, --port <port>", description: "" },
      { flags: "-t, --tty", description: "" },
    ],
  });
  const tries: [string[], string[]][] = [
    [["-p", "22", "host", "ls", "-la"], ["host", "ls", "-la"]],
    [["host", "-p", "22", "ls", "-p"], ["host", "ls", "-p"]],
    [["-tp", "22", "host"], ["host"]],
    [["-p22", "host", "--", "-x"], ["host", "-x"]],
    [["--port=22", "--", "host", "ls", "--help"], ["host", "ls", "--help"]],
  ];
  for (const [argv, args] of tries) {
    seen.length = 0;
    assert.equal((await told([command], ["ssh", ...argv])).status, 0, argv.join(" "));
    assert.deepEqual(seen, [args]);
  }
});

Deno.test("run() reads options from the environment where they were not given", async () => {
  const proxies: (string | undefined)[] = [];
  const { command } = echo({ run: (_, flags) => void proxies.push(flags.text("proxy")) });
  Deno.env.set("PROG_TEST_PROXY", "env:1");
  try {
    await told([command], ["echo"]);
    await told([command], ["echo", "--proxy", "flag:1"]);
  } finally {
    Deno.env.delete("PROG_TEST_PROXY");
  }
  await told([command], ["echo"]);
  assert.deepEqual(proxies, ["env:1", "flag:1", undefined]);
});
