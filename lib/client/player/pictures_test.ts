import assert from "node:assert/strict";
import { concat, utf8Decode, utf8Encode } from "../../base/bytes.ts";
import { member } from "../../recording/test_recordings.ts";
import { Recording } from "../../recording/play/recording.ts";
import { type ByteSource, bytesSource } from "../../recording/play/source.ts";
import { Pictures } from "./pictures.ts";

const HEADER = '{"version":2,"width":80,"height":24}\n';

async function pictureAt(recording: Recording, time: number): Promise<string> {
  const moment = await new Pictures(recording).at({ time }, () => false);
  assert.ok(moment);
  moment.cursor.close();
  return utf8Decode(moment.picture);
}

Deno.test("Pictures.at() draws the screen of a moment, with its size and what comes next", async () => {
  const lines = [
    ...['[0,"o","one\\r\\n"]', '[1,"r","100x30"]', '[2,"o","\\u001b[?1049h\\u001b[31mfull"]'],
    '[3,"o","\\u001b[2Jlater"]',
  ];
  const recording = await Recording.open(bytesSource(utf8Encode(HEADER + lines.join("\n"))));
  const moment = await new Pictures(recording).at({ time: 2.5 }, () => false);
  assert.ok(moment);
  assert.deepEqual(moment.size, { cols: 100, rows: 30 });
  assert.equal(moment.outputs, 2);
  assert.equal(moment.time, 2);
  assert.equal(moment.cursor.next?.time, 3);
  moment.cursor.close();
  const picture = utf8Decode(moment.picture);
  assert.match(picture, /\[\?1049h/);
  assert.match(picture, /full/);
  assert.ok(!picture.includes("later"));
  const first = await pictureAt(recording, 0.5);
  assert.ok(first.includes("one") && !first.includes("full"));
});

Deno.test("Pictures.at() gives the screen after so many outputs", async () => {
  const lines = Array.from({ length: 10 }, (_, i) => `[0,"o","${i}"]\n`).join("");
  const recording = await Recording.open(bytesSource(utf8Encode(HEADER + lines)));
  const pictures = new Pictures(recording);
  for (const outputs of [0, 7, 3]) {
    const moment = await pictures.at({ outputs }, () => false);
    assert.equal(moment?.outputs, outputs);
    assert.equal(utf8Decode(moment!.picture), "0123456789".slice(0, outputs));
    moment?.cursor.close();
  }
});

Deno.test("Pictures.at() begins at a picture that it has kept, with the same result", async () => {
  const filler = "x".repeat(100_000);
  const bytes = concat(
    member(HEADER),
    ...Array.from(
      { length: 80 },
      // A sequence and a character that go over the border of two events, as recorders write them.
      (_, i) =>
        member(`[${i},"o","${filler}\\r\\nline ${i}\\u001b["]\n[${i},"o","1m"]\n`, { time: i }),
    ),
  );
  let reads: number[] = [];
  const source: ByteSource = {
    read: (offset) => {
      reads.push(offset);
      return Promise.resolve(bytes.subarray(offset, offset + 4096));
    },
  };
  const recording = await Recording.open(source);
  const pictures = new Pictures(recording);
  const at = async (time: number) => {
    const moment = await pictures.at({ time }, () => false);
    moment?.cursor.close();
    return utf8Decode(moment!.picture);
  };
  const last = await at(79);
  assert.match(last, /line 79/);
  reads = [];
  const again = await at(78);
  assert.ok(Math.min(...reads) > bytes.length / 2, "it began at the start again");
  assert.equal(again, await pictureAt(recording, 78));
  assert.match(again, /line 78/);
});

Deno.test("attack 59: a flood of changes of the window's size holds nobody up", async () => {
  const flood = Array.from(
    { length: 50_000 },
    (_, i) => `[1,"r","${i % 2 ? "1000x500" : "2x1"}"]\n`,
  );
  const lines = '[0,"o","a"]\n' + flood.join("") + '[2,"o","b"]\n';
  const recording = await Recording.open(bytesSource(utf8Encode(HEADER + lines)));
  const moment = await new Pictures(recording).at({ time: 1 }, () => false);
  assert.deepEqual(moment?.size, { cols: 1000, rows: 500 });
  moment?.cursor.close();
});

Deno.test("Pictures.at() stops when nobody wants the picture any more", async () => {
  const recording = await Recording.open(bytesSource(utf8Encode(`${HEADER}[0,"o","a"]\n`)));
  assert.equal(await new Pictures(recording).at({ time: 1 }, () => true), undefined);
});
