import assert from "node:assert/strict";
import fc from "fast-check";
import { endsInside, isFullScreen, notice } from "./screen.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

const whole = [
  ..."aé€😀\r\n\t",
  "\x1b[31m",
  "\x1b[?1049h",
  "\x1b]0;title\x07",
  "\x1b]8;;https://example.com\x1b\\",
  "\x1bP$q q\x1b\\",
  "\x1b7",
  "\x1b(B",
  "\x1b#8",
  "\x1bM",
  "\x1b=",
];

Deno.test("endsInside() is false after whole characters and sequences, true in the midst of one", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...whole)), fc.constantFrom(...whole), fc.nat(), (
      before,
      last,
      at,
    ) => {
      const start = bytes(before.join(""));
      const end = bytes(last);
      const all = (upTo: number) => new Uint8Array([...start, ...end.subarray(0, upTo)]);
      assert.equal(endsInside(all(end.length)), false);
      const cut = at % end.length;
      // The last byte of ST is a sequence of its own, and text within a string ends nothing.
      if (cut > 0) assert.equal(endsInside(all(cut)), true, JSON.stringify([last, cut]));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("endsInside() takes any bytes, and gives up on a sequence without an end", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (any) => {
    assert.equal(typeof endsInside(any), "boolean");
  }));
  assert.equal(endsInside(new Uint8Array(0)), false);
  assert.equal(endsInside(bytes(`\x1b]${"x".repeat(100_000)}`)), false);
  assert.equal(endsInside(new Uint8Array([0x80, 0x80, 0x80, 0x80])), false);
});

Deno.test("isFullScreen() knows a picture on the alternate screen", () => {
  assert.equal(isFullScreen(bytes("\x1b[?1049hvim")), true);
  assert.equal(isFullScreen(bytes("$ ls\r\n")), false);
});

Deno.test("notice() fits in a line and holds nothing that a terminal would act on", () => {
  const style = { term: "xterm", cols: 40, fullScreen: true };
  const text = new TextDecoder().decode(notice(`\x1b[2J${"é".repeat(100)}`, style));
  const start = text.indexOf("\x1b[0;7m") + 6;
  const line = text.slice(start, text.indexOf("\x1b[0m", start));
  assert.equal(line.length, 39);
  assert.match(line, /^\\x1b\[2J/);
  const plain = new TextDecoder().decode(notice("bob came", { ...style, term: "dumb" }));
  assert.equal(plain, "\r\nbob came\r\n");
});
