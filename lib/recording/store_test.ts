import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { equalBytes } from "../base/bytes.ts";
import { AccessDenied, BadParameter, CompareFailed } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import type { RecordingInfo } from "./meta.ts";
import { type RecordingHost, RecordingStore } from "./store.ts";
import {
  HOST_ID,
  inDirectory,
  member,
  outputOf,
  SID,
  testMeta,
  testRecording,
} from "./test_recordings.ts";

configureLog({ level: "off", format: "text" });

const NODE: RecordingHost = { kind: "node", hostId: HOST_ID };
const OTHER: RecordingHost = { kind: "node", hostId: "22222222-2222-4222-8222-222222222222" };

/** Of the first member, bytes. */
const HEAD = testRecording([], { end: false }).length;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function open(directory: string, o: { now?: () => number; onFinished?: () => void } = {}) {
  return new RecordingStore({
    directory: `${directory}/records`,
    cluster: "main",
    ...(o.now ? { steadyNow: o.now } : {}),
    ...(o.onFinished ? { onFinished: o.onFinished } : {}),
  });
}

async function fileOf(directory: string): Promise<Uint8Array> {
  return await Deno.readFile(`${directory}/records/${SID}.cast.gz`);
}

function quarantined(directory: string): string[] {
  try {
    return [...Deno.readDirSync(`${directory}/records/quarantine`)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

Deno.test("a recording that comes in parts is stored when its hash is right", () =>
  inDirectory(async (directory) => {
    let finished = 0;
    const store = open(directory, { onFinished: () => finished++ });
    const bytes = testRecording(["hello\r\n", "wörld\r\n"]);
    const half = HEAD + 5;
    assert.deepEqual(await store.state(NODE, SID), { size: 0, finished: false });
    await store.append(NODE, { sid: SID, offset: 0, data: bytes.subarray(0, half) });
    assert.equal((await store.info(SID))?.finished, false);
    await store.append(NODE, { sid: SID, offset: half, data: bytes.subarray(half) });
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    assert.deepEqual(await store.finish(NODE, end), { stored: true, size: bytes.length });
    // The answer may have been lost.
    assert.deepEqual(await store.finish(NODE, end), { stored: true, size: bytes.length });
    assert.equal(finished, 1);
    const info = await store.info(SID);
    assert.deepEqual(
      info,
      {
        ...testMeta(),
        size: bytes.length,
        finished: true,
        torn: false,
        sha256: sha256(bytes),
        ended: "2026-01-02T03:04:08.000Z",
        duration_ms: 3000,
        participants: ["joe"],
      } satisfies RecordingInfo,
    );
    assert.equal(await outputOf(await fileOf(directory)), "hello\r\nwörld\r\n");
    assert.equal(Deno.statSync(store.path(SID)).mode! & 0o777, 0o600);
    assert.deepEqual(await open(directory).info(SID), info);
  }));

Deno.test("bytes that come again are compared, and never replace what is there (attack 59)", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = testRecording(["one", "two"]);
    await store.append(NODE, { sid: SID, offset: 0, data: bytes.subarray(0, HEAD + 9) });
    await store.append(NODE, { sid: SID, offset: 100, data: bytes.subarray(100) });
    const forged = bytes.slice();
    forged[bytes.length - 1]! ^= 1;
    await assert.rejects(
      store.append(NODE, { sid: SID, offset: 0, data: forged }),
      CompareFailed,
    );
    await assert.rejects(
      store.append(NODE, { sid: SID, offset: bytes.length + 1, data: bytes }),
      CompareFailed,
    );
    assert.ok(equalBytes(await fileOf(directory), bytes));
  }));

Deno.test("nobody but the host that began a recording goes on with it (attack 59)", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = testRecording(["one"]);
    await store.append(NODE, { sid: SID, offset: 0, data: bytes });
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    for (const host of [OTHER, { ...NODE, kind: "proxy" } as const]) {
      await assert.rejects(store.state(host, SID), AccessDenied);
      await assert.rejects(
        store.append(host, { sid: SID, offset: bytes.length, data: bytes }),
        AccessDenied,
      );
      await assert.rejects(store.finish(host, end), AccessDenied);
    }
    // Also after a restart.
    await assert.rejects(open(directory).finish(OTHER, end), AccessDenied);
  }));

Deno.test("what is no recording of this session and host is refused", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const refused: [Uint8Array, RecordingHost][] = [
      [new Uint8Array(0), NODE],
      [new TextEncoder().encode('{"version":2}\n'), NODE],
      [testRecording([]).subarray(0, 60), NODE],
      [member('{"version":2,"width":80,"height":24}\n'), NODE],
      [member("no json\n"), NODE],
      [testRecording([], { meta: testMeta({ sid: crypto.randomUUID() }) }), NODE],
      [testRecording([], { meta: testMeta({ server_id: OTHER.hostId }) }), NODE],
      [testRecording([], { meta: testMeta({ recorded_by: "proxy" }) }), NODE],
    ];
    for (const [data, host] of refused) {
      await assert.rejects(
        store.append(host, { sid: SID, offset: 0, data }),
        (e) => e instanceof BadParameter || e instanceof AccessDenied,
      );
    }
    assert.deepEqual([...Deno.readDirSync(`${directory}/records`)], []);
  }));

Deno.test("a cluster's name is stamped, not believed (attack 60)", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const data = testRecording([], { meta: testMeta({ cluster: "other" }) });
    await store.append(NODE, { sid: SID, offset: 0, data });
    assert.equal((await store.info(SID))?.cluster, "main");
  }));

Deno.test("with a wrong hash, what is there is put aside and the host begins again", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = testRecording(["one"]);
    const bad = bytes.slice();
    bad[bytes.length - 20]! ^= 1;
    await store.append(NODE, { sid: SID, offset: 0, data: bad });
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    assert.deepEqual(await store.finish(NODE, end), { stored: false, size: 0 });
    assert.equal((quarantined(directory)).length, 2);
    await store.append(NODE, { sid: SID, offset: 0, data: bytes });
    assert.deepEqual(await store.finish(NODE, end), { stored: true, size: bytes.length });
  }));

Deno.test("finish() says how far it is when something is missing", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = testRecording(["one"]);
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    assert.deepEqual(await store.finish(NODE, end), { stored: false, size: 0 });
    await store.append(NODE, { sid: SID, offset: 0, data: bytes.subarray(0, HEAD + 1) });
    assert.deepEqual(await store.finish(NODE, end), { stored: false, size: HEAD + 1 });
  }));

Deno.test("a recording whose hash is right and which nobody can read is kept aside", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = new Uint8Array([...testRecording(["one"]), 1, 2, 3]);
    await store.append(NODE, { sid: SID, offset: 0, data: bytes });
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    assert.equal((await store.finish(NODE, end)).stored, true);
    assert.equal(await store.info(SID), undefined);
    assert.equal((quarantined(directory)).length, 2);
  }));

Deno.test("a recording whose host does not come back is ended and marked, and goes on if it does", () =>
  inDirectory(async (directory) => {
    let now = 0;
    let finished = 0;
    const store = open(directory, { now: () => now, onFinished: () => finished++ });
    const bytes = testRecording(["one", "two"]);
    const sent = bytes.length - 30;
    await store.append(NODE, { sid: SID, offset: 0, data: bytes.subarray(0, sent) });
    now = 999;
    assert.deepEqual(await store.giveUp({ idleMs: 1000 }), []);
    now = 1000;
    const [ended] = await store.giveUp({ idleMs: 1000 });
    assert.equal(ended?.hostId, HOST_ID);
    assert.equal(ended?.info.torn, true);
    assert.equal(ended?.info.finished, true);
    assert.equal(await outputOf(await fileOf(directory)), "onetwo");
    assert.equal(finished, 1);
    assert.deepEqual(await store.giveUp({ idleMs: 1000 }), []);

    const again = open(directory);
    const { size, finished: over } = await again.state(NODE, SID);
    assert.equal(over, false);
    assert.ok(size > 0 && size <= sent);
    await again.append(NODE, { sid: SID, offset: size, data: bytes.subarray(size) });
    const end = { sid: SID, size: bytes.length, sha256: sha256(bytes) };
    assert.deepEqual(await again.finish(NODE, end), { stored: true, size: bytes.length });
    assert.equal((await again.info(SID))?.torn, false);
  }));

Deno.test("restarts of auth do not put off that a recording is given up, and a host has an hour", () =>
  inDirectory(async (directory) => {
    const HOUR = 3_600_000;
    const store = open(directory);
    await store.append(NODE, { sid: SID, offset: 0, data: testRecording(["one"]) });
    const longAgo = new Date(Date.now() - 1000 * HOUR);
    await Deno.utime(store.path(SID), longAgo, longAgo);
    let now = 0;
    const again = open(directory, { now: () => now });
    await again.ready;
    now = HOUR - 1;
    assert.deepEqual(await again.giveUp({ idleMs: 24 * HOUR }), []);
    now = HOUR;
    assert.equal((await again.giveUp({ idleMs: 24 * HOUR })).length, 1);
  }));

Deno.test("a host that had begun and sent nothing is given up as well", () =>
  inDirectory(async (directory) => {
    const store = open(directory, { now: () => 0 });
    await store.append(NODE, { sid: SID, offset: 0, data: testRecording([]) });
    await Deno.remove(store.path(SID));
    const again = open(directory, { now: () => performance.now() });
    const [ended] = await again.giveUp({ idleMs: -1 });
    assert.equal(ended?.info.torn, true);
    assert.equal(await outputOf(await fileOf(directory)), "");
  }));

Deno.test("at the start, what cannot be read is put aside and the others are there", () =>
  inDirectory(async (directory) => {
    const store = open(directory);
    const bytes = testRecording(["one"]);
    await store.append(NODE, { sid: SID, offset: 0, data: bytes });
    const records = `${directory}/records`;
    const damaged = crypto.randomUUID();
    await Deno.writeTextFile(`${records}/${damaged}.cast.gz`, "garbage");
    const noJson = crypto.randomUUID();
    await Deno.writeTextFile(`${records}/${noJson}.json`, "{");
    const orphan = crypto.randomUUID();
    await Deno.writeFile(
      `${records}/${orphan}.cast.gz`,
      testRecording(["x"], { meta: testMeta({ sid: orphan }) }),
    );
    await Deno.writeTextFile(`${directory}/target`, "secret");
    await Deno.symlink(`${directory}/target`, `${records}/${crypto.randomUUID()}.cast.gz`);
    await Deno.writeTextFile(`${records}/..evil.cast.gz`, "x");
    const again = open(directory);
    const sids = (await again.all()).map(({ sid }) => sid).sort();
    assert.deepEqual(sids, [SID, orphan].sort());
    assert.equal((quarantined(directory)).length, 2);
    assert.deepEqual(await again.state(NODE, orphan), {
      size: (await again.info(orphan))!.size,
      finished: false,
    });
  }));
