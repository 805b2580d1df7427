import assert from "node:assert/strict";
import { FakeClock, systemClock } from "./clock.ts";
import { isUuid, randomHex, timeOfUuid, timeUuid, uuid } from "./ids.ts";

Deno.test("randomHex() gives two digits a byte, other ones each time", () => {
  assert.match(randomHex(16), /^[0-9a-f]{32}$/);
  assert.notEqual(randomHex(16), randomHex(16));
});

Deno.test("isUuid() takes what uuid() gives and nothing near it", () => {
  const id = uuid();
  assert(isUuid(id));
  for (const text of ["", id.toUpperCase(), `${id}\n`, ` ${id}`, id.slice(1), `${id}.main`]) {
    assert(!isUuid(text), JSON.stringify(text));
  }
});

Deno.test("FakeClock moves only when told to", () => {
  const clock = new FakeClock(1000);
  clock.advance(500);
  assert.equal(clock.now(), 1500);
  clock.set(10);
  assert.equal(clock.now(), 10);
  assert(systemClock.now() > Date.UTC(2024, 0, 1));
});

Deno.test("timeUuid() makes UUIDs of version 7 that say when they were made", () => {
  const now = Date.UTC(2025, 5, 1, 12, 0, 0, 123);
  const made = timeUuid(now);
  assert.ok(isUuid(made));
  assert.equal(made[14], "7");
  assert.match(made[19]!, /[89ab]/);
  assert.equal(timeOfUuid(made), now);
  assert.notEqual(timeUuid(now), made);
  assert.ok(timeUuid(now + 1) > made);
  assert.equal(timeOfUuid(uuid()), undefined);
  assert.equal(timeOfUuid("no"), undefined);
});
