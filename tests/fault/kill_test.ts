import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { eventually, run } from "../harness/run.ts";

Deno.test("kill -9 at any moment", async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const joe = await cluster.enrol("joe");
  await joe.login();

  await t.step("auth has on disk whatever it has acknowledged", async () => {
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round++) {
      const adding = Promise.all(
        Array.from({ length: 2 }, async (_, writer) => {
          for (let i = 0; i < 50; i++) {
            const name = `u-${round}-${writer}-${i}`;
            if ((await cluster.tryTctl(["users", "add", name, "root"])).code !== 0) return;
            acknowledged.push(name);
          }
        }),
      );
      await new Promise((done) => setTimeout(done, 800 + 700 * Math.random()));
      await cluster.daemon("auth").stop("SIGKILL");
      await adding;
      await cluster.restart("auth");
    }
    assert.ok(acknowledged.length > 0, "nothing was acknowledged before the kill");
    const users = JSON.parse((await cluster.tctl(["users", "ls", "--format=json"])).stdout);
    const names = new Set(users.map((u: { metadata: { name: string } }) => u.metadata.name));
    assert.deepEqual(acknowledged.filter((name) => !names.has(name)), []);
  });

  for (const key of ["node-1", "proxy"]) {
    await t.step(`the client of a session hears soon that the ${key} has died`, async () => {
      const marker = `${33_000 + Math.floor(Math.random() * 1000)}.125`;
      const session = joe.tsh(["ssh", "root@node-1", `sleep ${marker}`], { timeoutMs: 30_000 });
      await eventually(
        "the command to run",
        async () => (await run(["pgrep", "-f", `^sleep ${marker}`])).code === 0,
      );
      await cluster.daemon(key).stop("SIGKILL");
      const result = await session;
      assert.equal(result.code, 255);
      assert.notEqual(result.stderr, "");
      await cluster.restart(key);
      await eventually(
        "a command on the node",
        async () => (await joe.tsh(["ssh", "root@node-1", "true"])).code === 0,
      );
      const left = await run(["pgrep", "-f", `^sleep ${marker}$`]);
      const orphans = left.stdout.split("\n").filter(Boolean);
      // What a killed node leaves running is ended here: nobody else knows of it.
      for (const pid of orphans) Deno.kill(Number(pid), "SIGKILL");
    });
  }
});
