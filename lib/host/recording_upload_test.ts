import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/events.ts";
import { sessionEndUid } from "../audit/session_end.ts";
import { Backoff } from "../base/backoff.ts";
import { equalBytes } from "../base/bytes.ts";
import { ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { RecordingSpool } from "../recording/spool.ts";
import { type RecordingHost, RecordingStore } from "../recording/store.ts";
import type { RecordingRemote } from "../recording/sync_upload.ts";
import {
  HOST_ID,
  inDirectory,
  outputOf,
  SID,
  testMeta,
  testRecording,
} from "../recording/test_recordings.ts";
import { HostRecordings } from "./recordings.ts";
import { RecordingUpload } from "./recording_upload.ts";

configureLog({ level: "off", format: "text" });

const NODE: RecordingHost = { kind: "node", hostId: HOST_ID };

/** A store in another directory as the auth service; `trouble` is thrown at each call. */
class Auth implements RecordingRemote {
  readonly store: RecordingStore;
  trouble: Error | undefined;
  calls: string[] = [];
  readonly #back: (() => void)[] = [];

  constructor(directory: string) {
    this.store = new RecordingStore({ directory, cluster: "main" });
  }

  append(sid: string, offset: number, data: Uint8Array) {
    return this.#call("append", () => this.store.append(NODE, { sid, offset, data }));
  }

  finish(sid: string, size: number, sha256: string) {
    return this.#call("finish", () => this.store.finish(NODE, { sid, size, sha256 }));
  }

  state(sid: string) {
    return this.#call("state", () => this.store.state(NODE, sid));
  }

  connected(signal: AbortSignal): Promise<void> {
    if (!(this.trouble instanceof ConnectionProblem)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#back.push(resolve);
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  }

  comeBack(): void {
    this.trouble = undefined;
    for (const resolve of this.#back.splice(0)) resolve();
  }

  async #call<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.calls.push(name);
    if (this.trouble) throw this.trouble;
    return await work();
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + 20_000;
  while (!await holds()) {
    assert.ok(performance.now() < giveUp, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function withUpload(
  test: (o: { spool: RecordingSpool; auth: Auth; upload: () => RecordingUpload }) => Promise<void>,
): Promise<void> {
  await inDirectory(async (directory) => {
    const { spool } = await RecordingSpool.open(`${directory}/upload`);
    const auth = new Auth(`${directory}/records`);
    const uploads: RecordingUpload[] = [];
    const upload = () => {
      const made = new RecordingUpload({
        spool,
        remote: auth,
        connected: (signal) => auth.connected(signal),
        backoff: () => new Backoff({ minMs: 1, maxMs: 5 }),
        paceMs: 1,
      });
      uploads.push(made);
      return made;
    };
    try {
      await test({ spool, auth, upload });
    } finally {
      for (const each of uploads) await each.close({ drainMs: 0 });
      await auth.store.ready;
    }
  });
}

async function isGone(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => false, () => true);
}

Deno.test("a recording is sent while it grows, and leaves the disk when auth has acknowledged it", () =>
  withUpload(async ({ spool, auth, upload }) => {
    const bytes = testRecording(["one ", "two ", "three"]);
    const file = await Deno.open(spool.path(SID), { create: true, write: true });
    const sending = upload();
    const half = bytes.length - 90;
    await file.write(bytes.subarray(0, half));
    spool.update(SID, half, { ended: false });
    await until("the first part", async () => (await auth.store.info(SID))?.size === half);
    await file.write(bytes.subarray(half));
    file.close();
    spool.update(SID, bytes.length, { ended: true });
    await until("the end", async () => (await auth.store.info(SID))?.finished === true);
    await until("an empty spool", () => isGone(spool.path(SID)));
    assert.ok(equalBytes(await Deno.readFile(auth.store.path(SID)), bytes));
    assert.deepEqual(spool.recordings, []);
    await sending.close({ drainMs: 0 });
  }));

Deno.test("what is not on stable storage is not sent", () =>
  withUpload(async ({ spool, auth, upload }) => {
    const bytes = testRecording(["one", "two"]);
    await Deno.writeFile(spool.path(SID), bytes);
    const synced = bytes.length - 50;
    spool.update(SID, synced, { ended: false });
    upload();
    await until("the first part", async () => (await auth.store.info(SID))?.size === synced);
    assert.equal((await auth.store.info(SID))?.size, synced);
  }));

Deno.test("auth may be away for the whole session, and after it", () =>
  withUpload(async ({ spool, auth, upload }) => {
    auth.trouble = new ConnectionProblem("auth is away");
    const bytes = testRecording(["one"]);
    await Deno.writeFile(spool.path(SID), bytes);
    spool.update(SID, bytes.length, { ended: true });
    upload();
    await until("an attempt", () => auth.calls.length > 0);
    assert.equal(await isGone(spool.path(SID)), false);
    auth.comeBack();
    await until("the end", async () => (await auth.store.info(SID))?.finished === true);
    await until("an empty spool", () => isGone(spool.path(SID)));
  }));

Deno.test("an auth server whose disk is full gets it later, and others meanwhile", () =>
  withUpload(async ({ spool, auth, upload }) => {
    auth.trouble = new LimitExceeded("the auth server's disk is full");
    const bytes = testRecording(["one"]);
    await Deno.writeFile(spool.path(SID), bytes);
    spool.update(SID, bytes.length, { ended: true });
    upload();
    await until("some attempts", () => auth.calls.length > 3);
    assert.equal(await isGone(spool.path(SID)), false);
    auth.trouble = undefined;
    await until("the end", async () => (await auth.store.info(SID))?.finished === true);
  }));

Deno.test("after a restart it goes on where auth is", () =>
  withUpload(async ({ spool, auth, upload }) => {
    const bytes = testRecording(["one", "two"]);
    await Deno.writeFile(spool.path(SID), bytes);
    await auth.store.append(NODE, { sid: SID, offset: 0, data: bytes.subarray(0, -60) });
    spool.update(SID, bytes.length, { ended: true });
    upload();
    await until("the end", async () => (await auth.store.info(SID))?.finished === true);
    assert.deepEqual(auth.calls, ["state", "append", "finish"]);
  }));

Deno.test("when auth has other bytes, all of it is sent again and the others are kept aside", () =>
  withUpload(async ({ spool, auth, upload }) => {
    const bytes = testRecording(["one", "two"]);
    const other = testRecording(["ONE and more", "TWO and more", "three"]);
    await Deno.writeFile(spool.path(SID), bytes);
    await auth.store.append(NODE, { sid: SID, offset: 0, data: other });
    spool.update(SID, bytes.length, { ended: true });
    upload();
    await until("the end", async () => (await auth.store.info(SID))?.finished === true);
    assert.ok(equalBytes(await Deno.readFile(auth.store.path(SID)), bytes));
  }));

Deno.test("many recordings are sent, few at a time", () =>
  withUpload(async ({ spool, auth, upload }) => {
    const sids = Array.from({ length: 30 }, () => crypto.randomUUID());
    let most = 0;
    let now = 0;
    const append = auth.append.bind(auth);
    auth.append = async (...args) => {
      most = Math.max(most, ++now);
      try {
        return await append(...args);
      } finally {
        now--;
      }
    };
    for (const sid of sids) {
      const bytes = testRecording(["one"], { meta: testMeta({ sid }) });
      await Deno.writeFile(spool.path(sid), bytes);
      spool.update(sid, bytes.length, { ended: true });
    }
    upload();
    await until(
      "all of them",
      async () =>
        (await auth.store.all()).filter(({ finished }) => finished).length === sids.length,
    );
    assert.ok(most <= 10, `${most} at once`);
  }));

Deno.test("what a killed run has left is repaired, its session's end reported, and sent", () =>
  inDirectory(async (dataDir) => {
    const directory = `${dataDir}/log/upload/node`;
    await Deno.mkdir(directory, { recursive: true });
    const write = async (sid: string, bytes: Uint8Array | undefined, meta = true) => {
      if (bytes) await Deno.writeFile(`${directory}/${sid}.cast.gz`, bytes);
      if (!meta) return;
      await Deno.writeTextFile(`${directory}/${sid}.json`, JSON.stringify(testMeta({ sid })));
    };
    const [torn, complete, empty, garbage, noState, foreign] = Array.from(
      { length: 6 },
      () => crypto.randomUUID(),
    ) as [string, string, string, string, string, string];
    const of = (sid: string, end: boolean) =>
      testRecording(["one", "two"], { meta: testMeta({ sid }), end });
    await write(torn, of(torn, false).subarray(0, -7));
    await write(complete, of(complete, true));
    await write(empty, new Uint8Array(0));
    await write(garbage, new Uint8Array(500).fill(1), false);
    await write(noState, of(noState, false), false);
    await write(foreign, of(torn, true));
    // A recording that is at auth, all but removed.
    await write(crypto.randomUUID(), undefined);
    // What is no recording is left alone.
    await Deno.writeTextFile(`${directory}/notes.txt`, "x");
    await Deno.writeTextFile(`${dataDir}/secret`, "secret");
    await Deno.symlink(`${dataDir}/secret`, `${directory}/${crypto.randomUUID()}.cast.gz`);
    await Deno.mkdir(`${directory}/${crypto.randomUUID()}.cast.gz`);

    const auth = new Auth(`${dataDir}/records`);
    const events: AuditEvent[] = [];
    const call = (method: string, p: Record<string, never>) => {
      if (method === "recordings.state") return auth.state(p.sid!);
      if (method === "recordings.finish") return auth.finish(p.sid!, p.size!, p.sha256!);
      return auth.append(p.sid!, p.offset!, Uint8Array.from(atob(p.data!), (c) => c.charCodeAt(0)));
    };
    const host = await HostRecordings.open({
      dataDir,
      role: "node",
      hostId: HOST_ID,
      auth: { call, api: () => Promise.resolve() } as never,
      cache: { list: () => [] },
      audit: { emit: (event) => void events.push(event) },
    });
    await until(
      "all of them",
      async () => (await auth.store.all()).filter(({ finished }) => finished).length === 4,
    );
    await host.close({ drainMs: 1_000 });

    const info = new Map((await auth.store.all()).map((each) => [each.sid, each]));
    assert.deepEqual([...info.keys()].sort(), [torn, complete, empty, noState].sort());
    for (const sid of [torn, empty, noState]) assert.equal(info.get(sid)?.torn, true);
    assert.equal(info.get(complete)?.torn, false);
    assert.equal(await outputOf(await Deno.readFile(auth.store.path(torn))), "one");
    assert.equal(await outputOf(await Deno.readFile(auth.store.path(empty))), "");

    const ends = events.filter(({ event }) => event === "session.end");
    assert.deepEqual(
      ends.map(({ uid }) => uid).sort(),
      [torn, empty, noState].map(sessionEndUid).sort(),
    );
    const end = ends.find(({ uid }) => uid === sessionEndUid(torn))!;
    assert.deepEqual(
      { ...end, uid: "", ei: 0 },
      {
        event: "session.end",
        code: "T2004I",
        uid: "",
        ei: 0,
        sid: torn,
        user: "joe",
        login: "root",
        server_id: HOST_ID,
        namespace: "default",
        server_hostname: "db-1",
        server_addr: "192.0.2.7:3022",
        "addr.remote": "198.51.100.4:50000",
        proto: "ssh",
        enhanced_recording: false,
        interactive: true,
        participants: ["joe"],
        session_start: "2026-01-02T03:04:05.000Z",
        session_stop: "2026-01-02T03:04:06.000Z",
        session_recording: "node",
        torn: true,
      },
    );
    const aside = [...Deno.readDirSync(`${directory}/quarantine`)].map(({ name }) => name).sort();
    assert.deepEqual(
      aside,
      [`${garbage}.cast.gz`, `${foreign}.cast.gz`, `${foreign}.json`].sort(),
    );
    assert.equal(await Deno.readTextFile(`${dataDir}/secret`), "secret");
    const rest = [...Deno.readDirSync(directory)].filter(({ isFile }) => isFile);
    assert.deepEqual(rest.map(({ name }) => name), ["notes.txt"]);
  }));
