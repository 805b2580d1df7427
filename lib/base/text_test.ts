import assert from "node:assert/strict";
import fc from "fast-check";
import { printable } from "./text.ts";

Deno.test("printable() leaves ordinary text of any language alone", () => {
  const text = 'node-1 Übergröße 日本語 😀 👩‍💻 a\\b "c"';
  assert.equal(printable(text), text);
});

Deno.test("attack 44: printable() lets no escape sequence through", () => {
  assert.equal(printable("a\x1b[31mb\x07"), "a\\x1b[31mb\\x07");
  assert.equal(printable("\x9b31m"), "\\x9b31m");
  assert.equal(printable("a\r\nb\0"), "a\\x0d\\x0ab\\x00");
  assert.equal(printable("a\u202eb\u2066"), "a\\u202eb\\u2066");
  assert.equal(printable("\ud800"), "\ufffd");
});

Deno.test("printable() keeps lines when asked to", () => {
  assert.equal(printable("a\n\tb\r\x1b", { lines: true }), "a\n\tb\\x0d\\x1b");
});

Deno.test("printable() gives nothing that a terminal acts on, and is done after one pass", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const shown = printable(text);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/.test(shown));
    assert.equal(printable(shown), shown);
  }));
});
