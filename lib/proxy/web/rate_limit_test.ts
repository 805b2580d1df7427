import assert from "node:assert/strict";
import { FakeClock } from "../../base/clock.ts";
import { LimitExceeded } from "../../base/errors.ts";
import { RateLimit } from "./rate_limit.ts";

function allowed(limit: RateLimit, address: string): boolean {
  try {
    limit.take(address);
    return true;
  } catch (error) {
    assert.ok(error instanceof LimitExceeded);
    return false;
  }
}

Deno.test("RateLimit gives a burst, then so many a second", () => {
  const clock = new FakeClock();
  const limit = new RateLimit({ perSecond: 2, burst: 3, clock });
  const take = () => allowed(limit, "192.0.2.1");
  assert.deepEqual([take(), take(), take(), take()], [true, true, true, false]);
  clock.advance(500);
  assert.deepEqual([take(), take()], [true, false]);
  clock.advance(60_000);
  assert.deepEqual([take(), take(), take(), take()], [true, true, true, false]);
});

Deno.test("a clock that goes back gives nothing and takes nothing", () => {
  const clock = new FakeClock();
  const limit = new RateLimit({ perSecond: 1, clock });
  assert.equal(allowed(limit, "192.0.2.1"), true);
  clock.advance(-100_000);
  assert.equal(allowed(limit, "192.0.2.1"), false);
  clock.advance(1_000);
  assert.equal(allowed(limit, "192.0.2.1"), true);
});

Deno.test("one IPv6 network of 64 bits counts as one client, and so does a mapped address", () => {
  const limit = new RateLimit({ perSecond: 1, clock: new FakeClock() });
  assert.equal(allowed(limit, "2001:db8:1:2::1"), true);
  assert.equal(allowed(limit, "2001:db8:1:2:ffff::9"), false);
  assert.equal(allowed(limit, "2001:db8:1:3::1"), true);
  assert.equal(allowed(limit, "::1"), true);
  assert.equal(allowed(limit, "192.0.2.1"), true);
  assert.equal(allowed(limit, "::ffff:192.0.2.1"), false);
});

Deno.test("RateLimit remembers a bounded number of clients and forgets the oldest", () => {
  const limit = new RateLimit({ perSecond: 1, maxClients: 2, clock: new FakeClock() });
  assert.equal(allowed(limit, "192.0.2.1"), true);
  assert.equal(allowed(limit, "192.0.2.2"), true);
  assert.equal(allowed(limit, "192.0.2.2"), false);
  assert.equal(allowed(limit, "192.0.2.3"), true);
  assert.equal(allowed(limit, "192.0.2.2"), false);
  assert.equal(allowed(limit, "192.0.2.1"), true);
});
