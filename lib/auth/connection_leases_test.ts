import assert from "node:assert/strict";
import { LimitExceeded } from "../base/errors.ts";
import { NODE_ID, nodeCaller, PROXY, withAuth } from "./testing.ts";

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const OTHER = nodeCaller("99999999-2222-4333-8444-555555555555");
const NODE = nodeCaller(NODE_ID);

Deno.test("a user's connections are counted over all hosts, each user by itself", () =>
  withAuth(async ({ call }) => {
    const acquire = (host: typeof NODE, n: number, user = "joe") =>
      call(host, "connections.acquire", { user, lease: id(n), max: 2 });
    await acquire(NODE, 1);
    await acquire(OTHER, 2);
    await assert.rejects(acquire(PROXY, 3), (e: Error) => {
      assert.ok(e instanceof LimitExceeded);
      assert.equal(e.message, 'too many concurrent ssh connections for user "joe" (max=2)');
      return true;
    });
    await acquire(PROXY, 4, "ann");
    // The answer was lost: the same lease again.
    await acquire(OTHER, 2);
    await call(NODE, "connections.release", { user: "joe", lease: id(1) });
    await acquire(PROXY, 3);
  }));

Deno.test("leases of a host that has died run out, and those that are renewed do not", () =>
  withAuth(async ({ call, clock }) => {
    const acquire = (host: typeof NODE, n: number) =>
      call(host, "connections.acquire", { user: "joe", lease: id(n), max: 2 });
    await acquire(NODE, 1);
    await acquire(OTHER, 2);
    clock.advance(90_000);
    const leases = [{ user: "joe", lease: id(1) }];
    assert.deepEqual(await call(NODE, "connections.renew", { leases }), { lost: [] });
    clock.advance(60_000);
    await acquire(PROXY, 3);
    await assert.rejects(acquire(PROXY, 4), LimitExceeded);
    const late = { leases: [{ user: "joe", lease: id(2) }] };
    assert.deepEqual(await call(OTHER, "connections.renew", late), { lost: [id(2)] });
  }, { clusterConfig: { session_control_timeout: "2m0s" } }));

Deno.test("of many connections at one moment no more than allowed get through", () =>
  withAuth(async ({ call }) => {
    const outcomes = await Promise.allSettled(
      Array.from(
        { length: 20 },
        (_, n) =>
          call(n % 2 ? NODE : OTHER, "connections.acquire", { user: "joe", lease: id(n), max: 3 }),
      ),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 3);
  }));

Deno.test("a host can neither renew nor release another host's leases", () =>
  withAuth(async ({ call }) => {
    await call(NODE, "connections.acquire", { user: "joe", lease: id(1), max: 1 });
    const leases = [{ user: "joe", lease: id(1) }];
    assert.deepEqual(await call(OTHER, "connections.renew", { leases }), { lost: [id(1)] });
    await call(OTHER, "connections.release", leases[0]!);
    await assert.rejects(
      call(OTHER, "connections.acquire", { user: "joe", lease: id(2), max: 1 }),
      LimitExceeded,
    );
  }));
