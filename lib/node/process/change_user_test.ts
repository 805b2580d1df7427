/** Becoming another user: only root can, so these are defined where the tests run as root. */
import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { libc } from "../os/libc.ts";
import { poller } from "../os/poller.ts";
import { DEFAULT_SIZE, Pty } from "../pty/pty.ts";
import { checkLogin, hasNoLoginShell } from "./login_checks.ts";
import { planLaunch, type Program } from "./launch.ts";
import type { OsUser } from "./os_user.ts";
import { PipedProcess } from "./piped_process.ts";

libc(); // Loaded for the life of the process, so not within a test.

const ada: OsUser = {
  name: "ada",
  uid: 12_345,
  gid: 12_346,
  groups: [12_346, 12_347],
  home: "/",
  shell: "/bin/bash",
};
const env = { PATH: "/usr/bin:/bin", SECRET: "held back", HOME: "/" };

async function output(user: OsUser, program: Program): Promise<string> {
  const process = PipedProcess.start(planLaunch(user, program, env));
  process.stdin.end();
  const [out, err] = await Promise.all([text(process.stdout), text(process.stderr)]);
  await process.close();
  await poller.idle();
  return out + err;
}

async function shell(user: OsUser, typed: string): Promise<string> {
  const pty = Pty.open({ size: DEFAULT_SIZE, owner: { uid: user.uid, gid: 5 } });
  const launch = planLaunch(user, { kind: "shell" }, { ...env, PS1: "$ ", TERM: "dumb" });
  const child = pty.start(launch);
  pty.input.write(typed);
  const shown = await text(pty.output);
  pty.close();
  await child.end();
  await poller.idle();
  return shown;
}

if (Deno.uid() === 0) {
  Deno.test("a command runs with the user's ids, groups and no capability", async () => {
    const out = await output(ada, {
      kind: "command",
      command: "id -u; id -g; id -G; grep Cap[IPEA] /proc/self/status; grep ^Uid /proc/self/status",
    });
    assert.match(out, /^12345\n12346\n12346 12347\n/);
    assert.match(out, /^Uid:\t12345\t12345\t12345\t12345$/m);
    assert.deepEqual(out.match(/^Cap\w+:\t0{16}$/gm)?.length, 4, out);
  });

  Deno.test("the environment is in nobody's arguments", () => {
    const { argv } = planLaunch(ada, { kind: "command", command: "true" }, env);
    assert.ok(argv.includes("-c"));
    assert.ok(!argv.join(" ").includes("held back"));
  });

  Deno.test("a shell is a login shell by its name, on a terminal of its own", async () => {
    const shown = await shell(
      ada,
      "echo [$0] [$SECRET] [$SHLVL]; id -u; tty; shopt login_shell; exit\n",
    );
    assert.match(shown, /\[-bash\] \[held back\] \[1\]/);
    assert.match(shown, /12345\r\n\/dev\/pts\/\d+\r\n/);
    assert.match(shown, /login_shell\s+on/);
  });

  Deno.test("a shell has the variables it was given and those that bash makes", async () => {
    const shown = await shell({ ...ada, shell: "/bin/sh" }, "echo $0; env; exit\n");
    const names = [...shown.matchAll(/^([A-Za-z_]+)=/gm)].map((m) => m[1]);
    assert.deepEqual(names.sort(), ["HOME", "PATH", "PWD", "SECRET", "SHLVL", "TERM"]);
    assert.match(shown, /-sh\r\n/);
  });

  Deno.test("a home that the user cannot enter is said, and the session begins in /", async () => {
    const closed = await Deno.makeTempDir();
    try {
      for (const home of [closed, "/no/such/home"]) {
        const user = { ...ada, home };
        const out = await output(user, { kind: "command", command: "pwd; exit 0" });
        assert.equal(out, `/\nCould not chdir to home directory ${home}\n`);
        assert.match(await shell(user, "pwd; exit\n"), /Could not chdir to home directory/);
      }
      await Deno.chown(closed, ada.uid, ada.gid);
      const out = await output({ ...ada, home: closed }, { kind: "command", command: "pwd" });
      assert.equal(out, `${closed}\n`);
    } finally {
      await Deno.remove(closed);
    }
  });

  Deno.test("words of ours reach a program as they are, in any directory", async () => {
    const argv: [string, ...string[]] = ["/bin/echo", "a b", "$(id)", "'", "-n"];
    for (const home of ["/", "/no/such/home"]) {
      const out = await output({ ...ada, home }, { kind: "argv", argv });
      assert.match(out, /^a b \$\(id\) ' -n\n/);
    }
  });

  Deno.test("checkLogin() refuses an account whose shell is not there", async () => {
    await checkLogin(ada, 0);
    await assert.rejects(checkLogin({ ...ada, shell: "/no/such/shell" }, 0), /does not exist/);
    await assert.rejects(checkLogin({ ...ada, shell: "/etc/passwd" }, 0), /cannot be executed/);
  });
}

Deno.test("hasNoLoginShell() knows the accounts that only own files", () => {
  assert.ok(hasNoLoginShell({ ...ada, shell: "/usr/sbin/nologin" }));
  assert.ok(hasNoLoginShell({ ...ada, shell: "/bin/false" }));
  assert.ok(!hasNoLoginShell(ada));
});
