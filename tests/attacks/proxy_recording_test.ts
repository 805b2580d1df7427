/** What a recording proxy, and those who use it, must not get. */
import assert from "node:assert/strict";
import { Cluster, type Person } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { must, run, type RunResult } from "../harness/run.ts";
import { Sshd } from "../harness/sshd.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { StolenHost } from "./stolen_host.ts";

Deno.test("what a proxy that records must not get", async (t) => {
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1"],
    auth: "session_recording: proxy",
  });
  const key = (await Deno.readTextFile(await newKey(cluster))).trim();
  /** What a host that was taken over gets: a certificate's line. */
  const sign = async (host: string, by = "proxy", role: "Node" | "Proxy" = "Proxy") => {
    await using stolen = await StolenHost.connect(cluster, by, role);
    return (await stolen.api.call("sign.proxied_host", { host, public_key: key })).cert;
  };

  await t.step(
    "attack 22: a certificate in the name of auth, another proxy, the cluster",
    async () => {
      const authId = (await Deno.readTextFile(`${cluster.dir}/auth/host_uuid`)).trim();
      for (
        const host of [
          "auth-1",
          "auth-1.main",
          "AUTH-1",
          authId,
          `${authId}.main`,
          "main",
          "x,auth-1",
        ]
      ) {
        await assert.rejects(sign(host), /may not stand in for|is not the name of a host/, host);
      }
    },
  );

  await t.step("attack 22: what it gets has no role and is for that host alone", async () => {
    await Deno.writeTextFile(`${cluster.dir}/minted-cert.pub`, await sign("web-1"));
    const { stdout } = await must(["ssh-keygen", "-L", "-f", `${cluster.dir}/minted-cert.pub`]);
    assert.match(stdout, /host certificate/);
    assert.match(stdout, /Principals:\s+web-1\s+Critical/);
    assert.doesNotMatch(stdout, /x-teleport-role/);
    assert.doesNotMatch(stdout, /Valid: forever/);
  });

  await t.step("attack 53: a node asks for such a certificate", async () => {
    await assert.rejects(sign("web-1", "node-1", "Node"), /may not call sign\.proxied_host/);
  });

  await t.step("attack 22: a proxy asks while the cluster records at the nodes", async () => {
    await cluster.daemon("auth").stop();
    await cluster.start("auth", ["auth"], { nodename: "auth-1", ports: cluster.ports });
    await assert.rejects(sign("web-1"), /session_recording is "node"/);
  });
});

Deno.test("what users of a proxy that records must not get", async (t) => {
  const port = freePort();
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1"],
    auth: "session_recording: proxy",
    proxy: `unregistered_targets: ["localhost:${port}", "127.0.0.0/8:${port}"]`,
  });
  await using _sshd = await Sshd.start(cluster, { port, names: ["localhost"] });
  const joe = await cluster.enrol("joe", ["root"]);
  const eve = await cluster.enrol("eve", ["root"]);
  await joe.login();
  await eve.login();
  await using agent = await SshAgent.start(cluster.dir);
  await agent.add(keyOf(joe));
  await agent.add(keyOf(eve));

  await t.step("attack 31: one user's connection to the proxy used by another", async () => {
    const result = await ssh(cluster, agent, { outer: joe, inner: eve, port }, ["id"]);
    assert.equal(result.code, 255, result.stdout);
    assert.match(result.stderr, /user "eve" may not use the connection of user "joe"/);
    const honest = await ssh(cluster, agent, { outer: joe, inner: joe, port }, ["id", "-un"]);
    assert.equal(honest.stdout, "root\n", honest.stderr);
  });

  await t.step("attack 8: a login that the certificate does not have", async () => {
    const result = await ssh(cluster, agent, { outer: joe, inner: joe, port, login: "bin" }, [
      "id",
    ]);
    assert.equal(result.code, 255);
    assert.match(result.stderr, /not for the login/);
  });

  await t.step("attack 36: the auth service is reached, not impersonated", async () => {
    // tsh asks for the certificate of an auth server, which no proxy can get.
    const result = await joe.tsh(["ls", "--format=names"]);
    assert.deepEqual([result.code, result.stdout], [0, "node-1\n"], result.stderr);
  });

  await t.step(
    "attack 59: a session that claims to be recorded elsewhere is recorded",
    async () => {
      // Straight to the node, with the line of a proxy and the variable of a proxy, both made up.
      const known = `${cluster.dir}/known_hosts`;
      const { stdout } = await cluster.tctl(["auth", "export", "--type=host"]);
      await Deno.writeTextFile(known, stdout);
      const nodePort = (await cluster.tctl(["nodes", "ls"])).stdout.match(
        /127\.0\.0\.1:(\d+)/,
      )![1]!;
      const script = `${cluster.dir}/forge.sh`;
      await Deno.writeTextFile(
        script,
        // Whoever keeps stderr open keeps the test waiting.
        `exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/${nodePort}\n` +
          `printf 'Teleport-Proxy{"clientAddr":"192.0.2.9:1"}\\0' >&3\n` +
          "cat <&3 & reader=$!\ncat >&3\nkill $reader\n",
      );
      const result = await run([
        ...["ssh", "-F", "/dev/null", "-tt", "-i", keyOf(joe), "-o", "IdentitiesOnly=yes"],
        ...["-o", `ProxyCommand=bash ${script}`, "-o", "HostKeyAlias=node-1.main"],
        ...["-o", `UserKnownHostsFile=${known}`, "-o", "BatchMode=yes"],
        ...["-o", `SetEnv=TELEPORT_PROXIED_SESSION=${crypto.randomUUID()}`],
        ...["root@node-1.main", "echo unseen"],
      ], { env: { SSH_AUTH_SOCK: "" } });
      assert.match(result.stdout, /unseen/, result.stderr);
      const node = await cluster.events().then((events) =>
        events.find((e) => e.event === "session.start" && e.server_hostname === "node-1")
      );
      assert.ok(node, "the node has reported it");
      await recordedAt(cluster, `${node.sid}`);
    },
  );
});

/** The file of a new key's public half. */
async function newKey(cluster: Cluster): Promise<string> {
  const file = `${cluster.dir}/stand-in`;
  await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]);
  return `${file}.pub`;
}

function keyOf(person: Person): string {
  return `${person.home}/.tsh/keys/localhost/${person.name}`;
}

/** Stock ssh through the proxy's subsystem, with a user for each of the two connections. */
async function ssh(
  cluster: Cluster,
  agent: SshAgent,
  who: { outer: Person; inner: Person; port: number; login?: string },
  command: string[],
): Promise<RunResult> {
  const known = `${cluster.dir}/known_any`;
  const { stdout } = await cluster.tctl(["auth", "export", "--type=host"]);
  await Deno.writeTextFile(known, stdout.replace(/^(@cert-authority) \S+/gm, "$1 *"));
  const common = [
    ...["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"],
    ...["-o", `UserKnownHostsFile=${known}`, "-o", "StrictHostKeyChecking=yes"],
  ];
  const outer = [
    ...["ssh", ...common, "-i", keyOf(who.outer), "-p", `${cluster.ports.proxySsh}`],
    ...["-o", "HostKeyAlias=proxy-1.main", "root@127.0.0.1", "-s", `proxy:localhost:${who.port}`],
  ];
  return await run([
    ...["ssh", ...common, "-A", "-i", keyOf(who.inner), "-o", `ProxyCommand=${outer.join(" ")}`],
    ...["-l", who.login ?? "root", "localhost", ...command],
  ], { env: agent.env });
}

/** Waits until the auth service has the recording. */
async function recordedAt(cluster: Cluster, sid: string): Promise<void> {
  const path = `${cluster.dir}/auth/log/records/${sid}.cast.gz`;
  for (let tries = 0;; tries++) {
    try {
      await Deno.stat(path);
      return;
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
