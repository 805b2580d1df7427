/** Recordings at the proxy when things break: the proxy is killed, auth goes away. */
import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually } from "../harness/run.ts";
import { Sshd } from "../harness/sshd.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { Terminal } from "../harness/terminal.ts";

/** What was shown longer than this before a kill must be in the recording, in milliseconds. */
const MAY_BE_LOST_MS = 3_000;

/** Prints a line with the time every few milliseconds. */
const TICKS = 'i=0; while :; do i=$((i+1)); echo "tick $i $(date +%s%3N)"; sleep 0.02; done';

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

Deno.test("kill -9 of the proxy: what it recorded reaches auth, and the end is reported once", async () => {
  await using setting = await setUp("proxy");
  const { cluster } = setting;
  const terminal = await setting.ticking();
  const start = await eventually(
    "session.start",
    async () => (await eventsOf(cluster, "session.start"))[0],
  );
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const killedAt = Date.now();
  await cluster.daemon("proxy").stop("SIGKILL");
  await terminal.shows(/ended with status 255/);
  await terminal.close();
  await cluster.restart("proxy");
  const recordings = new Recordings(cluster);
  await recordings.finished(`${start.sid}`);
  const ends = (await eventsOf(cluster, "session.end")).filter(({ sid }) => sid === start.sid);
  assert.deepEqual(ends.map(({ torn, user }) => [torn, user]), [[true, "joe"]]);
  const output = await recordings.output(`${start.sid}`);
  const ticks = [...output.matchAll(/tick (\d+) (\d{13})\r/g)].map(([, n, at]) => [+n!, +at!]);
  assert.deepEqual(ticks.map(([n]) => n), ticks.map((_, i) => i + 1), "ticks are missing");
  const last = ticks.at(-1)![1]!;
  assert.ok(last > killedAt - MAY_BE_LOST_MS, `the last ${killedAt - last} ms are missing`);
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
