import assert from "node:assert/strict";
import { changedSpeed, pauseOf } from "./pace.ts";

Deno.test("pauseOf() cuts pauses as Teleport does, unless it is told how", () => {
  const pauses = [0, 9, 10, 250, 251, 500, 501, 1000, 1001, 1e12].map((gap) => pauseOf(gap));
  assert.deepEqual(pauses, [0, 0, 10, 250, 250, 250, 500, 500, 1000, 1000]);
  assert.deepEqual([5, 300, 5000].map((gap) => pauseOf(gap, 400)), [5, 300, 400]);
  assert.deepEqual([5, 300, 5000].map((gap) => pauseOf(gap, 0)), [5, 300, 5000]);
});

Deno.test("changedSpeed() doubles and halves within bounds", () => {
  assert.equal(changedSpeed(1, "faster"), 2);
  assert.equal(changedSpeed(16, "faster"), 16);
  assert.equal(changedSpeed(0.3, "slower"), 0.25);
});
