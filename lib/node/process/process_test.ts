import assert from "node:assert/strict";
import { AccessDenied, NotFound } from "../../base/errors.ts";
import { libc } from "../os/libc.ts";
import { poller } from "../os/poller.ts";
import { membersOf } from "../os/session_end.ts";
import { acceptsClientVariable, parseUserEnvironment, sessionEnvironment } from "./environment.ts";
import { probe } from "../test_probe.ts";
import { launchTestUser } from "./test_user.ts";
import { ownUser, planLaunch, type Program } from "./launch.ts";
import { pathFrom } from "./login_defs.ts";
import { assertLoginName, lookUpUser, type OsUser } from "./os_user.ts";
import { PipedProcess } from "./piped_process.ts";

libc(); // Loaded for the life of the process, so not within a test.

const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", MARK: "in the environment" };

interface Result {
  out: string;
  err: string;
  exit: unknown;
}

async function run(user: OsUser, program: Program, input?: string): Promise<Result> {
  const process = PipedProcess.start(planLaunch(user, program, { ...env, HOME: user.home }));
  process.stdin.end(input ?? "");
  const [out, err, exit] = await Promise.all([
    text(process.stdout),
    text(process.stderr),
    process.exited,
  ]);
  await process.close();
  await poller.idle();
  return { out, err, exit };
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return text;
}

const command = (command: string): Program => ({ kind: "command", command });

Deno.test("attack 40: names that are no account's are refused before anybody is asked", () => {
  const bad = [
    "",
    "/",
    "../root",
    "a/b",
    "root\n",
    "ro ot",
    "0",
    "1000",
    "0x0",
    "-l",
    "+x",
    ".",
    "..",
  ];
  bad.push(
    "a:b",
    "a,b",
    "a;b",
    "$(id)",
    "`id`",
    "a\0b",
    "root\u0000",
    "x".repeat(256),
    "~root",
    "a=b",
  );
  for (const name of bad) {
    assert.throws(() => assertLoginName(name), AccessDenied, JSON.stringify(name));
  }
  for (const name of ["root", "www-data", "joe.doe", "_apt", "machine$", "user1", "jörg"]) {
    assertLoginName(name);
  }
});

Deno.test("lookUpUser() reads an account with all its groups", async () => {
  const root = await lookUpUser("root");
  assert.deepEqual([root.uid, root.gid, root.name], [0, 0, "root"]);
  assert.ok(root.groups.includes(0));
  assert.match(root.home, /^\//);
  assert.match(root.shell, /^\//);
});

Deno.test("lookUpUser() says that there is no such account", async () => {
  await assert.rejects(
    lookUpUser("no-such-user-here"),
    (error: Error) => error instanceof NotFound && error.message.includes("no-such-user-here"),
  );
});

Deno.test("an unprivileged daemon serves only the user it is", async () => {
  const user = await launchTestUser();
  const own = { uid: user.uid + 1, gid: user.gid, groups: [] };
  assert.throws(() => planLaunch(user, { kind: "shell" }, {}, own), /does not run as root/);
  const self = { uid: 4242, gid: 4242, groups: [] };
  const plan = planLaunch({ ...user, uid: 4242 }, command("true"), {}, self);
  assert.doesNotMatch(plan.path, /setpriv/);
});

Deno.test("a command gets its input, its output and its errors apart, and its status", async () => {
  const user = await launchTestUser();
  assert.deepEqual(await run(user, command("cat; echo err >&2; exit 7"), "in\n"), {
    out: "in\n",
    err: "err\n",
    exit: { code: 7 },
  });
  const killed = await run(user, command("kill -9 $$"));
  assert.deepEqual(killed.exit, { signal: "KILL", core: false });
});

Deno.test("a command is the leader of a session of its own, without other descriptors", async () => {
  const user = await launchTestUser();
  // Without a pipe, which the shell itself would hold an end of for a moment.
  const { out } = await run(user, command("ps -o sid= -p $$; echo $$; ls /proc/$$/fd; true"));
  const [sid, pid, ...fds] = out.trim().split("\n");
  assert.equal(sid!.trim(), pid);
  assert.deepEqual(fds, ["0", "1", "2"]);
});

Deno.test("a command that does not read its input does not hang its writer", async () => {
  const process = PipedProcess.start(planLaunch(await launchTestUser(), command("exit 3"), env));
  await new Promise((resolve) => process.stdin.end(new Uint8Array(8 << 20), () => resolve(0)));
  assert.ok(process.stdin.readerGone);
  process.stdout.resume();
  process.stderr.resume();
  assert.deepEqual(await process.exited, { code: 3 });
  await process.close();
  await poller.idle();
});

Deno.test("a reader that stops holds a command back", async () => {
  const process = PipedProcess.start(
    planLaunch(await launchTestUser(), command("head -c 50000000 /dev/zero; echo done >&2"), env),
  );
  let done = false;
  process.stderr.on("data", () => done = true);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(!done);
  assert.ok(process.stdout.bytesRead <= 256 * 1024);
  let length = 0;
  for await (const chunk of process.stdout) length += chunk.length;
  assert.equal(length, 50_000_000);
  await process.close();
  await poller.idle();
});

Deno.test("attack 43: closing ends every process of the session, in all its groups", async () => {
  const user = await launchTestUser();
  const process = PipedProcess.start(
    planLaunch(
      { ...user, shell: "/bin/bash" },
      command("set -m; sleep 1000 & (trap '' HUP; sleep 1000) & wait"),
      env,
    ),
  );
  const session = new Set([process.child.pid]);
  while ((membersOf(session).get(process.child.pid)?.length ?? 0) < 3) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await process.close();
  assert.equal(membersOf(session).size, 0);
  await poller.idle();
});

Deno.test("200 commands leave no descriptor", async () => {
  assert.equal(await probe("pipes"), 0);
});

Deno.test("attack 39: a client sets locales and little else", () => {
  for (const name of ["LANG", "LC_ALL", "LC_CTYPE", "COLORTERM", "GIT_PROTOCOL"]) {
    assert.ok(acceptsClientVariable(name, "C.UTF-8"), name);
  }
  const bad = ["LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "PATH", "NODE_OPTIONS"];
  bad.push("DENO_DIR", "BASH_ENV", "ENV", "IFS", "LANGUAGE", "TMPDIR", "HOME", "SHELL", "USER");
  bad.push(
    "SSH_CONNECTION",
    "SSH_TELEPORT_USER",
    "GLIBC_TUNABLES",
    "LC_",
    "LC_a b",
    "lc_all",
    "",
    "A=B",
  );
  for (const name of bad) assert.ok(!acceptsClientVariable(name, "x"), name);
  for (const value of ["../../tmp/evil", "/tmp", "a\nb", "a\0b", "x".repeat(1025)]) {
    assert.ok(!acceptsClientVariable("LC_ALL", value), JSON.stringify(value));
  }
});

Deno.test("attack 39: ~/.tsh/environment cannot name what changes a program", () => {
  const parsed = parseUserEnvironment(
    "# comment\nEDITOR=vi\n  A=b=c\nLD_PRELOAD=/x.so\nPATH=/evil\nBASH_FUNC_ls%%=() { :; }\nnonsense\nNODE_OPTIONS=-r x\nSSH_TTY=x\n",
  );
  assert.deepEqual(parsed, { EDITOR: "vi", A: "b=c" });
});

Deno.test("sessionEnvironment() says who, where and through what; nothing from outside replaces it", async () => {
  const user: OsUser = { ...await launchTestUser(), name: "joe", home: "/h", shell: "/bin/sh" };
  const facts = {
    sessionId: "sid",
    hostId: "host",
    cluster: "main",
    teleportUser: "joe@example.com",
    client: { host: "1.2.3.4", port: 5 },
    server: { host: "10.0.0.1", port: 3022 },
    term: "xterm",
    tty: "/dev/pts/9",
  };
  const got = sessionEnvironment(user, facts, { LANG: "de_DE.UTF-8" }, {
    HOME: "/evil",
    EDITOR: "vi",
  });
  assert.equal(got.LANG, "de_DE.UTF-8");
  assert.equal(got.EDITOR, "vi");
  assert.equal(got.HOME, "/h");
  assert.equal(got.SSH_CLIENT, "1.2.3.4 5 3022");
  assert.equal(got.SSH_CONNECTION, "1.2.3.4 5 10.0.0.1 3022");
  assert.equal(got.SSH_TTY, "/dev/pts/9");
  assert.equal(got.TERM, "xterm");
  assert.equal(got.SSH_SESSION_ID, "sid");
  assert.equal(got.TELEPORT_SESSION, "sid");
  assert.equal(got.SSH_TELEPORT_HOST_UUID, "host");
  assert.equal(got.SSH_TELEPORT_CLUSTER_NAME, "main");
  assert.equal(got.SSH_TELEPORT_USER, "joe@example.com");
});

Deno.test("pathFrom() reads login.defs, one PATH for root and one for the others", () => {
  const defs = "# ENV_PATH PATH=/no\nENV_SUPATH\tPATH=/s/bin:/bin\nENV_PATH /u/bin\n";
  assert.equal(pathFrom(defs, 0), "/s/bin:/bin");
  assert.equal(pathFrom(defs, 1000), "/u/bin");
  assert.match(pathFrom("", 0), /sbin/);
  assert.match(pathFrom("", 1000), /^\/usr\/local\/bin/);
});

Deno.test("ownUser() is who id(1) says", async () => {
  const own = ownUser();
  const id = await new Deno.Command("id", { args: ["-G"] }).output();
  const groups = new TextDecoder().decode(id.stdout).trim().split(" ").map(Number);
  assert.deepEqual(new Set([...own.groups, own.gid]), new Set(groups));
});
