import assert from "node:assert/strict";
import { libc } from "../os/libc.ts";
import { membersOf } from "../os/session_end.ts";
import { poller } from "../os/poller.ts";
import { probe } from "../test_probe.ts";
import { DEFAULT_SIZE, Pty, type PtyOptions } from "./pty.ts";

libc(); // Loaded for the life of the process, so not within a test.

const env = { PATH: "/usr/bin:/bin", TERM: "xterm", HOME: "/", PS1: "ready> " };

/** A program on a terminal, with what it shows gathered as text. */
class Screen implements AsyncDisposable {
  readonly pty: Pty;
  readonly child;
  text = "";
  #changed: () => void = () => {};

  constructor(argv: [string, ...string[]], options: Partial<PtyOptions> = {}) {
    this.pty = Pty.open({ size: DEFAULT_SIZE, ...options });
    this.child = this.pty.start({ path: argv[0], argv, env, cwd: "/" });
    this.pty.output.on("data", (chunk) => {
      this.text += chunk;
      this.#changed();
    });
    this.pty.output.on("close", () => this.#changed());
  }

  type(text: string): void {
    this.pty.input.write(text);
  }

  async shows(pattern: RegExp): Promise<RegExpMatchArray> {
    const giveUp = AbortSignal.timeout(20_000);
    giveUp.addEventListener("abort", () => this.#changed());
    for (;;) {
      const match = this.text.match(pattern);
      if (match) return match;
      const over = this.pty.output.destroyed || giveUp.aborted;
      assert.ok(!over, `never shown: ${pattern}\n${JSON.stringify(this.text)}`);
      await new Promise<void>((resolve) => this.#changed = resolve);
    }
  }

  /** Waits for the output's end, then for the leader. */
  async ended() {
    if (!this.pty.output.destroyed) {
      await new Promise<void>((resolve) => this.pty.output.once("close", () => resolve()));
    }
    return await this.child.exited;
  }

  async [Symbol.asyncDispose]() {
    this.pty.close();
    await this.child.end();
    await poller.idle();
  }
}

const sh = (script: string): [string, ...string[]] => ["/bin/sh", "-c", script];
const bash: [string, ...string[]] = ["/bin/bash", "--norc", "--noprofile", "-i"];

Deno.test("Pty gives its program a controlling terminal, a session and nothing else", async () => {
  await using screen = new Screen(sh("tty; ps -o sid=,pgid= -p $$; echo $$; ls /proc/self/fd"));
  assert.deepEqual(await screen.ended(), { code: 0 });
  const [tty, ids, pid, ...fds] = screen.text.trim().split(/\r\n/);
  assert.equal(tty, screen.pty.path);
  assert.deepEqual(ids!.trim().split(/\s+/), [pid, pid]);
  // 3 is the directory that ls itself reads.
  assert.deepEqual(fds.join(" ").split(/\s+/), ["0", "1", "2", "3"]);
});

Deno.test("Child.exited tells the exact status", async () => {
  await using screen = new Screen(sh("exit 7"));
  assert.deepEqual(await screen.ended(), { code: 7 });
});

Deno.test("Child.exited tells the signal that ended the program", async () => {
  await using killed = new Screen(sh("kill -9 $$"));
  assert.deepEqual(await killed.ended(), { signal: "KILL", core: false });
  await using terminated = new Screen(sh("kill -TERM $$"));
  assert.deepEqual(await terminated.ended(), { signal: "TERM", core: false });
});

Deno.test("a program on a terminal begins with default signals and none blocked", async () => {
  await using screen = new Screen(sh("grep -E '^Sig(Blk|Ign)' /proc/self/status"));
  await screen.ended();
  assert.deepEqual(screen.text.match(/\w+:\t0+\r/g)?.length, 2, screen.text);
});

Deno.test("Pty.resize() reaches the program", async () => {
  await using screen = new Screen(
    sh("trap 'stty size; exit' WINCH; echo on; while :; do sleep 0.05; done"),
  );
  await screen.shows(/on/);
  screen.pty.resize({ cols: 101, rows: 37 });
  await screen.shows(/37 101/);
});

Deno.test("Pty sets the size before the program starts, capped at what a terminal can have", async () => {
  await using screen = new Screen(sh("stty size"), { size: { cols: 1e9, rows: -3 } });
  await screen.ended();
  assert.equal(screen.text, "0 65535\r\n");
});

Deno.test("Pty sets the client's terminal modes", async () => {
  const modes = new Map<number | string, number>([
    ["VINTR", 7], // ^G
    [53, 0], // ECHO
    ["VSUSP", 255], // switched off
    ["ONLCR", 0],
    [129, 9600],
    ["NO_SUCH_MODE", 1],
    [255, 1],
  ]);
  await using screen = new Screen(sh("stty -a"), { modes });
  await screen.ended();
  assert.match(screen.text, /intr = \^G/);
  assert.match(screen.text, /susp = <undef>/);
  assert.match(screen.text, / -echo /);
  assert.match(screen.text, / -onlcr /);
  assert.match(screen.text, /speed 9600 baud/);
});

Deno.test("Ctrl-C, Ctrl-Z and fg work in bash", async () => {
  await using screen = new Screen(bash);
  await screen.shows(/ready> $/);
  // The quotes keep the echo of the line from looking like its output.
  screen.type("sh -c 'echo fir\"\"st; exec sleep 1000'\n");
  await screen.shows(/[\r\n]first/);
  screen.type("\x03");
  await screen.shows(/\^C\s+.*ready> $/s);
  screen.type("echo status $?\n");
  await screen.shows(/status 130/);
  screen.type("sh -c 'echo sec\"\"ond; exec cat'\n");
  await screen.shows(/[\r\n]second/);
  screen.type("\x1a");
  await screen.shows(/Stopped/);
  screen.type("fg\n");
  await screen.shows(/fg\r\n.*exec cat'\r\n/s);
  screen.type("third\n");
  await screen.shows(/third\r\nthird/);
  screen.type("\x03");
  await screen.shows(/third.*\^C\s+.*ready> $/s);
  screen.type("jobs | wc -l; exit 3\n");
  await screen.shows(/0\r\n/);
  assert.deepEqual(await screen.ended(), { code: 3 });
});

Deno.test("vim edits and saves a file", async () => {
  const file = await Deno.makeTempFile();
  try {
    await using screen = new Screen(["/usr/bin/env", "vim", "-u", "NONE", file]);
    await screen.shows(/~/);
    screen.type("iheld by a certificate\x1b:wq\n");
    assert.deepEqual(await screen.ended(), { code: 0 });
    assert.equal(await Deno.readTextFile(file), "held by a certificate\n");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("nothing of a program's last words is lost, however late they are read", async () => {
  const pty = Pty.open({ size: DEFAULT_SIZE });
  const child = pty.start({ path: "/bin/sh", argv: sh("seq 1 500"), env, cwd: "/" });
  assert.deepEqual(await child.exited, { code: 0 });
  let text = "";
  for await (const chunk of pty.output) text += chunk;
  assert.equal(text, Array.from({ length: 500 }, (_, i) => `${i + 1}\r\n`).join(""));
  pty.close();
  await child.end();
});

Deno.test("a reader that stops holds the program back, and loses nothing", async () => {
  const pty = Pty.open({ size: DEFAULT_SIZE });
  const child = pty.start({ path: "/bin/sh", argv: sh("seq 1 300000"), env, cwd: "/" });
  let length = 0;
  let pauses = 0;
  for await (const chunk of pty.output) {
    length += chunk.length;
    if (++pauses <= 20) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(pty.output.readableLength <= 256 * 1024);
  }
  // Digits, and two characters a line's end.
  assert.equal(length, 2_288_895);
  pty.close();
  await child.end();
});

Deno.test("bulk reaches a reader that stops and goes on, whole and in order", async () => {
  await using screen = new Screen(sh("stty -opost; seq 1 200000"));
  let pieces = 0;
  screen.pty.output.on("data", () => {
    // After the piece, at once, and while more comes together.
    if (++pieces % 3 === 0) screen.pty.output.pause();
    if (pieces % 6 === 0) queueMicrotask(() => screen.pty.output.resume());
    else setTimeout(() => screen.pty.output.resume(), pieces % 4);
  });
  await screen.ended();
  const expected = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join("");
  assert.ok(screen.text === expected, `${screen.text.length} of ${expected.length} characters`);
});

Deno.test("much input reaches a slow program whole", async () => {
  await using screen = new Screen(
    sh("stty raw -echo; echo on; sleep 0.2; head -c 1000000 | cksum"),
  );
  await screen.shows(/on/);
  screen.pty.input.write(new Uint8Array(1_000_000).fill(120));
  await screen.ended();
  const want = await new Deno.Command("sh", {
    args: ["-c", "head -c 1000000 /dev/zero | tr '\\0' x | cksum"],
  })
    .output();
  assert.ok(screen.text.includes(new TextDecoder().decode(want.stdout).trim()), screen.text);
});

Deno.test("attack 43: closing the terminal ends everything of the session", async () => {
  const screen = new Screen(bash);
  await screen.shows(/ready> $/);
  screen.type("(trap '' HUP TERM; sleep 1000) & set +m; sleep 1000 & sleep 1000\n");
  await screen.shows(/sleep 1000\r\n/);
  const session = new Set([screen.child.pid]);
  while ((membersOf(session).get(screen.child.pid)?.length ?? 0) < 4) await tick();
  screen.pty.close();
  await screen.child.end();
  assert.equal(membersOf(session).size, 0);
  await poller.idle();
});

Deno.test("a background job does not keep the terminal of a shell that has ended", async () => {
  await using screen = new Screen(sh("trap '' HUP; sleep 1000 & echo started; exit 4"));
  assert.deepEqual(await screen.ended(), { code: 4 });
  assert.match(screen.text, /started/);
});

Deno.test("200 sessions side by side each get their own output and status", async () => {
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    await using screen = new Screen(sh(`echo ${i}; exit ${i % 7}`));
    assert.deepEqual(await screen.ended(), { code: i % 7 });
    assert.equal(screen.text, `${i}\r\n`);
  }));
});

Deno.test("sessions leave no descriptor", async () => {
  assert.equal(await probe("pty"), 0);
});

Deno.test("idle sessions cost no CPU", async () => {
  // Forty timers of 100 ms would make 200.
  const wakeUps = await probe("idle");
  assert.ok(wakeUps < 20, `${wakeUps} wake-ups`);
});

if (Deno.uid() === 0) {
  Deno.test("attack 43: the terminal belongs to the user, mode 0620", async () => {
    const owner = { uid: 12345, gid: 5 };
    await using screen = new Screen(sh("sleep 1000"), { owner });
    const info = await Deno.stat(screen.pty.path);
    assert.deepEqual([info.uid, info.gid, info.mode! & 0o777], [12345, 5, 0o620]);
  });
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

Deno.test("a terminal that is read before its program starts has not hung up", async () => {
  const pty = Pty.open({ size: DEFAULT_SIZE, owner: { uid: Deno.uid()!, gid: Deno.gid()! } });
  let text = "";
  pty.output.on("data", (chunk) => text += chunk);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const argv = sh("echo late");
  const child = pty.start({ path: argv[0], argv, env, cwd: "/" });
  await new Promise<void>((resolve) => pty.output.once("close", () => resolve()));
  assert.match(text, /late/);
  pty.close();
  await child.end();
  await poller.idle();
});
