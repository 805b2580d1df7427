import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { concat, utf8Decode, utf8Encode } from "../../base/bytes.ts";
import { BadParameter } from "../../base/errors.ts";
import type { CastEvent } from "../cast.ts";
import { encodeMember } from "../members.ts";
import { member } from "../test_recordings.ts";
import { type Batch, Recording } from "./recording.ts";
import { type ByteSource, bytesSource } from "./source.ts";

const HEADER = '{"version":2,"width":80,"height":24,"timestamp":1700000000,"title":"root@db-1"}\n';

function line(time: number, text: string): string {
  return `[${time},"o",${JSON.stringify(text)}]\n`;
}

/** Gives a few bytes at a time. */
function slow(bytes: Uint8Array, step: number): ByteSource {
  return { read: (offset) => Promise.resolve(bytes.subarray(offset, offset + step)) };
}

interface Played {
  recording: Recording;
  batches: Batch[];
  events: CastEvent[];
  /** All output. */
  text: string;
}

async function play(source: ByteSource | Uint8Array, from?: Batch["place"]): Promise<Played> {
  const recording = await Recording.open(
    source instanceof Uint8Array ? bytesSource(source) : source,
  );
  const batches: Batch[] = [];
  for await (const batch of recording.batches(from)) batches.push(batch);
  const events = batches.flatMap((batch) => batch.events);
  const outputs = events.flatMap((event) => event.type === "output" ? [event.data] : []);
  return { recording, batches, events, text: utf8Decode(concat(...outputs)) };
}

Deno.test("Recording reads our members, other gzip, several of them, and plain text", async () => {
  const first = HEADER + line(0.5, "one ") + '[0.6,"r","100x30"]\n[0.7,"m","join alice (peer)"]\n';
  const second = line(1, "two ") + '[2,"x-bytes","/w=="]\n[2.5,"i","typed"]\n';
  const all = utf8Encode(first + second);
  for (
    const bytes of [
      concat(member(first), member(second, { time: 1 })),
      concat(gzipSync(utf8Encode(first)), gzipSync(utf8Encode(second))),
      concat(member(first), gzipSync(utf8Encode(second))),
      gzipSync(all),
      all,
    ]
  ) {
    for (const source of [bytesSource(bytes), slow(bytes, 1), slow(bytes, 7)]) {
      const recording = await Recording.open(source);
      assert.equal(recording.header.title, "root@db-1");
      const events: CastEvent[] = [];
      for await (const batch of recording.batches()) events.push(...batch.events);
      assert.deepEqual(events, [
        { type: "output", time: 0.5, data: utf8Encode("one ") },
        { type: "resize", time: 0.6, cols: 100, rows: 30 },
        { type: "marker", time: 0.7, label: "join alice (peer)" },
        { type: "output", time: 1, data: utf8Encode("two ") },
        { type: "output", time: 2, data: Uint8Array.of(0xff) },
      ]);
      assert.equal(recording.damage, undefined);
      assert.equal(recording.unreadable, 0);
    }
  }
});

Deno.test("Recording begins again at any place that it gave", async () => {
  const members = [HEADER + line(0, "a"), line(1, "b"), line(2, "c"), line(3, "d")]
    .map((text, i) => member(text, { time: i }));
  const { recording, batches } = await play(concat(...members));
  assert.equal(batches.length, 4);
  for (const [i, { place }] of batches.entries()) {
    assert.ok(place);
    const again: Batch[] = [];
    for await (const batch of recording.batches(place)) again.push(batch);
    assert.deepEqual(again, batches.slice(i));
  }
});

Deno.test("Recording plays up to where it is cut off or damaged, and says so", async () => {
  const parts = [HEADER + line(0, "a"), line(1, "b"), line(2, "c")];
  const ours = concat(...parts.map((text, i) => member(text, { time: i })));
  const foreign = concat(...parts.map((text) => gzipSync(utf8Encode(text))));
  for (const whole of [ours, foreign]) {
    for (let length = whole.length - 1; length > 60; length -= 3) {
      const bytes = whole.subarray(0, length);
      const played = await play(bytes).catch((e) => {
        assert.ok(e instanceof BadParameter, String(e));
        return undefined;
      });
      if (played) assert.ok("abc".startsWith(played.text), played.text);
    }
  }
  const cut = await play(ours.subarray(0, ours.length - 3));
  assert.ok(cut.text.startsWith("ab"));
  assert.match(cut.recording.damage ?? "", /damaged or missing/);
  const garbage = await play(concat(ours, utf8Encode("garbage")));
  assert.equal(garbage.text, "abc");
  assert.match(garbage.recording.damage ?? "", /damaged/);
  const zeros = await play(concat(ours, new Uint8Array(4096)));
  assert.match(zeros.recording.damage ?? "", /damaged/);
});

Deno.test("Recording passes over lines that are no events, and keeps time from going back", async () => {
  const lines = [
    ...["nonsense", "[]", '["1","o","x"]', '[1,"o",7]', '[-1,"o","x"]', '[1e300,"o","x"]', "{}"],
    ...['[1e999,"o","x"]', '[null,"o","x"]', '[1,"r","0x0"]', '[1,"x-bytes","%%"]', "null"],
    "[".repeat(100_000),
  ];
  const text = HEADER + line(5, "a") + lines.join("\n") + "\n\n" + line(3, "b") + line(6, "c");
  const { events, recording, text: shown } = await play(gzipSync(utf8Encode(text)));
  assert.equal(shown, "abc");
  assert.deepEqual(events.map(({ time }) => time), [5, 5, 6]);
  assert.equal(recording.unreadable, lines.length);
});

Deno.test("attack 59: a recording that inflates without end is left within bounded memory", async () => {
  const bomb = gzipSync(new Uint8Array(256 << 20), { level: 9 });
  await assert.rejects(Recording.open(bytesSource(bomb)), BadParameter);
  const longLine = concat(gzipSync(utf8Encode(HEADER + line(0, "a"))), bomb);
  const before = Deno.memoryUsage().rss;
  const { recording, text } = await play(longLine);
  assert.equal(text, "a");
  assert.match(recording.damage ?? "", /too long/);
  assert.ok(Deno.memoryUsage().rss - before < 200 << 20, "the bomb was kept in memory");
});

Deno.test("attack 59: a member that inflates to more than one may is damage", async () => {
  const bomb = encodeMember(new Uint8Array(64 << 20), {
    time: 1,
    flags: 0,
    compression: "ordinary",
  });
  const { recording, text } = await play(concat(member(HEADER + line(0, "a")), bomb));
  assert.equal(text, "a");
  assert.match(recording.damage ?? "", /damaged/);
});

Deno.test("Recording.open refuses what is no recording, and says why", async () => {
  for (
    const [bytes, why] of [
      [new Uint8Array(0), /empty/],
      [gzipSync(new Uint8Array(0)), /empty/],
      [utf8Encode("hello\n"), /not JSON/],
      [utf8Encode('{"version":3,"term":{"cols":80,"rows":24}}\n'), /no asciicast v2/],
      [utf8Encode('{"version":2,"width":1e9,"height":24}\n'), /size/],
      [utf8Encode("x".repeat(100_000)), /too long/],
      [Uint8Array.of(0x1f, 0x8b, 1, 2, 3), /damaged/],
    ] as const
  ) {
    await assert.rejects(Recording.open(bytesSource(bytes)), (e) => {
      assert.ok(e instanceof BadParameter);
      assert.match(e.message, why);
      return true;
    });
  }
});

Deno.test("attack 59: whatever is played, reading ends and fails by BadParameter alone", async () => {
  const good = concat(member(HEADER + line(0, "a")), member(line(1, "b"), { time: 1 }));
  const changed = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }));
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(changed, { minLength: 1, maxLength: 4 }).map((changes) => {
      const bytes = Uint8Array.from(good);
      for (const [at, by] of changes) bytes[at]! ^= by;
      return bytes;
    }),
    fc.array(fc.oneof(fc.json(), fc.string()), { maxLength: 6 })
      .map((lines) => utf8Encode(HEADER + lines.join("\n"))),
    fc.string().map((text) => concat(member(HEADER), member(text, { time: 1 }))),
  );
  await fc.assert(
    fc.asyncProperty(input, fc.integer({ min: 1, max: 64 }), async (bytes, step) => {
      await play(slow(bytes, step)).catch((e) => assert.ok(e instanceof BadParameter, String(e)));
    }),
    { numRuns: 300 },
  );
});
