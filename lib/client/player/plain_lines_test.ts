import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8Encode } from "../../base/bytes.ts";
import { PlainLines } from "./plain_lines.ts";

function linesOf(...chunks: string[]): string[] {
  const lines = new PlainLines();
  return [...chunks.flatMap((chunk) => lines.push(utf8Encode(chunk))), ...lines.end()];
}

Deno.test("PlainLines gives what was to be read, without colours", () => {
  assert.deepEqual(linesOf("\x1b[1mone\x1b[0m\r\n\r\ntwo \x1b]0;title\x07日本\r\nlast"), [
    "one",
    "",
    "two 日本",
    "last",
  ]);
});

Deno.test("PlainLines leaves out what was overwritten or erased", () => {
  assert.deepEqual(linesOf("10%\r50%\r100%\r\n"), ["100%"]);
  assert.deepEqual(linesOf("lx\x08s -l\r\n"), ["ls -l"]);
  assert.deepEqual(linesOf("password\x1b[8D\x1b[Kdone\r\n"), ["done"]);
  assert.deepEqual(linesOf("abcdef\x1b[3G\x1b[2P\r\n"), ["abef"]);
  assert.deepEqual(linesOf("abc\x1b[1G\x1b[2@\r\n"), ["  abc"]);
  assert.deepEqual(linesOf("abc\x1b[2D\x1b[X\r\n"), ["a c"]);
  assert.deepEqual(linesOf("-\x1b[4b\r\n"), ["-----"]);
  assert.deepEqual(linesOf("a\tb\x1b[2K\r\n"), [""]);
});

Deno.test("PlainLines begins a line where the cursor jumps to another one", () => {
  assert.deepEqual(linesOf("\x1b[Htop\x1b[24;1Hbottom\x1b[3;3Hmiddle"), [
    "top",
    "bottom",
    "  middle",
  ]);
});

Deno.test("PlainLines puts combining marks to their character, and cuts lines without end", () => {
  assert.deepEqual(linesOf("e\u0301x\r\n"), ["e\u0301x"]);
  const [first, second] = linesOf("a".repeat(40_000));
  assert.equal((first?.length ?? 0) + (second?.length ?? 0), 40_000);
});

Deno.test("attack 59: PlainLines gives no control characters, and no more than fits", () => {
  const hostile = fc.array(
    fc.oneof(
      fc.constantFrom(
        ..."\x1b[ \x1b] \x1bP \x07 \r \n \t \x08 9999C 9999b 9999@ 9999X K J H P".split(" "),
      ),
      fc.string({ unit: "binary", maxLength: 5 }),
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(hostile, (chunks) => {
      const text = linesOf(...chunks).join("");
      // deno-lint-ignore no-control-regex
      assert.ok(!/[\x00-\x1f\x7f-\x9f]/.test(text), JSON.stringify(text));
      assert.ok(text.length <= chunks.length * 35_000);
    }),
    { numRuns: 500 },
  );
});
