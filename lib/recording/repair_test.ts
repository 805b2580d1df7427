import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { concat } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { encodeMember, inflateMember, readMemberHeader } from "./members.ts";
import { memberPlaces, summarize } from "./reader.ts";
import { repairRecording } from "./repair.ts";
import { inDirectory, member, outputOf, testMeta, testRecording, zcat } from "./test_recordings.ts";

/** Ends of the members, in bytes. */
async function ends(bytes: Uint8Array): Promise<number[]> {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, bytes);
  const found: number[] = [];
  {
    using file = await Deno.open(path);
    for await (const { offset, length } of memberPlaces(file)) found.push(offset + length);
  }
  await Deno.remove(path);
  return found;
}

Deno.test("a recording that is torn at any byte is cut back to its last whole member and marked", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/x.cast.gz`;
    const bytes = testRecording(["one ", "two ", "three"], { end: false });
    const members = await ends(bytes);
    const texts = ["", "one ", "one two ", "one two three"];
    for (let cut = 0; cut <= bytes.length; cut++) {
      await Deno.writeFile(path, bytes.subarray(0, cut));
      const whole = members.filter((end) => end <= cut);
      const { summary, size, whole: kept } = await repairRecording(path, {
        why: "a test",
        meta: testMeta(),
      });
      assert.equal(kept, whole.at(-1) ?? 0);
      assert.equal(size, (await Deno.stat(path)).size);
      assert.deepEqual(summary.header.teleport, testMeta());
      assert.ok(summary.torn);
      assert.ok(!summary.complete);
      assert.equal(summary.duration, Math.max(0, whole.length - 1));
      // Each is the work of a process: not at every byte.
      if (cut % 97 !== 0) continue;
      const repaired = await Deno.readFile(path);
      assert.equal(await outputOf(repaired), texts[Math.max(0, whole.length - 1)]);
      assert.match(await zcat(repaired), /"m","torn: a test"\]\n$/);
    }
  }));

Deno.test("a repaired recording, and one that came to its end, are not marked again", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/x.cast.gz`;
    for (const end of [true, false]) {
      await Deno.writeFile(path, testRecording(["one"], { end }));
      const first = await repairRecording(path, { why: "a test" });
      assert.equal(first.summary.complete, end);
      const second = await repairRecording(path, { why: "a test" });
      assert.equal(second.size, first.size);
    }
  }));

Deno.test("what is damaged in the middle is kept up to there", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/x.cast.gz`;
    const bytes = testRecording(["one ", "two ", "three"]);
    const [, first, second] = await ends(bytes);
    bytes.fill(0, second! - 30, second);
    await Deno.writeFile(path, bytes);
    const { whole, summary } = await repairRecording(path, { why: "a test" });
    assert.equal(whole, first);
    assert.ok(summary.torn);
  }));

Deno.test("nothing to read and no description: refused", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/x.cast.gz`;
    for (const bytes of [new Uint8Array(0), new Uint8Array(5000).fill(7), gzipSync("no member")]) {
      await Deno.writeFile(path, Uint8Array.from(bytes));
      await assert.rejects(repairRecording(path, { why: "a test" }), BadParameter);
    }
  }));

Deno.test("a summary has the participants and the last time, and needs few members for it", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/x.cast.gz`;
    const bytes = concat(
      testRecording(["one"], { end: false }),
      member('[2,"m","join alice (peer)"]\n[2,"m","join alice (observer)"]\n', {
        time: 2,
        notes: true,
      }),
      // A member that says it has no markers is not looked at.
      member('[3,"m","join mallory (peer)"]\n', { time: 3 }),
      member('[4,"m","join bob (moderator)"]\n[4,"m","join (peer)"]\n', { time: 4, notes: true }),
      member('[5,"o","x"]\n[7.25,"o","y"]\n', { time: 5 }),
    );
    await Deno.writeFile(path, bytes);
    using file = await Deno.open(path);
    const { joined, duration, torn, complete } = await summarize(file);
    assert.deepEqual(joined, ["alice", "bob"]);
    assert.deepEqual({ duration, torn, complete }, {
      duration: 7.25,
      torn: false,
      complete: false,
    });
  }));

Deno.test("a member that inflates to far more than it may is refused", async () => {
  const bomb = encodeMember(new Uint8Array(64 * 1024 * 1024), {
    time: 0,
    flags: 0,
    compression: "ordinary",
  });
  assert.ok(bomb.length < 200_000);
  await assert.rejects(inflateMember(bomb), BadParameter);
});

Deno.test("a member with a wrong checksum, or cut off, is refused", async () => {
  const good = member('[0,"o","hello"]\n');
  for (let i = 32; i < good.length; i++) {
    const bad = good.slice();
    bad[i]! ^= 0x10;
    // There are bits that nobody reads: then it says the same.
    const read = await inflateMember(bad).catch((e) => {
      assert.ok(e instanceof BadParameter, String(e));
    });
    if (read) assert.equal(new TextDecoder().decode(read), '[0,"o","hello"]\n', `byte ${i}`);
  }
  await assert.rejects(inflateMember(good.subarray(0, good.length - 1)), BadParameter);
});

Deno.test("heads that are not ours, or say an impossible length or time, are not taken", () => {
  const good = member('[0,"o","hello"]\n');
  assert.deepEqual(readMemberHeader(good), { length: good.length, flags: 0, time: 0 });
  assert.equal(readMemberHeader(gzipSync("plain")), undefined);
  assert.equal(readMemberHeader(good.subarray(0, 31)), undefined);
  const changed = (set: (view: DataView) => void) => {
    const bytes = good.slice();
    set(new DataView(bytes.buffer));
    return readMemberHeader(bytes);
  };
  assert.equal(changed((view) => view.setUint32(16, 5, true)), undefined);
  assert.equal(changed((view) => view.setUint32(16, 0xffffffff, true)), undefined);
  assert.equal(changed((view) => view.setFloat64(24, NaN, true)), undefined);
  assert.equal(changed((view) => view.setFloat64(24, -1, true)), undefined);
});
