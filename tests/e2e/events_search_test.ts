/** Searching, following and exporting the audit log, and the further places that it goes to. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { Cluster } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { bin, eventually } from "../harness/run.ts";

type Event = Record<string, unknown> & { uid: string; event: string };

/** A receiver that is away until it is opened. */
function receiver(port: number) {
  const bodies: string[] = [];
  const tokens = new Set<string | null>();
  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, async (request) => {
    bodies.push(await request.text());
    tokens.add(request.headers.get("authorization"));
    return new Response(null, { status: 204 });
  });
  return { server, tokens, events: () => jsonLines(bodies.join("")) };
}

function jsonLines(text: string): Event[] {
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

Deno.test("the audit log is searched, followed, exported and delivered", async (t) => {
  const port = freePort();
  const dir = await Deno.makeTempDir({ prefix: "tp-events-" });
  await Deno.writeTextFile(`${dir}/token`, "s3cret\n");
  await using cluster = await Cluster.allInOne({
    secondFactor: "off",
    teleport: `storage:
    audit_events_uri:
      - "file://${dir}/copy"
      - "stdout://"
      - {uri: "http://127.0.0.1:${port}/in", token_file: ${dir}/token}`,
  });
  const joe = await cluster.enrol("joe");
  await joe.login();
  await joe.tsh(["ssh", "root@node-1", "echo the needle"]);
  const tctl = async (...args: string[]) => (await cluster.tctl(["events", ...args])).stdout;
  const json = async (...args: string[]) => JSON.parse(await tctl("ls", "--format=json", ...args));
  const namesOf = (events: Event[]) => [...new Set(events.map(({ event }) => event))].sort();

  await t.step("ls searches by time, type, user, session, host and text", async () => {
    await eventually(
      "the command in the log",
      async () => (await json("--type=exec")).length === 1,
    );
    const all = await json("--from=1h");
    assert.ok(all.length >= 6);
    assert.ok(all.every((e: Event, i: number) => i === 0 || e.time! <= all[i - 1].time));
    assert.deepEqual(namesOf(await json("--type=user.login,user.create")), [
      "user.create",
      "user.login",
    ]);
    assert.deepEqual(await json("--to=1h"), []);
    assert.deepEqual(await json("--user=nobody"), []);
    const [exec] = await json("--text=THE NEEDLE");
    assert.equal(exec.command, "echo the needle");
    const ofSession = await json(`--session=${exec.sid}`, "--server=node-1");
    assert.deepEqual(namesOf(ofSession), ["exec", "session.data", "session.end", "session.start"]);
    assert.equal((await json("--limit=2")).length, 2);
    const text = await tctl("ls", "--type=exec");
    assert.match(text, /^Time \(UTC\) +Code +Event +User +What/);
    assert.match(text, /T3002I exec +joe +root@node-1 echo the needle/);
  });

  await t.step("mistakes are named", async () => {
    for (
      const [args, message] of [
        [["--session=1234"], /is not the whole id of a session/],
        [["--from=yesterday"], /is no time/],
        [["--limit=0"], /whole number from 1/],
      ] as const
    ) {
      const result = await cluster.tryTctl(["events", "ls", ...args]);
      assert.equal(result.code, 2);
      assert.match(result.stderr, message);
    }
    const none = await cluster.tryTctl(["events", "ls", "--user=nobody"]);
    assert.deepEqual([none.code, none.stdout], [0, ""]);
    assert.match(none.stderr, /No events found/);
  });

  await t.step("watch prints what happens, also after a restart of the auth server", async () => {
    await using watching = await Background.start(
      [bin("tctl"), "-c", cluster.authConfig, "events", "watch", "--type=user.create,user.delete"],
      {},
      async (said) => {
        // It begins at the end of the log: something has to happen.
        await cluster.tctl(["users", "add", "temp"]);
        await cluster.tctl(["users", "rm", "temp"]);
        return /T1004I +user\.delete/.test(said);
      },
    );
    await cluster.daemon("main").stop();
    await eventually("the watch to wait", () => /waiting for it/.test(watching.said));
    await cluster.restart("main");
    await cluster.tctl(["users", "add", "later"]);
    await eventually("the next event", () => /T1002I +user\.create .*later/.test(watching.said));
  });

  await t.step("export writes each event once, going on where it ended", async () => {
    const first = await cluster.tctl(["events", "export", `--out=${dir}/all.json`]);
    const cursor = /--cursor=(\d+)/.exec(first.stderr)![1]!;
    await cluster.tctl(["users", "add", "exported"]);
    await eventually("the index", async () => (await json("--text=exported")).length >= 1);
    await cluster.tctl(["events", "export", `--out=${dir}/all.json`, `--cursor=${cursor}`]);
    const uids = jsonLines(await Deno.readTextFile(`${dir}/all.json`)).map(({ uid }) => uid);
    const stored = (await cluster.events() as Event[]).map(({ uid }) => uid);
    assert.equal(new Set(uids).size, uids.length);
    assert.deepEqual(stored.slice(0, uids.length), uids);
    assert.ok(jsonLines(await tctl("export", "--from=1h")).length >= uids.length);
  });

  await t.step("a receiver that was away gets all of it, with the token", async () => {
    const { server, tokens, events } = receiver(port);
    const wanted = (await cluster.events() as Event[]).map(({ uid }) => uid);
    await eventually("all events", () => {
      const got = new Set(events().map(({ uid }) => uid));
      return wanted.every((uid) => got.has(uid));
    }, 70_000);
    assert.deepEqual([...tokens], ["Bearer s3cret"]);
    await server.shutdown();
    assert.doesNotMatch(cluster.daemon("main").log, /s3cret/);
    assert.match(cluster.daemon("main").log, /cannot be delivered, and wait in the log/);
  });

  await t.step("the copy is the log, and stdout has it too", async () => {
    const own = (await cluster.events() as Event[]).map(({ uid }) => uid);
    const [host] = [...Deno.readDirSync(`${dir}/copy`)];
    const copied = () =>
      [...Deno.readDirSync(`${dir}/copy/${host!.name}`)].map(({ name }) => name).sort()
        .flatMap((name) => jsonLines(Deno.readTextFileSync(`${dir}/copy/${host!.name}/${name}`)));
    await eventually("the copy", () => copied().length >= own.length);
    assert.deepEqual(copied().map(({ uid }) => uid).slice(0, own.length), own);
    // Of the second daemon; what the first one wrote went to its own stdout.
    const said = jsonLines(cluster.daemon("main").log);
    assert.ok(said.some(({ event }) => event === "user.create"));
  });

  await t.step("an index that was removed or damaged is made anew", async () => {
    const before = (await json("--limit=10000")).length;
    await cluster.daemon("main").stop();
    for (const suffix of ["-wal", "-shm"]) {
      await Deno.remove(`${cluster.dir}/main/log/index.db${suffix}`).catch(() => {});
    }
    await Deno.writeTextFile(`${cluster.dir}/main/log/index.db`, "no database".repeat(1000));
    await cluster.restart("main");
    await eventually("the new index", async () => (await json("--limit=10000")).length >= before);
    assert.match(cluster.daemon("main").log, /index of the audit log is damaged and is made anew/);
  });

  await cluster.daemon("main").stop();
  await Deno.remove(dir, { recursive: true });
});
