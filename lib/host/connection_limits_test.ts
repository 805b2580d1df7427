import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { ConnectionLimits, type ConnectionLimitsOptions } from "./connection_limits.ts";

/** Sets a clock so that the next timer is due at once, and gives the reason. */
function reasonOf(o: Partial<ConnectionLimitsOptions>, clock: FakeClock): Promise<string> {
  return new Promise((disconnect) => {
    new ConnectionLimits({ clock, idleTimeoutMs: 0, ...o, disconnect });
  });
}

Deno.test("ConnectionLimits ends a connection whose certificate has ended", async () => {
  const clock = new FakeClock(Date.UTC(2025, 0, 1));
  const reason = await reasonOf({ expiresMs: Date.UTC(2025, 0, 1) }, clock);
  assert.equal(reason, "client certificate expired at 2025-01-01T00:00:00.000Z");
});

Deno.test("ConnectionLimits takes the certificate's end for later than a timer can hold", () => {
  const clock = new FakeClock(0);
  const limits = new ConnectionLimits({
    clock,
    expiresMs: Number.MAX_SAFE_INTEGER,
    idleTimeoutMs: 0,
    disconnect: () => assert.fail("it has not ended"),
  });
  limits.stop();
});

Deno.test("ConnectionLimits ends a connection that nobody uses, and says for how long", async () => {
  const clock = new FakeClock(0);
  const ended = Promise.withResolvers<string>();
  new ConnectionLimits({ clock, idleTimeoutMs: 20, disconnect: ended.resolve });
  clock.advance(1_800_000);
  assert.match(await ended.promise, /^client is idle for 30m0s, exceeded idle timeout of /);
});

Deno.test("ConnectionLimits leaves a connection that is used, and one that has ended", async () => {
  const clock = new FakeClock(0);
  let disconnected = false;
  const limits = new ConnectionLimits({
    clock,
    idleTimeoutMs: 10,
    disconnect: () => disconnected = true,
  });
  for (let i = 0; i < 5; i++) {
    clock.advance(9);
    limits.active();
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  limits.stop();
  clock.advance(1000);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(disconnected, false);
});
