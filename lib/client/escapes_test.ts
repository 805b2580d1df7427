import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, utf8Decode, utf8Encode } from "../base/bytes.ts";
import { EscapeFilter } from "./escapes.ts";

/** Types text in pieces; what is sent, with the escapes in between in angle brackets. */
function typed(...pieces: string[]): string {
  const filter = new EscapeFilter();
  return pieces.flatMap((piece) => filter.push(utf8Encode(piece)))
    .map((part) => "data" in part ? utf8Decode(part.data) : `<${part.escape}>`).join("");
}

Deno.test("EscapeFilter knows the escapes after a line, wherever the pieces are cut", () => {
  assert.equal(typed("ls\r~."), "ls\r<disconnect>");
  assert.equal(typed("~", "."), "<disconnect>");
  assert.equal(typed("a\n", "~", "?"), "a\n<help>");
  assert.equal(typed("~#~\x1a"), "<list><suspend>");
});

Deno.test("EscapeFilter leaves tildes inside lines alone", () => {
  assert.equal(typed("cd ~.config\r", "echo ~"), "cd ~.config\recho ~");
});

Deno.test("EscapeFilter sends one tilde for two, and what is no escape unchanged", () => {
  assert.equal(typed("~~.\r"), "~.\r");
  assert.equal(typed("~", "/bin\r"), "~/bin\r");
});

Deno.test("EscapeFilter stays at the line's beginning after an escape, and loses nothing", () => {
  assert.equal(typed("\r~?~.rest"), "\r<help><disconnect>rest");
  assert.equal(typed("\r~?", "ls\r"), "\r<help>ls\r");
});

Deno.test("EscapeFilter changes nothing in text that has no tilde at a line's beginning", () => {
  const bytes = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 5 });
  fc.assert(fc.property(bytes, (pieces) => {
    const filter = new EscapeFilter();
    filter.push(utf8Encode("x"));
    const harmless = pieces.map((piece) =>
      piece.map((byte) => byte === 10 || byte === 13 ? 65 : byte)
    );
    const out = harmless.flatMap((piece) => filter.push(piece)).map((part) => {
      assert.ok("data" in part);
      return part.data;
    });
    assert.deepEqual(concat(...out), concat(...harmless));
  }));
});
