import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, equalBytes, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import {
  headerLine,
  markerLine,
  OutputEncoder,
  parseEvent,
  parseHeader,
  resizeLine,
} from "./cast.ts";
import { testMeta } from "./test_recordings.ts";

/** What a player shows of these lines. */
function shown(lines: string): Uint8Array {
  const parts = lines.split("\n").slice(0, -1).map((line) => {
    const event = parseEvent(line);
    assert.equal(event?.type, "output");
    return event.type === "output" ? event.data : new Uint8Array(0);
  });
  return concat(...parts);
}

function encodeAll(chunks: Uint8Array[]): string {
  const encoder = new OutputEncoder();
  return chunks.map((chunk, i) => encoder.encode(i, chunk)).join("") +
    encoder.flush(chunks.length);
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.string({ unit: "grapheme", maxLength: 40 }).map(utf8Encode),
);

Deno.test("any output comes out as it went in, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 8 }), (chunks) => {
      assert.ok(equalBytes(shown(encodeAll(chunks)), concat(...chunks)));
    }),
    { numRuns: 500 },
  );
});

Deno.test("text is text, wherever a character is cut in two", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.array(fc.nat(120), { maxLength: 6 }),
      (text, cuts) => {
        const all = utf8Encode(text.toWellFormed());
        const ends = [...cuts.filter((cut) => cut < all.length), all.length].sort((a, b) => a - b);
        const chunks = ends.map((end, i) => all.subarray(ends[i - 1] ?? 0, end));
        const lines = encodeAll(chunks);
        assert.doesNotMatch(lines, /x-bytes/);
        assert.ok(equalBytes(shown(lines), all));
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("what is not UTF-8 is x-bytes, and the text around it stays readable", () => {
  const long = "a line of text that is long enough to stay";
  const lines = encodeAll([concat(utf8Encode(long), Uint8Array.of(0xff, 0xc0), utf8Encode(long))]);
  assert.deepEqual(
    lines.trimEnd().split("\n").map((line) => JSON.parse(line)),
    [[0, "o", long], [0, "x-bytes", "/8A="], [0, "o", long]],
  );
  // Surrogates, overlong forms and what is beyond Unicode are not UTF-8.
  for (const bad of [[0xed, 0xa0, 0x80], [0xe0, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5]]) {
    assert.match(encodeAll([Uint8Array.from(bad)]), /^\[0,"x-bytes"/);
  }
});

Deno.test("a byte order mark is output like any other", () => {
  assert.equal(encodeAll([Uint8Array.of(0xef, 0xbb, 0xbf)]), '[0,"o","\ufeff"]\n');
});

Deno.test("the header is that of asciicast v2, with the session's description", () => {
  const line = headerLine(testMeta());
  const value = JSON.parse(line);
  assert.deepEqual({ ...value, teleport: undefined }, {
    version: 2,
    width: 80,
    height: 24,
    timestamp: 1_767_323_045,
    env: { TERM: "xterm-256color" },
    title: "root@db-1",
    teleport: undefined,
  });
  assert.deepEqual(parseHeader(line).teleport, testMeta());
});

Deno.test("resizes and markers are read back", () => {
  assert.deepEqual(parseEvent(resizeLine(1.5, { cols: 100, rows: 30 }).trimEnd()), {
    type: "resize",
    time: 1.5,
    cols: 100,
    rows: 30,
  });
  const label = 'join "alice"\n\u001b[31m (peer)';
  assert.deepEqual(parseEvent(markerLine(2.000_000_4, label).trimEnd()), {
    type: "marker",
    time: 2,
    label,
  });
});

Deno.test("events of other kinds are passed over, what is no event is refused", () => {
  assert.equal(parseEvent('[1,"i","input"]'), undefined);
  assert.equal(parseEvent('[1,"x-new",{"a":1}]'), undefined);
  const refused = [
    "",
    "{}",
    "[]",
    "null",
    '[1,"o"]',
    '["1","o","x"]',
    '[-1,"o","x"]',
    '[1e999,"o","x"]',
    '[1,2,"x"]',
    '[1,"o",2]',
    '[1,"r","0x0"]',
    '[1,"r","99999x1"]',
    '[1,"r","80x24x"]',
    '[1,"x-bytes","%%%"]',
    '[1,"o","x"',
  ];
  for (const line of refused) assert.throws(() => parseEvent(line), BadParameter, line);
});

Deno.test("headers from elsewhere are read within bounds or refused", () => {
  assert.deepEqual(parseHeader('{"version":2,"width":80,"height":24}'), { width: 80, height: 24 });
  const meta = (over: object) =>
    JSON.stringify({ version: 2, width: 80, height: 24, teleport: { ...testMeta(), ...over } });
  const refused = [
    "",
    "[]",
    '{"version":1,"width":80,"height":24}',
    '{"version":2,"width":0,"height":24}',
    '{"version":2,"width":80,"height":1e9}',
    meta({ sid: "../../etc/passwd" }),
    meta({ sid: undefined }),
    meta({ user: 5 }),
    meta({ user: "x".repeat(513) }),
    meta({ started: "yesterday" }),
    meta({ cols: 0 }),
    meta({ recorded_by: "me" }),
  ];
  for (const line of refused) assert.throws(() => parseHeader(line), BadParameter, line);
});

Deno.test("any text is read as an event or refused with BadParameter", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      for (const parse of [parseEvent, parseHeader]) {
        try {
          parse(line);
        } catch (e) {
          assert.ok(e instanceof BadParameter, String(e));
        }
      }
    }),
    { numRuns: 500 },
  );
});
