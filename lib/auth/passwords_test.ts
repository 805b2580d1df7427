import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { BadParameter, InternalError, LimitExceeded } from "../base/errors.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { Argon2Pool } from "./argon2_pool.ts";
import { assertPassword, Passwords } from "./passwords.ts";

async function withPasswords(
  body: (passwords: Passwords, backend: MemoryBackend) => Promise<void>,
): Promise<void> {
  const pool = new Argon2Pool({ workers: 2 });
  const backend = new MemoryBackend();
  try {
    await body(new Passwords(backend, pool, new FakeClock()), backend);
  } finally {
    pool.close();
  }
}

Deno.test("a password is checked against an argon2id string with its own salt and parameters", () =>
  withPasswords(async (passwords, backend) => {
    await passwords.set("joe", "correct horse");
    await passwords.set("ann", "correct horse");
    assert.equal(await passwords.check("joe", "correct horse"), true);
    assert.equal(await passwords.check("joe", "correct horsf"), false);
    assert.equal(await passwords.check("joe", ""), false);
    const stored = JSON.parse((await backend.get("/passwords/joe"))!.value).hash as string;
    assert.match(
      stored,
      /^\$argon2id\$v=19\$m=7168,t=5,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/,
    );
    assert.notEqual(stored, JSON.parse((await backend.get("/passwords/ann"))!.value).hash);
  }));

Deno.test("hashes with other parameters go on to work", () =>
  withPasswords(async (passwords, backend) => {
    // Made by the reference implementation: argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
    const hash =
      "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    await backend.put("/passwords/joe", JSON.stringify({ hash }));
    assert.equal(await passwords.check("joe", "password"), true);
    assert.equal(await passwords.check("joe", "passwore"), false);
  }));

Deno.test("a stored hash that would eat memory or is no hash is refused", () =>
  withPasswords(async (passwords, backend) => {
    for (
      const hash of [
        "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1a",
        "$argon2id$v=19$m=4,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1a",
        "$2y$10$abc",
        "",
      ]
    ) {
      await backend.put("/passwords/joe", JSON.stringify({ hash }));
      await assert.rejects(passwords.check("joe", "password"), BadParameter);
    }
  }));

Deno.test("an unknown user costs a hash as well, with the same parameters (attack 47)", async () => {
  const pool = new Argon2Pool({ workers: 1 });
  const seen: unknown[] = [];
  const hash = pool.hash.bind(pool);
  pool.hash = (request) => {
    seen.push([request.parameters, request.salt.length, request.password.length]);
    return hash(request);
  };
  const passwords = new Passwords(new MemoryBackend(), pool, new FakeClock());
  await passwords.set("joe", "correct horse");
  assert.equal(await passwords.check("joe", "incorrect one"), false);
  assert.equal(await passwords.check("nobody", "incorrect one"), false);
  assert.deepEqual(seen[2], seen[1]);
  pool.close();
});

Deno.test("passwords have 6 to 128 characters, and are the same in any composition", () =>
  withPasswords(async (passwords) => {
    for (const bad of ["", "12345", "x".repeat(129), "😀".repeat(129)]) {
      assert.throws(() => assertPassword(bad), BadParameter);
      await assert.rejects(passwords.set("joe", bad), BadParameter);
    }
    for (const good of ["123456", "x".repeat(128), "😀".repeat(128), "      "]) {
      assertPassword(good);
    }
    await passwords.set("joe", "Zürich-ﬁve");
    assert.equal(await passwords.check("joe", "Zu\u0308rich-five"), true);
    await passwords.set("max", "x".repeat(128));
    assert.equal(await passwords.check("max", "x".repeat(129)), false);
    assert.equal(await passwords.check("max", "x".repeat(1000)), false);
  }));

Deno.test("hashing does not block the event loop", () =>
  withPasswords(async (passwords) => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await passwords.set("joe", "correct horse");
    const before = turns;
    await Promise.all([1, 2, 3, 4].map(() => passwords.check("joe", "correct horse")));
    clearInterval(timer);
    assert.ok(turns - before >= 5, `only ${turns - before} turns of the event loop`);
  }));

Deno.test("Argon2Pool refuses what is too much, and everything after it was closed", async () => {
  const pool = new Argon2Pool({ workers: 1, maxWaiting: 2 });
  const request = {
    password: new Uint8Array(8),
    salt: new Uint8Array(16),
    parameters: { memoryKiB: 1024, passes: 1 },
  };
  const taken = [pool.hash(request), pool.hash(request), pool.hash(request)];
  await assert.rejects(pool.hash(request), LimitExceeded);
  await Promise.all(taken);
  const open = pool.hash(request);
  pool.close();
  await assert.rejects(open, InternalError);
  await assert.rejects(pool.hash(request), InternalError);
});

Deno.test("Argon2Pool tells what a Worker could not do, and goes on", async () => {
  const pool = new Argon2Pool({ workers: 1 });
  const bad = { memoryKiB: 1, passes: 1 };
  const password = new Uint8Array(8);
  const salt = new Uint8Array(16);
  await assert.rejects(pool.hash({ password, salt, parameters: bad }), InternalError);
  const tag = await pool.hash({ password, salt, parameters: { memoryKiB: 64, passes: 1 } });
  assert.equal(tag.length, 32);
  pool.close();
});
