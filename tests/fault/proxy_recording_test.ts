/** Recordings at the proxy when things break: the proxy is killed, auth goes away. */
import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { seededRandom } from "../harness/random.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually } from "../harness/run.ts";
import { Sshd } from "../harness/sshd.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { Terminal } from "../harness/terminal.ts";
import { assertNoGap, MAY_BE_LOST_MS, TICKS, ticksOf } from "../harness/ticks.ts";

interface Setting extends AsyncDisposable {
  cluster: Cluster;
  /** A terminal on the sshd behind the proxy that shows ticks. */
  ticking(): Promise<Terminal>;
}

async function setUp(mode: "proxy" | "proxy-sync"): Promise<Setting> {
  await using stack = new AsyncDisposableStack();
  const port = freePort();
  const cluster = stack.use(
    await Cluster.separate({
      secondFactor: "off",
      nodes: [],
      auth: `session_recording: ${mode}`,
      proxy: `unregistered_targets: ["localhost:${port}", "127.0.0.0/8:${port}"]`,
    }),
  );
  stack.use(await Sshd.start(cluster, { port, names: ["localhost"] }));
  const agent = stack.use(await SshAgent.start(cluster.dir));
  const joe = await cluster.enrol("joe", ["root"]);
  await joe.login();
  await agent.add(`${joe.home}/.tsh/keys/localhost/joe`);
  const kept = stack.move();
  return {
    cluster,
    async ticking() {
      const terminal = await Terminal.open(
        [bin("tsh"), "ssh", "-A", "-t", "-p", `${port}`, "root@localhost", TICKS],
        { dir: cluster.dir, env: { ...joe.env, ...agent.env } },
      );
      await terminal.shows(/tick \d\d/);
      return terminal;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function eventsOf(cluster: Cluster, name: string) {
  return (await cluster.events()).filter(({ event }) => event === name);
}

const seed = Math.floor(Math.random() * 2 ** 31);

Deno.test(`kill -9 of the proxy: what it recorded reaches auth (seed ${seed})`, async (t) => {
  const next = seededRandom(seed);
  await using setting = await setUp("proxy");
  const { cluster } = setting;
  const recordings = new Recordings(cluster);
  for (let round = 1; round <= 5; round++) {
    const after = Math.floor(next() * 2_500);
    await t.step(`${after} ms into the session`, async () => {
      const before = (await eventsOf(cluster, "session.start")).length;
      const terminal = await setting.ticking();
      const start = await eventually(
        "session.start",
        async () => (await eventsOf(cluster, "session.start"))[before],
      );
      await new Promise((resolve) => setTimeout(resolve, after));
      const killedAt = Date.now();
      await cluster.daemon("proxy").stop("SIGKILL");
      await terminal.shows(/ended with status 255/);
      await terminal.close();
      await cluster.restart("proxy");
      await recordings.finished(`${start.sid}`);
      const ends = await eventually("session.end", async () => {
        const all = await eventsOf(cluster, "session.end");
        const own = all.filter(({ sid }) => sid === start.sid);
        return own.length > 0 && own;
      });
      assert.deepEqual(ends.map(({ torn, user }) => [torn, user]), [[true, "joe"]]);
      const ticks = ticksOf(await recordings.output(`${start.sid}`));
      // What was shown for less than that before the kill may be all there was.
      if (ticks.length === 0 && after < MAY_BE_LOST_MS) return;
      assertNoGap(ticks);
      const lost = killedAt - ticks.at(-1)!.at;
      assert.ok(lost < MAY_BE_LOST_MS, `the last ${lost} ms are missing`);
    });
  }
  const again = await setting.ticking();
  await again.close();
});

Deno.test("proxy-sync: a session ends with the reason when its recording cannot reach auth", async () => {
  await using setting = await setUp("proxy-sync");
  const { cluster } = setting;
  const terminal = await setting.ticking();
  await cluster.daemon("auth").stop("SIGKILL");
  await terminal.shows(/record|auth service/i, 60_000);
  await terminal.shows(/ended with status 255/, 60_000);
  await terminal.close();
  await cluster.restart("auth");
});
