import assert from "node:assert/strict";
import fc from "fast-check";
import { setModes, TERMIOS_SIZE } from "./modes.ts";

const blank = () => new DataView(new ArrayBuffer(TERMIOS_SIZE));
const set = (modes: Iterable<[number | string, number]>, termios = blank()) => {
  setModes(termios, new Map(modes));
  return termios;
};

Deno.test("setModes() takes opcodes and names for the same", () => {
  const byName = set([["VINTR", 3], ["ECHO", 1], ["ONLCR", 1], ["IUTF8", 1], ["CS7", 1]]);
  const byCode = set([[1, 3], [53, 1], [72, 1], [42, 1], [90, 1]]);
  assert.deepEqual(new Uint8Array(byName.buffer), new Uint8Array(byCode.buffer));
  assert.equal(byName.getUint8(17), 3);
  assert.equal(byName.getUint32(12, true), 0o10);
  assert.equal(byName.getUint32(0, true), 0o40000);
});

Deno.test("setModes() switches a control character off for 255", () => {
  const termios = set([["VSUSP", 26]]);
  assert.equal(termios.getUint8(17 + 10), 26);
  assert.equal(set([["VSUSP", 255]], termios).getUint8(17 + 10), 0);
});

Deno.test("setModes() keeps CS7 and CS8 apart", () => {
  assert.equal(set([["CS8", 1], ["CS7", 1]]).getUint32(8, true) & 0o60, 0o40);
  assert.equal(set([["CS7", 0], ["CS8", 1]]).getUint32(8, true) & 0o60, 0o60);
  assert.equal(set([["CS8", 1], ["CS7", 0]]).getUint32(8, true) & 0o60, 0o60);
});

Deno.test("setModes() sets speeds that Linux has, and only those", () => {
  const termios = set([["TTY_OP_OSPEED", 38400], ["TTY_OP_ISPEED", 115200]]);
  assert.equal(termios.getUint32(56, true), 15);
  assert.equal(termios.getUint32(52, true), 0o10002);
  assert.equal(termios.getUint32(8, true), 15);
  assert.equal(set([["TTY_OP_OSPEED", 12345]], termios).getUint32(56, true), 15);
});

Deno.test("setModes() leaves everything alone for modes it does not know", () => {
  const known = (n: number) => n <= 18 || (n >= 30 && n <= 93) || n === 128 || n === 129;
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }).filter((n) => !known(n)), fc.nat())),
    (modes) => {
      assert.deepEqual(new Uint8Array(set(modes).buffer), new Uint8Array(TERMIOS_SIZE));
    },
  ));
});

Deno.test("setModes() takes any opcodes and values", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }))),
    (modes) => {
      set(modes);
    },
  ));
});
