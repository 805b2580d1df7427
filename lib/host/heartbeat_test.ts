import assert from "node:assert/strict";
import { Backoff } from "../base/backoff.ts";
import { ConnectionProblem } from "../base/errors.ts";
import { Heartbeat } from "./heartbeat.ts";

Deno.test("Heartbeat announces at once, and again when the description changes", async () => {
  const heard: string[] = [];
  const twice = Promise.withResolvers<void>();
  let name = "a";
  const heartbeat = new Heartbeat({
    describe: () => ({ name }),
    announce: (d) => {
      heard.push(d.name);
      if (heard.length === 2) twice.resolve();
      return Promise.resolve();
    },
    checkMs: 1,
  });
  await heartbeat.announced;
  name = "b";
  await twice.promise;
  await heartbeat.close();
  assert.deepEqual(heard, ["a", "b"]);
});

Deno.test("Heartbeat repeats itself when the interval is over although nothing changed", async () => {
  let count = 0;
  const three = Promise.withResolvers<void>();
  const heartbeat = new Heartbeat({
    describe: () => 1,
    announce: () => {
      if (++count === 3) three.resolve();
      return Promise.resolve();
    },
    checkMs: 1,
    announceMs: () => 3,
  });
  await three.promise;
  await heartbeat.close();
});

Deno.test("Heartbeat goes on after the auth service was away", async () => {
  let calls = 0;
  const heartbeat = new Heartbeat({
    describe: () => 1,
    announce: () => ++calls < 3 ? Promise.reject(new ConnectionProblem("away")) : Promise.resolve(),
    checkMs: 1,
    backoff: new Backoff({ minMs: 1, maxMs: 2 }),
  });
  await heartbeat.announced;
  assert.equal(calls, 3);
  await heartbeat.close();
});

Deno.test("close() before the first announcement ends the loop and rejects `announced`", async () => {
  const heartbeat = new Heartbeat({
    describe: () => 1,
    announce: () => Promise.reject(new ConnectionProblem("away")),
    backoff: new Backoff({ minMs: 60_000, maxMs: 60_000 }),
  });
  await heartbeat.close();
  await assert.rejects(heartbeat.announced, /closed/);
});
