import assert from "node:assert/strict";
import { UsageError } from "./exit.ts";
import { Flags } from "./flags.ts";
import { rangeOf } from "./when.ts";

const now = Date.parse("2026-03-02T12:00:00Z");
const range = (from?: string, to?: string) => {
  const given = Object.entries({ from, to }).filter((e): e is [string, string] => !!e[1]);
  return rangeOf(new Flags(new Map(given), ["from", "to"]), now);
};

Deno.test("rangeOf() reads days, times with zones, and how long ago", () => {
  assert.deepEqual(range(), {});
  assert.deepEqual(range("2026-03-01", "2026-03-01"), {
    from: "2026-03-01T00:00:00.000Z",
    to: "2026-03-01T23:59:59.999Z",
  });
  assert.deepEqual(range("2026-03-01T10:00+02:00"), { from: "2026-03-01T08:00:00.000Z" });
  assert.deepEqual(range("2d"), { from: "2026-02-28T12:00:00.000Z" });
  assert.deepEqual(range("90m", "0"), {
    from: "2026-03-02T10:30:00.000Z",
    to: "2026-03-02T12:00:00.000Z",
  });
});

Deno.test("rangeOf() refuses what has no zone or is no time", () => {
  for (const text of ["yesterday", "2026-13-01", "2026-03-02T10:00:00", "-1h", "292277h0m0s9x"]) {
    assert.throws(() => range(text), UsageError, text);
  }
});
