/** The node's clock is set forward and back while sessions run; auth's and the programs' are right. */
import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually, must } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";
import { assertNoGap, interrupt, TICKS, ticksOf } from "../harness/ticks.ts";

const HOUR_MS = 3_600_000;
/** Auth believes a clock that is as near as this. */
const TOLERANCE_MS = 5 * 60_000;

/** libfaketime, beside `faketime`: it gives a process another time of day, and leaves its timers. */
async function fakeClock(file: string): Promise<Record<string, string>> {
  const { stdout } = await must([
    "sh",
    "-c",
    "find /usr/lib -name libfaketimeMT.so.1 | head -n 1",
  ]);
  return {
    LD_PRELOAD: stdout.trim(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    DONT_FAKE_MONOTONIC: "1",
  };
}

Deno.test("a session and its recording outlast a clock that is set forward and back", async () => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const clock = `${cluster.dir}/clock`;
  const set = (offset: string) => Deno.writeTextFile(clock, `${offset}\n`);
  await set("+0");
  await cluster.daemon("node-1").stop();
  await cluster.restart("node-1", await fakeClock(clock));

  const terminal = await Terminal.open(
    [bin("tsh"), "ssh", "-t", "root@node-1", TICKS],
    { dir: cluster.dir, env: joe.env },
  );
  try {
    let ticks = 0;
    const goesOn = async () => {
      const from = ticks + 40;
      await eventually("the session to go on", async () => {
        ticks = Number((await terminal.screen()).match(/tick (\d+) \d+\n(?!tick)/)?.[1] ?? 0);
        return ticks > from;
      });
    };
    await goesOn();
    await set("+1h");
    await goesOn();
    const { stdout } = await joe.must([bin("tsh"), "ssh", "root@node-1", "echo also now"]);
    assert.equal(stdout, "also now\n");
    await set("-2h");
    await goesOn();
    await set("+0");
    await goesOn();
    await interrupt(terminal);
  } finally {
    await terminal.close();
  }

  const recordings = new Recordings(cluster);
  const start = (await cluster.events()).find(({ event, interactive }) =>
    event === "session.start" && interactive
  )!;
  const sid = String(start.sid);
  assert.equal((await recordings.finished(sid)).torn, false);
  assertNoGap(ticksOf(await recordings.output(sid)));
  const times = (await recordings.read(sid)).events.map(([time]) => time);
  assert.deepEqual(times, times.toSorted((a, b) => a - b), "times go back");
  assert.ok(times.at(-1)! * 1000 < HOUR_MS, `the recording is ${times.at(-1)} s long`);

  const ends = await eventually("session.end", async () => {
    const found = (await cluster.events()).filter((e) =>
      e.event === "session.end" && e.sid === sid
    );
    return found.length > 0 && found;
  });
  assert.equal(ends.length, 1);
  const events = await cluster.events();
  for (const { event, time } of events) {
    const off = Math.abs(Date.parse(String(time)) - Date.now());
    assert.ok(off <= TOLERANCE_MS, `${event} is stamped ${time}`);
  }
  // What the node claimed meanwhile is kept beside it.
  const exec = events.find(({ event, command }) => event === "exec" && command === "echo also now");
  assert.ok(exec?.reported_time, JSON.stringify(exec));
});
