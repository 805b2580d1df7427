import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { eventually } from "../harness/run.ts";

Deno.test("any daemon may be restarted", async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"] });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const works = async () => {
    const result = await joe.tsh(["ssh", "root@node-1", "echo here"]);
    return result.stdout === "here\n";
  };
  assert.ok(await works());

  await t.step("a node whose auth is away serves people who hold a certificate", async () => {
    await cluster.daemon("auth").stop("SIGKILL");
    assert.ok(await works());
  });

  await t.step("also after its own restart and the proxy's", async () => {
    await cluster.daemon("node-1").stop("SIGKILL");
    await cluster.restart("node-1");
    await cluster.daemon("proxy").stop("SIGKILL");
    await cluster.restart("proxy");
    await eventually("the node to be reached", works);
    const login = await joe.tsh(["--user", "joe", "login"], {
      env: { HOME: `${cluster.dir}/other` },
      stdin: "x\n000000\n",
    });
    assert.notEqual(login.code, 0);
  });

  await t.step("proxy and node find auth again by themselves, and lose no event", async () => {
    await cluster.restart("auth");
    await eventually("the node in the list", async () => {
      const { stdout, code } = await joe.tsh(["ls", "--format=json"]);
      return code === 0 && JSON.parse(stdout).length === 1;
    });
    await eventually("the events of the time without auth", async () => {
      const events = await cluster.events();
      return events.filter((e) => e.event === "exec" && e.user === "joe").length >= 3;
    });
  });

  for (const key of ["node-1", "proxy", "auth"]) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await t.step(`${key} after ${signal}`, async () => {
        const status = await cluster.daemon(key).stop(signal);
        if (signal === "SIGTERM") assert.equal(status.code, 0);
        await cluster.restart(key);
        await eventually("a command on the node", works);
      });
    }
  }
});
