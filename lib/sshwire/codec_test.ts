import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { onlyBadParameter } from "./test_openssh.ts";

Deno.test("WireWriter.mpint() writes the examples of RFC 4251", () => {
  const cases = [
    ["", "00000000"],
    ["0000", "00000000"],
    ["09a378f9b2e332a7", "0000000809a378f9b2e332a7"],
    ["80", "000000020080"],
    ["0080", "000000020080"],
    ["7f", "000000017f"],
  ] as const;
  for (const [magnitude, wire] of cases) {
    assert.equal(toHex(new WireWriter().mpint(fromHex(magnitude)).bytes()), wire);
  }
});

Deno.test("WireReader.mpint() refuses negative and padded integers", () => {
  for (
    const wire of ["0000000180", "00000002edcc", "0000000100", "000000020001", "000000030000ff"]
  ) {
    assert.throws(() => new WireReader(fromHex(wire)).mpint(), BadParameter, wire);
  }
});

Deno.test("WireReader gives back what WireWriter was given", () => {
  const values = fc.record({
    u8: fc.nat(255),
    u32: fc.nat(0xffffffff),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    bool: fc.boolean(),
    bytes: fc.uint8Array(),
    text: fc.string({ unit: "grapheme" }),
    magnitude: fc.uint8Array().filter((bytes) => bytes[0] !== 0),
    tail: fc.uint8Array(),
  });
  fc.assert(fc.property(values, (v) => {
    const wire = new WireWriter().u8(v.u8).u32(v.u32).u64(v.u64).bool(v.bool).string(v.bytes)
      .string(v.text).mpint(v.magnitude).raw(v.tail).bytes();
    const reader = new WireReader(wire);
    assert.equal(reader.u8(), v.u8);
    assert.equal(reader.u32(), v.u32);
    assert.equal(reader.u64(), v.u64);
    assert.equal(reader.bool(), v.bool);
    assert.equal(toHex(reader.string()), toHex(v.bytes));
    assert.equal(reader.utf8(), v.text);
    assert.equal(toHex(reader.mpint()), toHex(v.magnitude));
    assert.equal(reader.remaining, v.tail.length);
    assert.equal(toHex(reader.rest()), toHex(v.tail));
    reader.end();
  }));
});

Deno.test("WireReader throws nothing but BadParameter, whatever is read from whatever bytes", () => {
  const operations = ["u8", "u32", "u64", "bool", "string", "utf8", "mpint", "end"] as const;
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 40 }),
    fc.array(fc.constantFrom(...operations), { maxLength: 8 }),
    (bytes, reads) => {
      const reader = new WireReader(bytes);
      onlyBadParameter(() => reads.forEach((read) => reader[read]()));
    },
  ));
});

Deno.test("attack 15: WireReader.string() refuses a length beyond the end", () => {
  for (const wire of ["", "000000", "00000001", "ffffffff00", "7fffffff", "80000000"]) {
    assert.throws(() => new WireReader(fromHex(wire)).string(), BadParameter, wire);
  }
});

Deno.test("WireReader.end() refuses trailing bytes, and bool() anything but 0 and 1", () => {
  assert.throws(() => new WireReader(Uint8Array.of(1)).end(), /1 bytes too many/);
  assert.throws(() => new WireReader(Uint8Array.of(2)).bool(), BadParameter);
});

Deno.test("WireReader reads from the middle of a larger buffer", () => {
  const reader = new WireReader(fromHex("ffff0000000161ffff").subarray(2, 7), "test");
  assert.equal(reader.utf8(), "a");
  reader.end();
});

Deno.test("WireReader.utf8() refuses text that is not UTF-8", () => {
  assert.throws(() => new WireReader(fromHex("00000001c3")).utf8(), BadParameter);
});
