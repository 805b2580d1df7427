import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { Cluster, type Person } from "../harness/cluster.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually, must } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

/** Runs a command on a terminal of the node to its end. */
async function onTerminal(joe: Person, command: string): Promise<string> {
  const terminal = await Terminal.open(
    [bin("tsh"), "ssh", "-t", "root@node-1", command],
    { dir: joe.cluster.dir, env: joe.env },
  );
  try {
    await terminal.shows(/\[ended with status \d+\]/);
    return await terminal.screen();
  } finally {
    await terminal.close();
  }
}

/** The id of the newest session that says this in its events. */
async function newestSession(cluster: Cluster, name: string, before: number): Promise<string> {
  const event = await eventually(`a further ${name}`, async () => {
    const found = (await cluster.events()).filter(({ event }) => event === name);
    return found.length > before && found.at(-1);
  });
  return String(event.sid);
}

Deno.test("sessions on terminals are recorded", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const joe = await cluster.enrol("joe");
  await joe.login();
  const recordings = new Recordings(cluster);
  const start = async (auth: string) => {
    await cluster.daemon("main").stop();
    await cluster.start("main", ["auth", "proxy", "node"], {
      nodename: "node-1",
      ports: cluster.ports,
      auth,
    });
  };
  const count = async (name: string) =>
    (await cluster.events()).filter(({ event }) => event === name).length;

  await t.step("at the node: all that was shown is at auth, and zcat reads it", async () => {
    await onTerminal(joe, "echo grüße; printf '\\377\\n'; echo $((40+2)); stty size");
    const sid = await newestSession(cluster, "session.end", 0);
    const info = await recordings.finished(sid);
    assert.equal(info.torn, false);
    assert.deepEqual(info.participants, ["joe"]);
    const { header, events } = await recordings.read(sid);
    assert.equal(header.version, 2);
    assert.equal(header.width, 80);
    assert.equal(header.height, 24);
    assert.equal(header.title, "root@node-1");
    const shown = Buffer.concat(
      events.map(([, code, data]) =>
        code === "o"
          ? Buffer.from(data)
          : code === "x-bytes"
          ? Buffer.from(data, "base64")
          : Buffer.alloc(0)
      ),
    );
    assert.ok(shown.includes(Buffer.from([0xff, 0x0d, 0x0a])), "a byte that is not UTF-8 is lost");
    assert.match(shown.toString(), /grüße\r\n[^]*42\r\n24 80\r\n/);
    assert.deepEqual(
      events.filter(([, code]) => code === "m").map(([, , label]) => label),
      ["start", "end"],
    );
    const times = events.map(([time]) => time);
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
    const bytes = await Deno.readFile(`${recordings.directory}/${sid}.cast.gz`);
    assert.equal(info.sha256, createHash("sha256").update(bytes).digest("hex"));
    await eventually("session.upload", async () => await count("session.upload") === 1);
    // Nothing is left at the node.
    await eventually("an empty spool", async () => {
      const { stdout } = await must(["find", `${cluster.dir}/main/log/upload`, "-type", "f"]);
      return stdout === "";
    });
  });

  await t.step("while it runs, auth has what was shown before", async () => {
    const before = await count("session.start");
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "-t", "root@node-1", "echo first; sleep 60"],
      { dir: cluster.dir, env: joe.env },
    );
    try {
      const sid = await newestSession(cluster, "session.start", before);
      await eventually("the first line at auth", async () => {
        return (await recordings.output(sid)).includes("first");
      });
      assert.equal((await recordings.list()).find((each) => each.sid === sid)?.finished, false);
    } finally {
      await terminal.close();
    }
  });

  await t.step("resizes and keystrokes: only what is shown is in it", async () => {
    const before = await count("session.end");
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "root@node-1"],
      { dir: cluster.dir, env: joe.env },
    );
    try {
      await terminal.shows(/[#$]$/m);
      await terminal.enter("PS1='ready> '; clear");
      await terminal.shows(/^ready>$/m);
      await terminal.resize(100, 30);
      await terminal.enter("read -s secret; echo got ${#secret}");
      await terminal.enter("hunter2-hunter2");
      await terminal.shows(/got 15/);
      await terminal.enter("exit");
      await terminal.shows(/ended with status/);
    } finally {
      await terminal.close();
    }
    const sid = await newestSession(cluster, "session.end", before);
    await recordings.finished(sid);
    const { events } = await recordings.read(sid);
    assert.ok(events.some(([, code, size]) => code === "r" && size === "100x30"));
    const output = await recordings.output(sid);
    assert.match(output, /got 15/);
    assert.doesNotMatch(output, /hunter2/);
  });

  await t.step("node-sync: they are at auth when the session ends, and never on disk", async () => {
    await start("session_recording: node-sync");
    const before = await count("session.end");
    await onTerminal(joe, "echo sync; ls /");
    const sid = await newestSession(cluster, "session.end", before);
    await recordings.finished(sid);
    assert.match(await recordings.output(sid), /sync\r\n/);
    const { stdout } = await must(["find", `${cluster.dir}/main/log/upload`, "-type", "f"]);
    assert.equal(stdout, "");
    const end = (await cluster.events()).find((e) => e.event === "session.end" && e.sid === sid);
    assert.equal(end?.session_recording, "node-sync");
  });

  await t.step("off: nothing is recorded, and the audit log says so", async () => {
    await start("session_recording: off");
    const before = await count("session.end");
    const stored = (await recordings.list()).length;
    await onTerminal(joe, "echo unseen");
    const sid = await newestSession(cluster, "session.end", before);
    const end = (await cluster.events()).find((e) => e.event === "session.end" && e.sid === sid);
    assert.equal(end?.session_recording, "off");
    assert.equal((await recordings.list()).length, stored);
  });
});
