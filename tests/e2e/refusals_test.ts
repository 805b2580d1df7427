import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { eventually, must } from "../harness/run.ts";

const ROLE = (name: string, allow: string) =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  options: {max_session_ttl: 1h}
  allow: ${allow}
`;

Deno.test("refusals say what, why and what next", async (t) => {
  await using cluster = await Cluster.separate();
  const dir = cluster.dir;
  const roles = `${ROLE("staging", "{logins: [root], node_labels: {env: staging}}")}---
${ROLE("games", "{logins: [games], node_labels: {'*': '*'}}")}---
${ROLE("ghost", "{logins: [no-such-os-user], node_labels: {'*': '*'}}")}---
${
    ROLE("nopty", "{logins: [root], node_labels: {'*': '*'}}").replace(
      "options: {",
      "options: {port_forwarding: false, ",
    )
  }`;
  await Deno.writeTextFile(`${dir}/roles.yaml`, roles);
  await cluster.tctl(["create", `${dir}/roles.yaml`]);

  const withRole = async (role: string) => {
    const person = await cluster.enrol(`u-${role}`);
    await cluster.tctl(["users", "update", `u-${role}`, `--set-roles=${role}`]);
    await person.login();
    return person;
  };

  await t.step("a node whose labels the role does not allow", async () => {
    const person = await withRole("staging");
    const result = await person.tsh(["ssh", "root@node-1", "true"]);
    assert.equal(result.code, 255, result.stdout + result.stderr);
    assert.match(result.stderr, /not authorized to login as root.*access to server denied/);
    const { stdout } = await person.tsh(["ls", "--format=json"]);
    assert.deepEqual(JSON.parse(stdout), []);
  });

  await t.step("a login the role does not allow", async () => {
    const person = await withRole("games");
    const result = await person.tsh(["ssh", "root@node-1", "true"]);
    assert.equal(result.code, 255);
    assert.match(result.stderr, /root/);
  });

  await t.step("a login that the node's operating system does not have", async () => {
    const person = await withRole("ghost");
    const result = await person.tsh(["ssh", "no-such-os-user@node-1", "true"]);
    assert.equal(result.code, 255);
    assert.match(result.stderr, /no-such-os-user/);
  });

  await t.step("role TTLs cap what is asked for (attack 24)", async () => {
    const person = await cluster.enrol("u-ttl");
    await cluster.tctl(["users", "update", "u-ttl", "--set-roles=nopty"]);
    const { stdout } = await person.login(["--ttl=600"]);
    assert.match(stdout, /valid for (59m|1h0m0s)/);
  });

  await t.step(
    "an expired certificate asks for a new login, and fails without a terminal",
    async () => {
      const person = await cluster.enrol("u-expired");
      await person.login(["--ttl=1"]);
      const cert = `${person.home}/.tsh/keys/localhost/u-expired-cert.pub`;
      const until = (await must(["ssh-keygen", "-L", "-f", cert])).stdout.match(/to (\S+)$/m)![1]!;
      await new Promise((done) =>
        setTimeout(done, Math.max(0, Date.parse(until) - Date.now()) + 1500)
      );
      const result = await person.tsh(["ssh", "root@node-1", "true"]);
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, /expired/);
      assert.match(result.stderr, /tsh login/);
      // The server's own opinion, with a client that does not look at the clock.
      const args = await person.sshArgs();
      const stock = await import("../harness/run.ts").then(({ run }) =>
        run(["ssh", ...args, "root@node-1.main", "true"])
      );
      assert.notEqual(stock.code, 0);
    },
  );

  await t.step("an unknown node", async () => {
    const joe = await cluster.enrol("joe");
    await joe.login();
    const result = await joe.tsh(["ssh", "root@no-such-node", "true"]);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /no-such-node/);
  });

  await t.step("a name that two nodes have lists both", async () => {
    const token = await cluster.token("node");
    await cluster.startNode("node-1", {
      key: "node-1-again",
      teleport: `auth_token: ${token}\n  ca_pin: "${await cluster.caPin()}"`,
    });
    const joe = await cluster.enrol("jim");
    await joe.login();
    const result = await eventually("the second node-1 to be known", async () => {
      const tried = await joe.tsh(["ssh", "root@node-1", "true"]);
      return tried.code === 0 ? undefined : tried;
    });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /ambiguous host could match multiple nodes/);
    assert.equal(result.stderr.match(/[0-9a-f]{8}-[0-9a-f-]{27}/g)?.length, 2, result.stderr);
  });

  await t.step("a user who is removed keeps nothing new: no login, no certificate", async () => {
    const gone = await cluster.enrol("gone");
    await cluster.tctl(["users", "rm", "gone"]);
    await assert.rejects(gone.login(), /invalid username or password/);
  });

  await t.step("refusals at the node are in the audit log", async () => {
    const denied = (await cluster.events()).filter((e) => e.event === "auth");
    assert.ok(
      denied.some((e) => e.code === "T3007W" && e.user === "u-staging" && e.success === false),
    );
  });
});
