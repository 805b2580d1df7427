import assert from "node:assert/strict";
import fc from "fast-check";
import {
  concat,
  constantTimeEqual,
  equalBytes,
  fromBase64,
  fromHex,
  toBase64,
  toHex,
  utf8Decode,
  utf8Encode,
} from "./bytes.ts";
import { BadParameter } from "./errors.ts";

Deno.test("fromHex() and fromBase64() give back what toHex() and toBase64() were given", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    assert.deepEqual(fromHex(toHex(bytes)), Uint8Array.from(bytes));
    assert.deepEqual(fromBase64(toBase64(bytes)), Uint8Array.from(bytes));
  }));
});

Deno.test("toHex() and toBase64() respect the borders of a view", () => {
  const view = Uint8Array.of(1, 2, 3, 4, 5).subarray(1, 3);
  assert.equal(toHex(view), "0203");
  assert.equal(toBase64(view), "AgM=");
});

Deno.test("fromBase64() refuses missing padding, white space, URL letters and stray bits", () => {
  for (
    const text of [
      "QQ",
      "QQ=",
      "QQ== ",
      "Q\nQ==",
      "-_-_",
      "QR==",
      "QQ==QQ==",
      "é===",
      "A",
      "AAAAA",
      "====",
      "A===",
    ]
  ) {
    assert.throws(() => fromBase64(text), BadParameter, JSON.stringify(text));
  }
  assert.deepEqual(fromBase64(""), new Uint8Array());
});

Deno.test("fromBase64() and fromHex() throw nothing but BadParameter", () => {
  const near = fc.string({ unit: fc.constantFrom(..."ABab01+/=-_ \n") });
  fc.assert(fc.property(fc.oneof(near, fc.string()), (text) => {
    for (const [read, write] of [[fromBase64, toBase64], [fromHex, toHex]] as const) {
      try {
        assert.equal(write(read(text)).toLowerCase(), text.toLowerCase());
      } catch (e) {
        assert(e instanceof BadParameter);
      }
    }
  }));
});

Deno.test("fromHex() refuses odd lengths and other letters", () => {
  for (const text of ["0", "0g", "0x00", " 00", "00\n"]) {
    assert.throws(() => fromHex(text), BadParameter);
  }
});

Deno.test("utf8Decode() refuses malformed text and keeps a byte order mark", () => {
  assert.throws(() => utf8Decode(Uint8Array.of(0xc3)), BadParameter);
  assert.throws(() => utf8Decode(Uint8Array.of(0xed, 0xa0, 0x80)), BadParameter);
  assert.equal(utf8Decode(utf8Encode("\ufeffé😀")), "\ufeffé😀");
});

Deno.test("equalBytes() and constantTimeEqual() agree with each other", () => {
  const pair = fc.tuple(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }));
  fc.assert(fc.property(pair, ([a, b]) => {
    const same = toHex(a) === toHex(b);
    assert.equal(equalBytes(a, b), same);
    assert.equal(constantTimeEqual(a, b), same);
    assert(equalBytes(a, a.slice()) && constantTimeEqual(a, a.slice()));
  }));
});

Deno.test("constantTimeEqual() takes texts, and a prefix is not enough", () => {
  assert(constantTimeEqual("secret", utf8Encode("secret")));
  assert(!constantTimeEqual("secret", "secre"));
  assert(!constantTimeEqual("", "s"));
  assert(!constantTimeEqual("s", ""));
  assert(!constantTimeEqual("a", "a\0"));
});

Deno.test("concat() copies", () => {
  const part = Uint8Array.of(1, 2);
  const all = concat(part, new Uint8Array(), Uint8Array.of(3));
  part[0] = 9;
  assert.deepEqual(all, Uint8Array.of(1, 2, 3));
});
