/** Limits that roles set: refused with the reason, and in the audit log. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { Mint, TRAITS } from "../attacks/mint.ts";
import { Cluster, type Person } from "../harness/cluster.ts";
import { bin, eventually, run } from "../harness/run.ts";

const ROLE = (name: string, options: string) =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  options: {${options}}
  allow: {logins: [root], node_labels: {'*': '*'}}
`;

Deno.test("limits of connections and sessions", async (t) => {
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1", "node-2"],
    auth: "session_control_timeout: 4s",
  });
  const roles = [
    ROLE("two", "max_connections: 2"),
    ROLE("single", "max_sessions: 1"),
    ROLE("strict", "disconnect_expired_cert: true"),
  ];
  await Deno.writeTextFile(`${cluster.dir}/roles.yaml`, roles.join("---\n"));
  await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
  const two = await cluster.personWith("two", "two");
  const single = await cluster.personWith("single", "single");

  const hold = (person: Person, node: string) =>
    Background.start(
      [bin("tsh"), "ssh", `root@${node}`, "echo up; sleep 1000"],
      person.env,
      (said) => said.includes("up"),
    );
  const refusal = /too many concurrent ssh connections for user "two" \(max=2\)/;
  const tries = (node: string) => two.tsh(["ssh", `root@${node}`, "true"]);
  const event = (name: string, user: string) =>
    eventually(
      `${name} of ${user}`,
      async () => (await cluster.events()).find((e) => e.event === name && e.user === user),
    );

  await t.step("max_connections counts over all nodes, and what ends is given back", async () => {
    await using _ = await hold(two, "node-1");
    {
      await using second = await hold(two, "node-2");
      for (const node of ["node-1", "node-2"]) {
        const third = await tries(node);
        assert.equal(third.code, 255);
        assert.match(third.stderr, refusal);
      }
      await second[Symbol.asyncDispose]();
    }
    await eventually("a place", async () => (await tries("node-2")).code === 0);
    const rejected = await event("session.rejected", "two");
    assert.deepEqual(
      [rejected.code, rejected.reason, rejected.max, rejected.login],
      ["T1006W", "max_connections limit reached", 2, "root"],
    );
  });

  await t.step(
    "the connections of a node that was killed count no more, after a while",
    async () => {
      await using _first = await hold(two, "node-2");
      await using _second = await hold(two, "node-2");
      await cluster.daemon("node-2").stop("SIGKILL");
      assert.match((await tries("node-1")).stderr, refusal);
      await eventually("the leases to run out", async () => (await tries("node-1")).code === 0);
      await cluster.restart("node-2");
    },
  );

  await t.step("leases outlive a restart of auth", async () => {
    await using _first = await hold(two, "node-1");
    await using _second = await hold(two, "node-2");
    await cluster.daemon("auth").stop("SIGKILL");
    await cluster.restart("auth");
    await eventually(
      "the nodes to be back",
      async () => refusal.test((await tries("node-1")).stderr),
    );
    // Renewed meanwhile: longer than a lease lasts.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    assert.match((await tries("node-1")).stderr, refusal);
  });

  await t.step("while auth is away nobody with the limit is let in, and sessions end", async () => {
    await eventually("a place", async () => (await tries("node-1")).code === 0);
    await using session = await hold(two, "node-1");
    await cluster.daemon("auth").stop("SIGKILL");
    const refused = await tries("node-1");
    assert.equal(refused.code, 255);
    assert.match(refused.stderr, /cannot be told now how many connections "two" has \(max=2\)/);
    assert.equal((await single.tsh(["ssh", "root@node-1", "true"])).code, 0);
    assert.equal((await session.status).code, 255);
    assert.match(session.said, /auth service was out of reach for 4s/);
    await cluster.restart("auth");
    const disconnected = await event("client.disconnect", "two");
    assert.match(disconnected.reason as string, /out of reach for 4s/);
  });

  await t.step("max_sessions bounds the sessions of one connection", async () => {
    const ssh = ["ssh", ...await single.sshArgs(), "-o", `ControlPath=${cluster.dir}/mux`];
    await using master = await Background.start(
      [...ssh, "-o", "ControlMaster=yes", "root@node-1.main", "echo up; sleep 1000"],
      single.env,
      (said) => said.includes("up"),
    );
    const second = await run([...ssh, "root@node-1.main", "true"], { env: single.env });
    // Of a session that is refused, ssh makes a connection of its own.
    assert.match(second.stderr, /session request failed/);
    assert.match(master.said, /too many session channels for user "single" \(max=1\)/);
    const rejected = await event("session.rejected", "single");
    assert.deepEqual([rejected.reason, rejected.max], ["max_sessions limit reached", 1]);
  });

  await t.step("disconnect_expired_cert ends a connection with its certificate", async () => {
    const mint = await Mint.open(cluster);
    const key = await mint.certified({
      validity: "-1m:+8s",
      options: [TRAITS, `extension:teleport-roles={"version":"v1","roles":["strict"]}`],
    });
    const ssh = [
      "ssh",
      ...await single.sshArgs(),
      "-i",
      key,
      "-o",
      `CertificateFile=${key}-cert.pub`,
    ];
    const result = await run([...ssh, "root@node-1.main", "sleep 1000"], { env: single.env });
    assert.equal(result.code, 255);
    assert.match(result.stderr, /client certificate expired at \d{4}-/);
    const disconnected = await event("client.disconnect", "mallory");
    assert.match(disconnected.reason as string, /^client certificate expired at /);
  });
});
