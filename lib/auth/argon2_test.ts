import assert from "node:assert/strict";
import fc from "fast-check";
import { argon2id } from "hash-wasm";
import { toHex } from "../base/bytes.ts";
import { Argon2id, TAG_BYTES } from "./argon2.ts";

Deno.test("Argon2id gives what another implementation gives, for any parameters", async () => {
  const ours = await Argon2id.create();
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.uint8Array({ minLength: 8, maxLength: 40 }),
      fc.integer({ min: 8, max: 1200 }),
      fc.integer({ min: 1, max: 4 }),
      async (password, salt, memoryKiB, passes) => {
        const theirs = await argon2id({
          password,
          salt,
          memorySize: memoryKiB,
          iterations: passes,
          parallelism: 1,
          hashLength: TAG_BYTES,
        });
        assert.equal(toHex(ours.hash(password, salt, { memoryKiB, passes })), theirs);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("Argon2id gives the same tag with more memory than the module began with", async () => {
  const ours = await Argon2id.create();
  const password = new TextEncoder().encode("password");
  const salt = new TextEncoder().encode("somesalt");
  const theirs = await argon2id({
    password,
    salt,
    memorySize: 70_000,
    iterations: 1,
    parallelism: 1,
    hashLength: TAG_BYTES,
  });
  assert.equal(toHex(ours.hash(password, salt, { memoryKiB: 70_000, passes: 1 })), theirs);
});
