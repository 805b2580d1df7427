import assert from "node:assert/strict";
import { ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { concat } from "../base/bytes.ts";
import { Recorder } from "./recorder.ts";
import { summarize } from "./reader.ts";
import { RecordingSpool } from "./spool.ts";
import type { RecordingRemote } from "./sync_upload.ts";
import type { Tape } from "./tape.ts";
import { inDirectory, outputOf, SID, testMeta, zcat } from "./test_recordings.ts";

configureLog({ level: "off", format: "text" });

const text = (t: string) => new TextEncoder().encode(t);

/** An auth service in memory; `away` makes it fail. */
class Remote implements RecordingRemote {
  bytes = new Uint8Array(0);
  finished: string | undefined;
  away = false;
  calls = 0;

  append(_: string, offset: number, data: Uint8Array): Promise<{ size: number }> {
    this.calls++;
    if (this.away) return Promise.reject(new ConnectionProblem("auth is away"));
    assert.equal(offset, this.bytes.length);
    this.bytes = concat(this.bytes, data);
    return Promise.resolve({ size: this.bytes.length });
  }

  finish(_: string, size: number, sha256: string): Promise<{ stored: boolean; size: number }> {
    if (this.away) return Promise.reject(new ConnectionProblem("auth is away"));
    this.finished = sha256;
    return Promise.resolve({ stored: true, size });
  }

  state(): Promise<{ size: number; finished: boolean }> {
    return Promise.resolve({ size: this.bytes.length, finished: false });
  }
}

async function withRecorder(
  test: (o: { recorder: Recorder; spool: RecordingSpool; remote: Remote }) => Promise<void>,
  o: { onFull?: "refuse" | "continue"; directory?: string } = {},
): Promise<void> {
  await inDirectory(async (own) => {
    const { spool } = await RecordingSpool.open(`${o.directory ?? own}/spool`);
    const remote = new Remote();
    const recorder = new Recorder({
      spool,
      remote,
      onFull: () => o.onFull ?? "refuse",
      patienceMs: 1_000,
    });
    try {
      await test({ recorder, spool, remote });
    } finally {
      await recorder.close({ drainMs: 5_000 });
    }
  });
}

/** A file system of this size, which root can make; the test is left out for anybody else. */
async function withSmallDisk(
  kilobytes: number,
  test: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "lib-recording-" });
  const run = async (...argv: string[]) => {
    const { success, stderr } = await new Deno.Command(argv[0]!, { args: argv.slice(1) }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  };
  await run("mount", "-t", "tmpfs", "-o", `size=${kilobytes}k`, "tmpfs", directory);
  try {
    await test(directory);
  } finally {
    await run("umount", directory);
    await Deno.remove(directory);
  }
}

/** Leaves no space on the disk. */
async function fillDisk(path: string): Promise<void> {
  await Deno.writeFile(path, new Uint8Array(1 << 20)).catch(() => {});
}

/** Shows random bytes, which do not get smaller, until the tape fails or stops to record. */
async function fill(tape: Tape): Promise<void> {
  let over = false;
  tape.failed.then(() => over = true);
  const noise = new Uint8Array(32 * 1024);
  while (!over && tape.recorded) {
    crypto.getRandomValues(noise);
    await tape.output(noise);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("what is shown, the resizes and the markers are in the file, in order", () =>
  withRecorder(async ({ recorder, spool }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "async" });
    assert.equal(tape.recorded, true);
    tape.output(text("one "));
    tape.resize({ cols: 100, rows: 30 });
    tape.output(text("two "));
    tape.mark("join alice (peer)");
    const shared = text("three");
    tape.output(shared);
    shared.fill(0);
    await tape.end();
    await tape.end();
    const bytes = await Deno.readFile(spool.path(SID));
    const events = (await zcat(bytes)).trimEnd().split("\n").slice(1).map((line) =>
      JSON.parse(line)
    );
    assert.deepEqual(events.map(([, code, data]) => [code, data]), [
      ["m", "start"],
      ["o", "one "],
      ["r", "100x30"],
      ["o", "two "],
      ["m", "join alice (peer)"],
      ["o", "three"],
      ["m", "end"],
    ]);
    assert.deepEqual(spool.recordings, [{ sid: SID, size: bytes.length, ended: true }]);
    assert.equal(Deno.statSync(spool.path(SID)).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(spool.statePath(SID)).mode! & 0o777, 0o600);
    assert.deepEqual(await spool.describe(SID), testMeta());
  }));

Deno.test("whatever a client says of its terminal, the recording is one that auth takes", () =>
  withRecorder(async ({ recorder, spool }) => {
    const meta = testMeta({
      term: "x\ud800".repeat(5_000),
      login: "l".repeat(600),
      cols: 4_294_967_295,
      rows: 0,
    });
    const tape = await recorder.start({ meta, mode: "async" });
    for (let i = 0; i < 50_000; i++) tape.resize({ cols: i, rows: 4_294_967_295 });
    tape.output(text("shown"));
    tape.mark("m".repeat(100_000));
    await tape.end();
    using file = await Deno.open(spool.path(SID));
    const { header, complete } = await summarize(file);
    assert.equal(complete, true);
    assert.equal(header.teleport?.term.length, 512);
    assert.deepEqual([header.width, header.height], [65_535, 1]);
    const lines = (await zcat(await Deno.readFile(spool.path(SID)))).trimEnd().split("\n");
    assert.ok(lines.some((line) => line.endsWith('"49999x65535"]')));
    assert.ok(lines.length < 100, "sizes between which nothing is shown are one");
  }));

Deno.test("times never go back, whatever happens to the clock", () =>
  withRecorder(async ({ recorder, spool }) => {
    const { now } = Date;
    try {
      const tape = await recorder.start({ meta: testMeta(), mode: "async" });
      for (const hours of [0, -5, 48, -1000]) {
        Date.now = () => now() + hours * 3_600_000;
        tape.output(text(`${hours} `));
        tape.mark("step");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await tape.end();
    } finally {
      Date.now = now;
    }
    const lines = (await zcat(await Deno.readFile(spool.path(SID)))).trimEnd().split("\n").slice(1);
    const times = lines.map((line) => JSON.parse(line)[0] as number);
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
    assert.ok(times.at(-1)! >= 0.06 && times.at(-1)! < 60);
  }));

Deno.test("it is on disk within a second, while the session runs", () =>
  withRecorder(async ({ recorder, spool }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "async" });
    tape.output(text("hello"));
    const grown = Promise.withResolvers<void>();
    const beginning = Deno.statSync(spool.path(SID)).size;
    spool.onChange(({ size }) => size > beginning && grown.resolve());
    await grown.promise;
    assert.equal(await outputOf(await Deno.readFile(spool.path(SID))), "hello");
    await tape.end();
  }));

Deno.test("much output is recorded whole, and the session waits for the recorder", () =>
  withRecorder(async ({ recorder, spool }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "async" });
    const line = "0123456789 äöü ".repeat(100) + "\r\n";
    const chunk = text(line.repeat(20));
    let waited = 0;
    let total = "";
    // More at once than may wait for the recorder.
    for (let i = 0; i < 1_000; i++) {
      total += line.repeat(20);
      const behind = tape.output(chunk);
      if (behind) {
        waited++;
        await behind;
      }
    }
    await tape.end();
    assert.ok(waited > 0);
    assert.ok(await outputOf(await Deno.readFile(spool.path(SID))) === total);
  }));

Deno.test("snapshot() shows what was shown before it, also of a session that is not recorded", () =>
  withRecorder(async ({ recorder, spool }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "none" });
    assert.equal(tape.recorded, false);
    assert.equal(tape.lost, "nothing");
    tape.output(text("hello"));
    assert.match(new TextDecoder().decode(await tape.snapshot()), /^hello/);
    await tape.end();
    assert.equal((await tape.snapshot()).length, 0);
    assert.equal(tape.output(text("late")), undefined);
    assert.deepEqual(spool.recordings, []);
  }));

Deno.test("sync: all of it is at auth when end() resolves, and nothing on disk", () =>
  withRecorder(async ({ recorder, spool, remote }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "sync" });
    assert.ok(remote.bytes.length > 0, "the beginning is there before anything is shown");
    for (let i = 0; i < 200; i++) await tape.output(text(`line ${i}\r\n`.repeat(1000)));
    await tape.end();
    assert.match(await outputOf(remote.bytes), /^line 0\r\n[^]*line 199\r\n$/);
    assert.match(remote.finished ?? "", /^[0-9a-f]{64}$/);
    assert.deepEqual(spool.recordings, []);
    await assert.rejects(Deno.stat(spool.path(SID)), Deno.errors.NotFound);
  }));

Deno.test("sync: a session does not start while auth is away", () =>
  withRecorder(async ({ recorder, remote }) => {
    remote.away = true;
    await assert.rejects(
      recorder.start({ meta: testMeta(), mode: "sync" }),
      (e) => e instanceof ConnectionProblem && /cannot be recorded at the auth/.test(e.message),
    );
  }));

Deno.test("sync: a session ends when auth stays away, and waits for it until then", () =>
  withRecorder(async ({ recorder, remote }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "sync" });
    remote.away = true;
    const waits = tape.output(new Uint8Array(2 * 1024 * 1024));
    assert.ok(waits, "what is not at auth is bounded");
    const error = await tape.failed;
    assert.ok(error instanceof ConnectionProblem);
    assert.match(error.message, /does not reach the auth service: auth is away/);
    await waits;
    await tape.end();
  }));

Deno.test("sync: a short absence of auth costs nothing", () =>
  withRecorder(async ({ recorder, remote }) => {
    const tape = await recorder.start({ meta: testMeta(), mode: "sync" });
    remote.away = true;
    const before = remote.calls;
    tape.output(text("hello"));
    while (remote.calls === before) await new Promise((resolve) => setTimeout(resolve, 10));
    remote.away = false;
    await tape.end();
    assert.equal(await outputOf(remote.bytes), "hello");
  }));

const isRoot = Deno.uid() === 0;

Deno.test({
  name: "full disk, refuse: a session that runs ends, and the next does not start",
  ignore: !isRoot,
  fn: () =>
    withSmallDisk(512, (directory) =>
      withRecorder(async ({ recorder, spool }) => {
        const tape = await recorder.start({ meta: testMeta(), mode: "async" });
        await fill(tape);
        const error = await tape.failed;
        assert.ok(error instanceof LimitExceeded);
        assert.match(error.message, /the session ends, .* this host's disk is full/);
        await tape.end();
        // What was written is whole.
        await zcat(await Deno.readFile(spool.path(SID)));
        await fillDisk(`${directory}/filler`);
        const meta = testMeta({ sid: crypto.randomUUID() });
        await assert.rejects(
          recorder.start({ meta, mode: "async" }),
          (e) => e instanceof LimitExceeded && /disk of this host is full/.test(e.message),
        );
        await assert.rejects(Deno.stat(spool.path(meta.sid)), Deno.errors.NotFound);
        // With space again, sessions start again.
        await Deno.remove(`${directory}/filler`);
        await (await recorder.start({ meta, mode: "async" })).end();
      }, { directory })),
});

Deno.test({
  name: "full disk, continue: sessions go on unrecorded, and say so",
  ignore: !isRoot,
  fn: () =>
    withSmallDisk(512, (directory) =>
      withRecorder(async ({ recorder }) => {
        const tape = await recorder.start({ meta: testMeta(), mode: "async" });
        await fill(tape);
        assert.equal(tape.recorded, false);
        assert.equal(tape.lost, "end");
        tape.output(text("still here"));
        assert.match(new TextDecoder().decode(await tape.snapshot()), /still here/);
        await fillDisk(`${directory}/filler`);
        const meta = testMeta({ sid: crypto.randomUUID() });
        const next = await recorder.start({ meta, mode: "async" });
        assert.equal(next.recorded, false);
        assert.equal(next.lost, "all");
        next.output(text("hello"));
        assert.match(new TextDecoder().decode(await next.snapshot()), /hello/);
        await Promise.all([tape.end(), next.end()]);
      }, { directory, onFull: "continue" })),
});
