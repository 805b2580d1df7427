import assert from "node:assert/strict";
import { Backoff, sleep } from "./backoff.ts";

Deno.test("Backoff.next() grows up to its maximum and starts again after reset()", () => {
  const backoff = new Backoff({ minMs: 100, maxMs: 1000, jitter: 0 });
  assert.deepEqual(Array.from({ length: 6 }, () => backoff.next()), [
    100,
    200,
    400,
    800,
    1000,
    1000,
  ]);
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

Deno.test("Backoff.next() takes off up to the jitter's part", () => {
  let random = 0;
  const backoff = new Backoff({ minMs: 100, maxMs: 100, jitter: 0.5, random: () => random });
  assert.equal(backoff.next(), 100);
  random = 0.5;
  assert.equal(backoff.next(), 75);
  random = 0.999;
  assert(backoff.next() > 50);
});

Deno.test("Backoff.next() stays at its maximum after any number of failures", () => {
  const backoff = new Backoff({ minMs: 1, maxMs: 60_000, jitter: 0 });
  for (let i = 0; i < 5000; i++) backoff.next();
  assert.equal(backoff.next(), 60_000);
});

Deno.test("sleep() ends with the signal's reason when it is aborted", async () => {
  const controller = new AbortController();
  const sleeping = sleep(60_000, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(sleeping, /enough/);
  await assert.rejects(sleep(60_000, controller.signal), /enough/);
});

Deno.test("sleep() resolves when its time is over", async () => {
  const controller = new AbortController();
  await sleep(1, controller.signal);
  await sleep(0);
});
