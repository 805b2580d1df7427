/** Every event once, and no false alarm, whatever is killed. */
import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { eventually } from "../harness/run.ts";

Deno.test("kill -9 of node and auth: each event is stored once, and no gap is reported", async () => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const done: string[] = [];
  let n = 0;
  const work = async (count: number) => {
    await Promise.all(
      Array.from({ length: count }, async () => {
        const command = `true ${n++}`;
        if ((await joe.tsh(["ssh", "root@node-1", command])).code === 0) done.push(command);
      }),
    );
  };
  for (const key of ["auth", "node-1", "auth"]) {
    const working = work(4);
    await new Promise((resolve) => setTimeout(resolve, 400 + 400 * Math.random()));
    await cluster.daemon(key).stop("SIGKILL");
    await working;
    // The node goes on without auth: what happens meanwhile waits in its spool.
    if (key === "auth") await work(2);
    await cluster.restart(key);
    await eventually("the node", async () => {
      const before = done.length;
      await work(1);
      return done.length > before;
    });
  }
  assert.ok(done.length >= 6, `${done.length} commands have worked`);
  await eventually("what was done in the log", async () => {
    const logged = new Set((await cluster.events()).map(({ command }) => command));
    return done.every((command) => logged.has(command));
  });
  const events = await cluster.events();
  const uids = events.map(({ uid }) => uid);
  assert.equal(new Set(uids).size, uids.length, "an event was stored twice");
  assert.deepEqual(events.filter(({ event }) => event === "audit.gap"), []);
  const ends = events.filter(({ event }) => event === "session.end").map(({ sid }) => sid);
  assert.equal(new Set(ends).size, ends.length, "a session has ended twice");
});
