/**
 * Recordings when things break: processes die at any moment, disks are full, auth is away. Run as
 * root, because disks of a few kilobytes are mounted.
 */
import assert from "node:assert/strict";
import { Cluster, type Person } from "../harness/cluster.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually, must } from "../harness/run.ts";
import { seededRandom } from "../harness/random.ts";
import { Terminal } from "../harness/terminal.ts";
import { assertNoGap, interrupt, MAY_BE_LOST_MS, TICKS, ticksOf } from "../harness/ticks.ts";

const seed = Math.floor(Math.random() * 2 ** 31);

const next = seededRandom(seed);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function openTicking(joe: Person, command = TICKS): Promise<Terminal> {
  const terminal = await Terminal.open(
    [bin("tsh"), "ssh", "-t", "root@node-1", command],
    { dir: joe.cluster.dir, env: joe.env },
  );
  await terminal.shows(/tick \d+/);
  return terminal;
}

/** Runs a command on a terminal of the node to its end, which must show the pattern. */
async function onTerminal(joe: Person, command: string, wanted: RegExp): Promise<string> {
  const terminal = await Terminal.open(
    [bin("tsh"), "ssh", "-t", "root@node-1", command],
    { dir: joe.cluster.dir, env: joe.env },
  );
  try {
    await terminal.shows(wanted, 60_000);
    return await terminal.screen();
  } finally {
    await terminal.close();
  }
}

async function eventsOf(cluster: Cluster, name: string) {
  return (await cluster.events()).filter(({ event }) => event === name);
}

/** The session that has begun since there were `before`. */
async function newSession(cluster: Cluster, before: number): Promise<string> {
  const event = await eventually("session.start", async () => {
    const found = await eventsOf(cluster, "session.start");
    return found.length > before && found.at(-1);
  });
  return String(event.sid);
}

async function assertEndsOnce(cluster: Cluster, sid: string): Promise<Record<string, unknown>> {
  await eventually(
    "session.end",
    async () => (await eventsOf(cluster, "session.end")).some((event) => event.sid === sid),
  );
  const ends = (await eventsOf(cluster, "session.end")).filter((event) => event.sid === sid);
  assert.equal(ends.length, 1, "session.end is there more than once");
  return ends[0]!;
}

async function assertServes(joe: Person): Promise<void> {
  await eventually(
    "a session",
    async () => (await joe.tsh(["ssh", "root@node-1", "echo serves"])).stdout === "serves\n",
  );
}

async function spooled(cluster: Cluster): Promise<string[]> {
  const { stdout } = await must([
    ...["find", `${cluster.dir}/node-1/log/upload`, "-name", "*.cast.gz", "-type", "f"],
  ]);
  return stdout.split("\n").filter(Boolean);
}

/** Mounts a file system of a few kilobytes at the path while the test runs. */
async function withSmallDisk(
  path: string,
  kilobytes: number,
  test: () => Promise<void>,
): Promise<void> {
  await Deno.mkdir(path, { recursive: true });
  await must(["mount", "-t", "tmpfs", "-o", `size=${kilobytes}k,mode=700`, "tmpfs", path]);
  try {
    await test();
  } finally {
    await must(["umount", "--lazy", path]);
  }
}

Deno.test(`recordings outlast kill -9 (seed ${seed})`, async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const recordings = new Recordings(cluster);
  const joe = await cluster.enrol("joe");
  await joe.login();

  for (let round = 1; round <= 8; round++) {
    const after = Math.floor(next() * 2500);
    await t.step(`of the node, ${after} ms into the session`, async () => {
      const before = (await eventsOf(cluster, "session.start")).length;
      const terminal = await openTicking(joe);
      try {
        await pause(after);
        const killedAt = Date.now();
        await cluster.daemon("node-1").stop("SIGKILL");
        await cluster.restart("node-1");
        const sid = await newSession(cluster, before);
        const { torn } = await recordings.finished(sid);
        assert.equal(torn, true);
        const ticks = ticksOf(await recordings.output(sid));
        // What was shown for less than that before the kill may be all there was.
        if (ticks.length > 0 || after > MAY_BE_LOST_MS) {
          assertNoGap(ticks);
          const lost = killedAt - ticks.at(-1)!.at;
          assert.ok(lost < MAY_BE_LOST_MS, `the last ${lost} ms are lost`);
        }
        const { events } = await recordings.read(sid);
        assert.match(String(events.at(-1)), /,m,torn: the daemon .* was killed$/);
        const end = await assertEndsOnce(cluster, sid);
        assert.equal(end.torn, true);
        assert.deepEqual(end.participants, ["joe"]);
        assert.deepEqual(await spooled(cluster), []);
        await assertServes(joe);
      } finally {
        await terminal.close();
      }
    });
  }

  for (let round = 1; round <= 7; round++) {
    const after = Math.floor(next() * 2000);
    await t.step(`of auth, ${after} ms into the session`, async () => {
      const before = (await eventsOf(cluster, "session.start")).length;
      const terminal = await openTicking(joe);
      try {
        const sid = await newSession(cluster, before);
        await pause(after);
        await cluster.daemon("auth").stop("SIGKILL");
        await pause(Math.floor(next() * 1500));
        await cluster.restart("auth");
        await pause(500);
        await interrupt(terminal);
        const { torn } = await recordings.finished(sid, 60_000);
        assert.equal(torn, false);
        const ticks = ticksOf(await recordings.output(sid));
        assertNoGap(ticks);
        const shown = Number((await terminal.screen()).match(/tick (\d+) \d+\n(?!tick)/)?.[1]);
        assert.ok(ticks.at(-1)!.n >= shown, `tick ${shown} was shown and is not recorded`);
        await assertEndsOnce(cluster, sid);
      } finally {
        await terminal.close();
      }
    });
  }

  await t.step(
    "of the proxy: the node ends the session, and nothing of it is missing",
    async () => {
      const before = (await eventsOf(cluster, "session.start")).length;
      const terminal = await openTicking(joe);
      try {
        const sid = await newSession(cluster, before);
        await pause(next() * 1500);
        await cluster.daemon("proxy").stop("SIGKILL");
        await terminal.shows(/ended with status/);
        await cluster.restart("proxy");
        // The session waits for its owner for a while.
        const { torn } = await recordings.finished(sid, 60_000);
        assert.equal(torn, false);
        const ticks = ticksOf(await recordings.output(sid));
        assertNoGap(ticks);
        const shown = Number(
          (await terminal.screen()).match(/tick (\d+) \d+\s+(?!tick)/)?.[1] ?? 0,
        );
        assert.ok(ticks.at(-1)!.n >= shown, `tick ${shown} was shown and is not recorded`);
        await assertEndsOnce(cluster, sid);
      } finally {
        await terminal.close();
      }
    },
  );

  await t.step("auth is away for the whole session, and both are killed after it", async () => {
    const before = (await eventsOf(cluster, "session.start")).length;
    await cluster.daemon("auth").stop("SIGKILL");
    const terminal = await openTicking(joe);
    await pause(500);
    await interrupt(terminal);
    await terminal.close();
    await eventually("the recording on the node", async () => (await spooled(cluster)).length > 0);
    await cluster.daemon("node-1").stop("SIGKILL");
    await cluster.restart("auth");
    await cluster.restart("node-1");
    const sid = await newSession(cluster, before);
    const { torn } = await recordings.finished(sid);
    assert.equal(torn, false);
    assertNoGap(ticksOf(await recordings.output(sid)));
    const end = await assertEndsOnce(cluster, sid);
    assert.equal(end.torn, undefined);
    await eventually("an empty spool", async () => (await spooled(cluster)).length === 0);
  });

  await t.step("auth is killed again and again while a recording arrives", async () => {
    const before = (await eventsOf(cluster, "session.start")).length;
    const terminal = await openTicking(joe, `${TICKS.replace("0.02", "0.002")}`);
    try {
      const sid = await newSession(cluster, before);
      for (let kill = 0; kill < 3; kill++) {
        await pause(next() * 700);
        await cluster.daemon("auth").stop("SIGKILL");
        await cluster.restart("auth");
      }
      await interrupt(terminal);
      await recordings.finished(sid, 60_000);
      assertNoGap(ticksOf(await recordings.output(sid)));
      await assertEndsOnce(cluster, sid);
    } finally {
      await terminal.close();
    }
  });
});

Deno.test("sessions whose recording must be at auth", async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const recordings = new Recordings(cluster);
  const joe = await cluster.enrol("joe");
  await joe.login();
  await cluster.daemon("auth").stop();
  await cluster.start("auth", ["auth"], {
    nodename: "auth-1",
    ports: cluster.ports,
    auth: "session_recording: node-sync",
  });
  await eventually("the setting at the node", async () => {
    await onTerminal(joe, "true", /ended with status 0/);
    return (await spooled(cluster)).length === 0 &&
      (await eventsOf(cluster, "session.end")).at(-1)?.session_recording === "node-sync";
  });

  await t.step("end with the reason when auth goes away, and do not start without it", async () => {
    const before = (await eventsOf(cluster, "session.start")).length;
    const terminal = await openTicking(joe);
    try {
      const sid = await newSession(cluster, before);
      await eventually("ticks at auth", async () => /tick 20 /.test(await recordings.output(sid)));
      await cluster.daemon("auth").stop("SIGKILL");
      await terminal.shows(/does not reach the auth service[^]*ended with status/, 60_000);
      const refusal = /cannot be recorded at the auth service[^]*ended with status/;
      assert.doesNotMatch(await onTerminal(joe, "echo ran", refusal), /^ran/m);
      await cluster.restart("auth");
      const end = await assertEndsOnce(cluster, sid);
      assert.equal(end.torn, true);
      assertNoGap(ticksOf(await recordings.output(sid)));
      await assertServes(joe);
    } finally {
      await terminal.close();
    }
  });

  await t.step("outlive an auth that is restarted", async () => {
    const before = (await eventsOf(cluster, "session.start")).length;
    const terminal = await openTicking(joe);
    try {
      const sid = await newSession(cluster, before);
      await cluster.daemon("auth").stop("SIGKILL");
      await cluster.restart("auth");
      await pause(1_500);
      await interrupt(terminal);
      assert.doesNotMatch(await terminal.screen(), /does not reach/);
      const { torn } = await recordings.finished(sid);
      assert.equal(torn, false);
      assertNoGap(ticksOf(await recordings.output(sid)));
      await assertEndsOnce(cluster, sid);
    } finally {
      await terminal.close();
    }
  });
});

const NOISE = "base64 /dev/urandom";

Deno.test({ name: "recordings on full disks", ignore: Deno.uid() !== 0 }, async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  const recordings = new Recordings(cluster);
  const joe = await cluster.enrol("joe");
  await joe.login();
  const upload = `${cluster.dir}/node-1/log/upload`;
  const records = `${cluster.dir}/auth/log/records`;
  const filler = `${upload}/filler`;
  const fill = () => Deno.writeFile(filler, new Uint8Array(1 << 22)).catch(() => {});
  const open = (command: string) =>
    Terminal.open(
      [bin("tsh"), "ssh", "-t", "root@node-1", command],
      { dir: cluster.dir, env: joe.env },
    );

  await t.step(
    "the node's: sessions end or are refused with the reason, and then work again",
    () =>
      withSmallDisk(upload, 512, async () => {
        await cluster.daemon("node-1").stop();
        await cluster.restart("node-1");
        const before = (await eventsOf(cluster, "session.start")).length;
        const running = await open(`echo begin; sleep 2; ${NOISE}`);
        try {
          await running.shows(/begin/);
          const sid = await newSession(cluster, before);
          await fill();
          await running.shows(/this host's disk is full[^]*ended with status/);
          const refusal = /disk of this host is full[^]*ended with status/;
          assert.doesNotMatch(await onTerminal(joe, "echo ran", refusal), /^ran/m);
          // What needs no recording goes on.
          await assertServes(joe);
          await Deno.remove(filler);
          await onTerminal(joe, "echo again", /again[^]*ended with status 0/);
          const { torn } = await recordings.finished(sid);
          assert.equal(torn, true);
          assert.match(await recordings.output(sid), /begin/);
          await assertEndsOnce(cluster, sid);
        } finally {
          await running.close();
        }
      }),
  );
  await cluster.daemon("node-1").stop();
  await cluster.restart("node-1");

  await t.step(
    "the node's, where sessions may continue: they do, and the audit log says so",
    () =>
      withSmallDisk(upload, 512, async () => {
        await cluster.daemon("auth").stop();
        await cluster.start("auth", ["auth"], {
          nodename: "auth-1",
          ports: cluster.ports,
          auth: "session_recording_on_full: continue",
        });
        await cluster.daemon("node-1").stop();
        await cluster.restart("node-1");
        await fill();
        const before = (await eventsOf(cluster, "session.end")).length;
        await onTerminal(joe, "echo went on", /went on[^]*ended with status 0/);
        const end = await eventually("session.end", async () => {
          const found = await eventsOf(cluster, "session.end");
          return found.length > before && found.at(-1);
        });
        assert.equal(end.session_recording, "off");
        assert.match(cluster.daemon("node-1").log, /A session is not recorded/);
      }),
  );
  await cluster.daemon("node-1").stop();
  await cluster.restart("node-1");

  await t.step(
    "auth's: the node keeps the recording, and brings it when there is space",
    () =>
      withSmallDisk(records, 64, async () => {
        await cluster.daemon("auth").stop();
        await cluster.restart("auth");
        const before = (await eventsOf(cluster, "session.start")).length;
        await eventually("a session", async () => (await joe.tsh(["ls"])).code === 0);
        await Deno.writeFile(`${records}/filler`, new Uint8Array(1 << 20)).catch(() => {});
        await onTerminal(joe, `${NOISE} | head -c 300000`, /ended with status/);
        const sid = await newSession(cluster, before);
        await eventually(
          "a refusal",
          () => /auth server's disk is full/.test(cluster.daemon("node-1").log),
        );
        assert.equal((await spooled(cluster)).length, 1);
        await must(["mount", "-o", "remount,size=4m", records]);
        await recordings.finished(sid, 60_000);
        assert.ok((await recordings.output(sid)).length >= 300_000);
        await eventually("an empty spool", async () => (await spooled(cluster)).length === 0);
        await assertEndsOnce(cluster, sid);
        await cluster.daemon("auth").stop();
      }),
  );
});
