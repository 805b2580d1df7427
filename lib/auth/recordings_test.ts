import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { AuditEvent } from "../audit/events.ts";
import { sessionEndUid } from "../audit/session_end.ts";
import { toBase64 } from "../base/bytes.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { inDirectory, SID, testMeta, testRecording } from "../recording/test_recordings.ts";
import { GIVE_UP_AFTER_MS, Recordings } from "./recordings.ts";
import { NODE_ID, nodeCaller, OTHER_ID, PROXY, withAuth } from "./testing.ts";

configureLog({ level: "off", format: "text" });

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const recording = testRecording(["hello"], { meta: testMeta({ server_id: NODE_ID }) });

Deno.test("a host brings a recording, and the audit log hears when it is there", () =>
  withAuth(async ({ call, eventsOf, service }) => {
    const node = nodeCaller();
    const data = toBase64(recording);
    assert.deepEqual(await call(node, "recordings.append", { sid: SID, offset: 0, data }), {
      size: recording.length,
    });
    assert.deepEqual(eventsOf("session.upload"), []);
    const end = { sid: SID, size: recording.length, sha256: sha256(recording) };
    assert.equal((await call(node, "recordings.finish", end)).stored, true);
    assert.equal((await call(node, "recordings.finish", end)).stored, true);
    const [event, ...more] = eventsOf("session.upload");
    assert.deepEqual(more, []);
    assert.equal(event?.code, "T2005I");
    assert.match(
      (event as { url?: string }).url ?? "",
      new RegExp(`^file:///.*/records/${SID}\\.cast\\.gz$`),
    );
    assert.equal((event as { sid?: string }).sid, SID);
    const info = await service.parts.recordings.store.info(SID);
    assert.equal(info?.cluster, "test.example.com");
    assert.deepEqual(await call(node, "recordings.state", { sid: SID }), {
      size: recording.length,
      finished: true,
    });
  }));

Deno.test("another host, or a proxy, gets nothing of it and adds nothing (attack 59)", () =>
  withAuth(async ({ call }) => {
    const data = toBase64(recording);
    await call(nodeCaller(), "recordings.append", { sid: SID, offset: 0, data });
    for (const caller of [nodeCaller(OTHER_ID), PROXY]) {
      await assert.rejects(call(caller, "recordings.state", { sid: SID }), AccessDenied);
      await assert.rejects(
        call(caller, "recordings.append", { sid: SID, offset: recording.length, data }),
        AccessDenied,
      );
    }
  }));

Deno.test("session ids that lead elsewhere are refused before they are looked at (attack 59)", () =>
  withAuth(async ({ call }) => {
    const bad = ["../../../etc/cron.d/x", `${SID}/..`, SID.toUpperCase(), "", `${SID}\0`];
    for (const sid of bad) {
      for (
        const request of [
          () => call(nodeCaller(), "recordings.append", { sid, offset: 0, data: "" }),
          () => call(nodeCaller(), "recordings.state", { sid }),
          () => call(nodeCaller(), "recordings.finish", { sid, size: 0, sha256: "0".repeat(64) }),
        ]
      ) await assert.rejects(request);
    }
  }));

Deno.test("data that is no base64, and too much of it, are refused", () =>
  withAuth(async ({ call }) => {
    const send = (data: string) =>
      call(nodeCaller(), "recordings.append", { sid: SID, offset: 0, data });
    await assert.rejects(send("%%%%"), BadParameter);
    await assert.rejects(send("A".repeat(2_000_000)));
    for (const offset of [-1, 0.5, 2 ** 41]) {
      await assert.rejects(call(nodeCaller(), "recordings.append", { sid: SID, offset, data: "" }));
    }
  }));

Deno.test("the session of a host that did not come back within a day is ended for it", () =>
  inDirectory(async (directory) => {
    let now = 0;
    const events: AuditEvent[] = [];
    const recordings = new Recordings({
      directory,
      cluster: "main",
      audit: { emit: (event) => void events.push(event) },
      steadyNow: () => now,
    });
    try {
      const host = { kind: "node", hostId: NODE_ID } as const;
      const sent = recording.subarray(0, -10);
      await recordings.store.append(host, { sid: SID, offset: 0, data: sent });
      now = GIVE_UP_AFTER_MS - 1;
      await recordings.endAbandoned();
      assert.equal(events.length, 0);
      now = GIVE_UP_AFTER_MS;
      await recordings.endAbandoned();
      await recordings.endAbandoned();
      assert.deepEqual(events.map(({ event }) => event), ["session.upload", "session.end"]);
      const end = events[1] as Extract<AuditEvent, { event: "session.end" }>;
      assert.equal(end.uid, sessionEndUid(SID));
      assert.equal(end.torn, true);
      assert.equal(end.server_id, NODE_ID);
      assert.deepEqual(end.participants, ["joe"]);
      assert.equal(end.session_start, "2026-01-02T03:04:05.000Z");
      assert.equal(end.session_stop, "2026-01-02T03:04:06.000Z");
    } finally {
      await recordings.close();
    }
  }));
