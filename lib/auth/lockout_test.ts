import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { LimitExceeded } from "../base/errors.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { LOCK_MS, Lockout, MAX_FAILURES, REMEMBER_MS, UserLocked } from "./lockout.ts";

function setUp() {
  const clock = new FakeClock(Date.UTC(2025, 0, 6, 12, 0, 0));
  const backend = new MemoryBackend({ clock });
  const lockout = new Lockout(backend, clock);
  let attempts = 0;
  let locks = 0;
  const attempt = (result: string | undefined) =>
    lockout.guard("joe", () => {
      attempts++;
      return Promise.resolve(result);
    }, () => locks++);
  const fail = () => attempt(undefined);
  const succeed = () => attempt("in");
  return { clock, backend, lockout, fail, succeed, attempts: () => attempts, locks: () => locks };
}

Deno.test("the fifth failure in a row locks for 20 minutes, success included (attack 47)", async () => {
  const { clock, fail, succeed, attempts, locks } = setUp();
  for (let i = 1; i < MAX_FAILURES; i++) assert.equal(await fail(), undefined);
  await assert.rejects(fail(), (e: Error) => {
    assert.ok(e instanceof UserLocked);
    assert.equal(
      e.message,
      "joe exceeds 5 failed login attempts, locked until Mon Jan  6 12:20 UTC",
    );
    return true;
  });
  assert.equal(locks(), 1);
  clock.advance(LOCK_MS - 1);
  await assert.rejects(succeed(), UserLocked);
  assert.equal(attempts(), MAX_FAILURES, "a locked user's password is not even looked at");
  clock.advance(1);
  assert.equal(await succeed(), "in");
});

Deno.test("a success in between starts the count anew", async () => {
  const { fail, succeed } = setUp();
  for (let round = 0; round < 3; round++) {
    for (let i = 1; i < MAX_FAILURES; i++) await fail();
    assert.equal(await succeed(), "in");
  }
});

Deno.test("failures are forgotten after 30 minutes", async () => {
  const { clock, fail, succeed } = setUp();
  for (let i = 1; i < MAX_FAILURES; i++) await fail();
  clock.advance(REMEMBER_MS);
  for (let i = 1; i < MAX_FAILURES; i++) await fail();
  assert.equal(await succeed(), "in");
});

Deno.test("attempts during a lock do not make it longer", async () => {
  const { clock, fail, succeed } = setUp();
  for (let i = 1; i < MAX_FAILURES; i++) await fail();
  await assert.rejects(fail(), UserLocked);
  for (let i = 0; i < 50; i++) {
    clock.advance(LOCK_MS / 50 - 1);
    await assert.rejects(fail(), UserLocked);
  }
  clock.advance(50);
  assert.equal(await succeed(), "in");
});

Deno.test("of many guesses side by side exactly five are looked at (attack 48)", async () => {
  const { fail, attempts, locks } = setUp();
  const results = await Promise.allSettled(Array.from({ length: 50 }, fail));
  assert.equal(attempts(), MAX_FAILURES);
  assert.equal(locks(), 1);
  assert.equal(results.filter((r) => r.status === "rejected").length, 50 - MAX_FAILURES + 1);
});

Deno.test("with two auth servers on one store the count is still exact", async () => {
  const { clock, backend, lockout } = setUp();
  const other = new Lockout(backend, clock);
  for (let i = 0; i < 4; i++) {
    await (i % 2 ? lockout : other).guard("joe", () => Promise.resolve(undefined), () => {});
  }
  await assert.rejects(
    other.guard("joe", () => Promise.resolve(undefined), () => {}),
    UserLocked,
  );
  await assert.rejects(lockout.guard("joe", () => Promise.resolve("in"), () => {}), UserLocked);
});

Deno.test("right logins side by side all get in", async () => {
  const { succeed } = setUp();
  const results = await Promise.all(Array.from({ length: 60 }, succeed));
  assert.ok(results.every((r) => r === "in"));
});

Deno.test("a flood of logins of one name is cut off", async () => {
  const { lockout } = setUp();
  const never = Promise.withResolvers<string>();
  const flood = Array.from(
    { length: 100 },
    () => lockout.guard("joe", () => never.promise, () => {}),
  );
  const refused = await Promise.race(
    flood.map((each) => each.then(() => undefined, (e: Error) => e)),
  );
  assert.ok(refused instanceof LimitExceeded);
  never.resolve("in");
  await Promise.allSettled(flood);
});

Deno.test("an attempt that breaks is no failure and leaves its place", async () => {
  const { lockout, succeed } = setUp();
  for (let i = 0; i < 10; i++) {
    await assert.rejects(
      lockout.guard("joe", () => Promise.reject(new Error("storage is away")), () => {}),
      /storage is away/,
    );
  }
  assert.equal(await succeed(), "in");
});

Deno.test("any text may be tried as a name, and names do not share their counts", async () => {
  const { lockout } = setUp();
  for (const name of ["", "/", "../x", "a\nb", "x".repeat(255), "ünïcode\u0000"]) {
    assert.equal(await lockout.guard(name, () => Promise.resolve(undefined), () => {}), undefined);
  }
  assert.equal(await lockout.lockedUntil("x"), undefined);
});
