import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { bin, eventually, must, run } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

Deno.test("a shell on a node through the proxy", async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"] });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const open = (size: { cols?: number; rows?: number } = {}) =>
    Terminal.open([bin("tsh"), "ssh", "root@node-1"], { dir: cluster.dir, env: joe.env, ...size });

  /** Opens a shell, runs the body in it, and closes the terminal whatever happens. */
  const inShell = async (body: (terminal: Terminal) => Promise<void>) => {
    const terminal = await open();
    try {
      await terminal.shows(/[#$]$/m);
      // A prompt without the machine's name makes the screens below the same everywhere.
      await terminal.enter("PS1='ready> '; clear");
      await terminal.shows(/^ready>$/m);
      await body(terminal);
    } finally {
      await terminal.close();
    }
  };

  /** Starts a program that goes on, and waits until it is there to be interrupted. */
  const startSleep = async (terminal: Terminal) => {
    const seconds = 34_000 + Math.floor(Math.random() * 1000);
    await terminal.enter(`sleep ${seconds}`);
    await eventually(
      "sleep to run",
      async () => (await run(["pgrep", "-f", `^sleep ${seconds}$`])).code === 0,
    );
  };

  await t.step("vim edits and saves a file", () =>
    inShell(async (terminal) => {
      await terminal.enter(`vim -u NONE ${cluster.dir}/note.txt`);
      await terminal.shows(/^~\s*$/m);
      await terminal.type("iheld by a certificate");
      await terminal.press("Escape");
      await terminal.enter(":wq");
      await terminal.shows(/^ready>$/m);
      assert.equal(await Deno.readTextFile(`${cluster.dir}/note.txt`), "held by a certificate\n");
    }));

  await t.step("a resize reaches the programs on the node", () =>
    inShell(async (terminal) => {
      await terminal.enter("stty size");
      await terminal.shows(/^24 80$/m);
      await terminal.resize(101, 37);
      await eventually("the new size", async () => {
        await terminal.enter("clear; stty size");
        return /^37 101$/m.test(await terminal.screen());
      });
    }));

  await t.step(
    "Ctrl-C ends a program, Ctrl-Z and fg hold and go on",
    () =>
      inShell(async (terminal) => {
        await startSleep(terminal);
        await terminal.press("C-c");
        await terminal.enter("echo status $?");
        await terminal.shows(/^status 130$/m);
        await startSleep(terminal);
        await terminal.press("C-z");
        await terminal.shows(/Stopped\s+sleep/);
        await terminal.enter("clear; fg");
        await terminal.shows(/^sleep \d/m);
        await terminal.press("C-c");
        await terminal.enter("jobs | wc -l");
        await terminal.shows(/^0$/m);
      }),
  );

  await t.step(
    "the exit status of the shell is the status of tsh",
    () =>
      inShell(async (terminal) => {
        await terminal.enter("exit 7");
        await terminal.shows(/\[ended with status 7\]/);
      }),
  );

  await t.step(
    "a shell that kills itself ends with the signal's status",
    () =>
      inShell(async (terminal) => {
        await terminal.enter("kill -9 $$");
        await terminal.shows(/\[ended with status (137|255)\]/);
      }),
  );

  await t.step("the terminal is itself again after the shell", () =>
    inShell(async (terminal) => {
      await terminal.enter("exit");
      await terminal.shows(/\[ended with status 0\]/);
      await terminal.type("typed");
      await terminal.shows(/^typed$/m);
    }));

  await t.step(
    "the environment names the session, the user and the cluster",
    () =>
      inShell(async (terminal) => {
        await terminal.enter("clear; env | grep -E '^(SSH_|TERM=)' | sort");
        const [screen] = await terminal.shows(/[\s\S]*^TERM=[\s\S]*/m);
        assert.match(screen, /^SSH_TELEPORT_USER=joe$/m);
        assert.match(screen, /^SSH_TELEPORT_CLUSTER_NAME=main$/m);
        assert.match(screen, /^SSH_SESSION_ID=[0-9a-f-]{36}$/m);
        assert.match(screen, /^SSH_TTY=\/dev\/pts\/\d+$/m);
        assert.match(screen, /^SSH_CONNECTION=127\.0\.0\.1 \d+ 127\.0\.0\.1 \d+$/m);
      }),
  );

  await t.step("teleport status tells where one is", () =>
    inShell(async (terminal) => {
      await terminal.enter(`clear; ${bin("teleport")} status`);
      const [screen] = await terminal.shows(/[\s\S]*Session ID[\s\S]*/);
      assert.match(screen, /User ID\s*: joe, logged in as root from 127\.0\.0\.1/);
      assert.match(screen, /Cluster Name: main/);
    }));

  await t.step("attack 43: nothing of a session outlives its connection for long", async () => {
    const terminal = await open();
    await terminal.shows(/[#$]$/m);
    const marker = `${31_000 + Math.floor(Math.random() * 1000)}.25`;
    await terminal.enter(`sleep ${marker} & setsid -f true; sleep ${marker}`);
    await eventually(
      "both to run",
      async () => (await run(["pgrep", "-fc", `^sleep ${marker}`])).stdout.trim() === "2",
    );
    await terminal.close();
    await eventually(
      "both to end",
      async () => (await run(["pgrep", "-f", `^sleep ${marker}`])).code === 1,
      // It waits 20 s for the return of somebody whose network broke.
      40_000,
    );
  });

  await t.step("a command with -t gets a terminal", async () => {
    const result = await must([
      "script",
      "-qec",
      `${bin("tsh")} ssh -t root@node-1 tty`,
      "/dev/null",
    ], {
      env: joe.env,
    });
    assert.match(result.stdout, /\/dev\/pts\/\d+/);
  });

  await t.step("the audit log has the session's beginning, its data and its end", async () => {
    const events = await eventually("session.end", async () => {
      const all = await cluster.events();
      return all.some((e) => e.event === "session.end") ? all : undefined;
    });
    const start = events.find((e) => e.event === "session.start")!;
    assert.equal(start.code, "T2000I");
    assert.equal(start.user, "joe");
    assert.equal(start.login, "root");
    assert.match(String(start.size), /^\d+:\d+$/);
    const of = (name: string) => events.find((e) => e.event === name && e.sid === start.sid);
    assert.equal(of("session.end")?.code, "T2004I");
    assert.equal(of("session.data")?.code, "T2006I");
  });
});
