import assert from "node:assert/strict";
import { Authenticator } from "../harness/totp.ts";
import { Cluster, PASSWORD } from "../harness/cluster.ts";
import { bin, must, run } from "../harness/run.ts";

Deno.test("logging in and out", async (t) => {
  await using cluster = await Cluster.allInOne();
  const joe = await cluster.enrol("joe");

  await t.step("an invitation can be used once", async () => {
    const { stdout } = await cluster.tctl(["users", "add", "twice", "root"]);
    const link = stdout.match(/https:\S+\/web\/invite\/[0-9a-f]{32}/)![0];
    await cluster.signUp("twice", link);
    await assert.rejects(cluster.signUp("twice", link), /tsh signup failed/);
  });

  await t.step("a reset link sets a new password and authenticator", async () => {
    const { stdout } = await cluster.tctl(["users", "reset", "twice"]);
    const link = stdout.match(/https:\S+\/web\/reset\/[0-9a-f]{32}/)![0];
    const twice = await cluster.signUp("twice", link);
    await twice.login();
  });

  await t.step(
    "password and code give a certificate with the user's roles and logins",
    async () => {
      const { stdout } = await joe.login();
      assert.match(stdout, /> Profile URL: +https:\/\/localhost:\d+/);
      assert.match(stdout, /Logged in as: +joe/);
      assert.match(stdout, /Cluster: +main/);
      assert.match(stdout, /Roles: +admin/);
      assert.match(stdout, /Logins: +root/);
      assert.match(stdout, /Valid until: .*valid for 1[12]h/);
    },
  );

  await t.step(
    "the profile directory has the documented files, readable by the user alone",
    async () => {
      const keys = `${joe.home}/.tsh/keys/localhost`;
      const mode = async (path: string) => ((await Deno.stat(path)).mode! & 0o777).toString(8);
      assert.equal(await mode(`${joe.home}/.tsh`), "700");
      assert.equal(await mode(`${keys}/joe`), "600");
      const { stdout } = await must(["ssh-keygen", "-L", "-f", `${keys}/joe-cert.pub`]);
      assert.match(stdout, /Key ID: "joe"/);
      assert.match(stdout, /Principals:\s+root\n/);
      for (const extension of ["permit-pty", "teleport-roles", "teleport-traits"]) {
        assert.ok(stdout.includes(extension), `no ${extension} in:\n${stdout}`);
      }
      const [from, to] = stdout.match(/from (\S+) to (\S+)/)!.slice(1).map((d) => Date.parse(d));
      const hours = (to! - from!) / 3_600_000;
      assert.ok(hours >= 12 && hours < 12.1, `valid for ${hours} hours`);
      assert.equal(
        (await Deno.readTextFile(`${joe.home}/.tsh/current-profile`)).trim(),
        "localhost",
      );
    },
  );

  await t.step("status is also to be had as JSON", async () => {
    const { stdout } = await joe.tsh(["status", "--format=json"]);
    const status = JSON.parse(stdout);
    assert.equal(status.active.username, "joe");
    assert.equal(status.active.cluster, "main");
    assert.deepEqual(status.active.logins, ["root"]);
  });

  await t.step("a second login with a live certificate asks for nothing", async () => {
    const { code, stdout } = await joe.tsh(["login"]);
    assert.equal(code, 0);
    assert.match(stdout, /Logged in as: +joe/);
  });

  await t.step(
    "the certificate goes into a running ssh-agent and leaves it at logout",
    async () => {
      const agent = await must(["ssh-agent", "-s", "-a", `${cluster.dir}/agent.sock`]);
      const pid = Number(agent.stdout.match(/SSH_AGENT_PID=(\d+)/)![1]);
      try {
        const env = { SSH_AUTH_SOCK: `${cluster.dir}/agent.sock` };
        const ann = await cluster.enrol("ann");
        const login = await ann.tsh(
          ["login", `--ca-pin=${await cluster.caPin()}`],
          { stdin: `${PASSWORD}\n${await ann.authenticator!.code()}\n`, env },
        );
        assert.equal(login.code, 0, login.stderr);
        const held = await must(["ssh-add", "-l"], { env });
        assert.match(held.stdout, /teleport:ann \(ED25519-CERT\)/);
        assert.equal((await ann.tsh(["logout"], { env })).code, 0);
        assert.equal((await run(["ssh-add", "-l"], { env })).code, 1, "the agent still holds keys");
        const status = await ann.tsh(["status"], { env });
        assert.match(status.stdout + status.stderr, /Not logged in/);
        assert.notEqual(status.code, 0);
      } finally {
        Deno.kill(pid, "SIGTERM");
      }
    },
  );

  await t.step("--out writes an identity file that works by itself", async () => {
    const identity = `${cluster.dir}/identity`;
    const cy = await cluster.enrol("cy");
    await cy.login(["--out", identity]);
    assert.equal((await Deno.stat(identity)).mode! & 0o777, 0o600);
    const result = await run([
      ...[bin("tsh"), `--proxy=${cluster.proxy}`, "-i", identity],
      ...["ssh", "root@node-1", "id", "-un"],
    ], { env: { HOME: `${cluster.dir}/nowhere`, TELEPORT_PROXY: "", TELEPORT_USER: "" } });
    assert.equal(result.stdout, "root\n", result.stderr);
  });

  await t.step("attack 45: a code is good once", async () => {
    const bob = await cluster.enrol("bob");
    const code = await bob.authenticator!.code();
    const login = () =>
      bob.tsh(["login", `--ca-pin=${cluster_pin}`], { stdin: `${PASSWORD}\n${code}\n` });
    const cluster_pin = await cluster.caPin();
    const both = await Promise.all([login(), login()]);
    assert.deepEqual(both.map((r) => r.code).sort(), [0, 1], both.map((r) => r.stderr).join());
    await bob.tsh(["logout"]);
    const third = await login();
    assert.equal(third.code, 1);
    assert.match(third.stderr, /invalid username or password/);
  });

  await t.step(
    "attack 47: the fifth failure locks the account, also for the right password",
    async () => {
      const eve = await cluster.enrol("eve");
      const pin = await cluster.caPin();
      const attempt = (password: string, code: string) =>
        eve.tsh(["login", `--ca-pin=${pin}`], { stdin: `${password}\n${code}\n` });
      for (let i = 0; i < 5; i++) assert.equal((await attempt("wrong password", "000000")).code, 1);
      const right = await attempt(PASSWORD, await eve.authenticator!.code());
      assert.equal(right.code, 1);
      assert.match(right.stderr, /locked until|exceeds 5 failed login attempts/);
    },
  );

  await t.step("an unknown user gets the same answer as a wrong password", async () => {
    const pin = await cluster.caPin();
    const login = (user: string) =>
      joe.tsh(["--user", user, "login", `--ca-pin=${pin}`], {
        stdin: "wrong password\n000000\n",
        env: { HOME: `${cluster.dir}/empty-${user}` },
      });
    const known = await login("joe");
    const unknown = await login("nobody-there");
    assert.equal(unknown.code, 1);
    assert.equal(
      unknown.stderr.replaceAll("nobody-there", "joe"),
      known.stderr,
    );
  });

  await t.step("a wrong CA pin stops the login before the password is sent", async () => {
    const result = await joe.tsh(["login", `--ca-pin=sha256:${"0".repeat(64)}`], {
      stdin: `${PASSWORD}\n${await new Authenticator("JBSWY3DPEHPK3PXP").code()}\n`,
      env: { HOME: `${cluster.dir}/fresh` },
    });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /pin/i);
  });

  await t.step("an untrusted proxy is never accepted silently", async () => {
    const result = await joe.tsh(["login"], {
      stdin: `${PASSWORD}\n000000\n`,
      env: { HOME: `${cluster.dir}/fresh` },
    });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /--ca-pin/);
  });

  await t.step("every login, good or bad, is in the audit log", async () => {
    const logins = (await cluster.events()).filter((e) => e.event === "user.login");
    assert.ok(logins.some((e) => e.user === "joe" && e.success === true && e.code === "T1000I"));
    assert.ok(logins.some((e) => e.user === "eve" && e.success === false && e.code === "T1000W"));
    assert.ok(!JSON.stringify(logins).includes(PASSWORD));
  });
});
