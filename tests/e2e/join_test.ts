import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { Daemon } from "../harness/daemon.ts";
import { freePort } from "../harness/ports.ts";

Deno.test("joining a cluster", async (t) => {
  await using cluster = await Cluster.separate({ nodes: [] });
  const pin = await cluster.caPin();
  let serial = 0;

  /** Starts a daemon by flags alone, as `tctl nodes add` prints them. */
  const join = (token: string, options: { roles?: string; pin?: string; dir?: string } = {}) =>
    Daemon.start([
      `--roles=${options.roles ?? "node"}`,
      `--token=${token}`,
      `--ca-pin=${options.pin ?? pin}`,
      `--auth-server=127.0.0.1:${cluster.ports.auth}`,
      `--nodename=joiner-${++serial}`,
    ], {
      TELEPORT_CONFIG: btoa(
        `teleport: {data_dir: ${options.dir ?? `${cluster.dir}/joiner-${serial}`}}\n` +
          `ssh_service: {listen_addr: "127.0.0.1:${freePort()}"}\n` +
          `proxy_service: {listen_addr: "127.0.0.1:${freePort()}", web_listen_addr: "127.0.0.1:${freePort()}"}\n`,
      ),
    });

  const refused = async (daemon: Daemon, pattern: RegExp) => {
    const status = await daemon.ended;
    await daemon.stop();
    assert.notEqual(status.code, 0);
    assert.match(daemon.log, pattern);
  };

  await t.step("with what `tctl nodes add` prints", async () => {
    const { stdout } = await cluster.tctl(["nodes", "add"]);
    assert.ok(stdout.includes(`--ca-pin=${pin}`), stdout);
    assert.match(stdout, /This token will expire in 30 minutes/);
    const daemon = join(stdout.match(/--token=([0-9a-f]{32})/)![1]!);
    await daemon.logged(/Teleport is ready/);
    await daemon.stop();
  });

  await t.step("with a token that is good for several joins and roles", async () => {
    const token = await cluster.token("node,proxy");
    for (const roles of ["node", "node"]) {
      const daemon = join(token, { roles });
      await daemon.logged(/Teleport is ready/);
      await daemon.stop();
    }
  });

  await t.step(
    "attack 54: a wrong pin is refused by the joiner, which keeps its token to itself",
    async () => {
      const token = await cluster.token("node");
      await refused(join(token, { pin: `sha256:${"1".repeat(64)}` }), /pin/i);
      assert.ok(!cluster.daemon("auth").log.includes(token));
    },
  );

  await t.step(
    "attack 52: a guessed token",
    () => refused(join("0".repeat(32)), /token is not valid/),
  );

  await t.step("attack 52: a role that the token does not give", async () => {
    await refused(
      join(await cluster.token("node"), { roles: "proxy" }),
      /does not allow "Proxy" role/,
    );
  });

  await t.step("a token that was revoked or has expired", async () => {
    const token = await cluster.token("node");
    await cluster.tctl(["tokens", "rm", token]);
    await refused(join(token), /token is not valid/);
    const { stdout } = await cluster.tctl(["tokens", "add", "--type=node", "--ttl=1s"]);
    await new Promise((done) => setTimeout(done, 1500));
    await refused(join(stdout.match(/[0-9a-f]{32}/)![0]), /token is not valid/);
  });

  await t.step("a data directory that is no place for secrets", async () => {
    await refused(join("0".repeat(32), { dir: "/proc/nowhere" }), /\/proc\/nowhere/);
  });
});
