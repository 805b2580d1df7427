import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, equalBytes, utf8Encode } from "../base/bytes.ts";
import { parseEvent } from "./cast.ts";
import { LineBuffer } from "./line_buffer.ts";
import { OutputEncoder } from "./output_encoder.ts";

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
  const lines = new LineBuffer();
  chunks.forEach((chunk, i) => encoder.encode(i, chunk, lines));
  encoder.flush(chunks.length, lines);
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(lines.content);
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

Deno.test("every character is escaped as JSON wants it", () => {
  const text = Array.from({ length: 0x300 }, (_, code) => String.fromCharCode(code)).join("") +
    "\u2028\u2029\ufffd\u{1f600}";
  const [line, ...more] = encodeAll([utf8Encode(text)]).trimEnd().split("\n");
  assert.deepEqual(more, []);
  assert.deepEqual(JSON.parse(line!), [0, "o", text]);
});

Deno.test("a buffer that is used again has nothing of its past", () => {
  const lines = new LineBuffer();
  for (const size of [10, 200_000, 5, 300_000]) {
    lines.text("x".repeat(size));
    assert.equal(lines.content.length, size);
    lines.clear();
    assert.equal(lines.content.length, 0);
  }
});
