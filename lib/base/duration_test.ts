import assert from "node:assert/strict";
import fc from "fast-check";
import { formatDuration, parseDuration } from "./duration.ts";
import { BadParameter } from "./errors.ts";

Deno.test("parseDuration() reads Go's notation", () => {
  const cases: [string, number][] = [
    ["30h0m0s", 108_000_000],
    ["1h30m", 5_400_000],
    ["90s", 90_000],
    ["500ms", 500],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["2500us", 3],
    ["2500µs", 3],
    ["0s", 0],
    ["0", 0],
    ["never", 0],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

Deno.test("parseDuration() refuses what it does not understand", () => {
  for (
    const text of ["", "12", "h", "1x", "-1h", "1h ", " 1h", "1 h", "1e3s", "1h30", ".s", "Never"]
  ) {
    assert.throws(() => parseDuration(text), BadParameter, JSON.stringify(text));
  }
});

Deno.test("parseDuration() refuses more than int64 nanoseconds hold", () => {
  assert.throws(() => parseDuration("9999999999h"), BadParameter);
  assert.throws(() => parseDuration(`${"9".repeat(400)}h`), BadParameter);
});

Deno.test("formatDuration() writes as Go does", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [1, "1ms"],
    [999, "999ms"],
    [1500, "1.5s"],
    [90_000, "1m30s"],
    [3_600_000, "1h0m0s"],
    [43_200_000, "12h0m0s"],
    [-500, "-500ms"],
  ];
  for (const [ms, text] of cases) assert.equal(formatDuration(ms), text);
});

Deno.test("parseDuration() gives back what formatDuration() was given", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => {
    assert.equal(parseDuration(formatDuration(ms)), ms);
  }));
});

Deno.test("parseDuration() throws nothing but BadParameter", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      assert(parseDuration(text) >= 0);
    } catch (e) {
      assert(e instanceof BadParameter);
    }
  }));
});
