import assert from "node:assert/strict";
import { generateSync } from "otplib";
import { FakeClock } from "../base/clock.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { matchingStep, newSecret, OneTimeCodes, otpUri } from "./totp.ts";

const STEP = 30_000;

async function setUp() {
  const clock = new FakeClock(Date.UTC(2025, 0, 1, 0, 0, 5));
  const backend = new MemoryBackend({ clock });
  const codes = new OneTimeCodes(backend, clock);
  const secret = newSecret();
  await codes.set("joe", secret, -1);
  const code = (offsetMs = 0) =>
    generateSync({ secret, epoch: Math.floor((clock.now() + offsetMs) / 1000) });
  return { clock, codes, code, secret };
}

Deno.test("a code agrees with RFC 6238's test vector", () => {
  // Secret "12345678901234567890", SHA-1; the RFC's 8 digits end in these 6.
  const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  assert.equal(matchingStep(secret, "287082", 59_000), 1);
  assert.equal(matchingStep(secret, "081804", 1_111_111_109_000), 37_037_036);
});

Deno.test("a code is good once (attack 45: in the same step and in the next one)", async () => {
  const { clock, codes, code } = await setUp();
  const first = code();
  assert.equal(await codes.use("joe", first), "ok");
  assert.equal(await codes.use("joe", first), "used");
  clock.advance(STEP);
  assert.equal(await codes.use("joe", first), "used");
  assert.equal(await codes.use("joe", code()), "ok");
  clock.advance(STEP);
  assert.equal(await codes.use("joe", first), "wrong");
});

Deno.test("of logins at the same moment with one code exactly one wins (attack 45)", async () => {
  const { codes, code } = await setUp();
  const same = code();
  const results = await Promise.all(Array.from({ length: 20 }, () => codes.use("joe", same)));
  assert.equal(results.filter((r) => r === "ok").length, 1);
  assert.equal(results.filter((r) => r === "used").length, 19);
});

Deno.test("two different codes at the same moment may both win, in order of their steps", async () => {
  const { codes, code } = await setUp();
  const results = await Promise.all([codes.use("joe", code()), codes.use("joe", code(STEP))]);
  assert.deepEqual(results, ["ok", "ok"]);
});

Deno.test("the steps before and after are accepted, further ones are not", async () => {
  for (
    const [offset, expected] of [
      [-2 * STEP, "wrong"],
      [-STEP, "ok"],
      [STEP, "ok"],
      [2 * STEP, "wrong"],
    ] as const
  ) {
    const { codes, code } = await setUp();
    assert.equal(await codes.use("joe", code(offset)), expected, `offset ${offset}`);
  }
});

Deno.test("a code of a step before the last accepted one is used up with it", async () => {
  const { codes, code } = await setUp();
  assert.equal(await codes.use("joe", code(STEP)), "ok");
  assert.equal(await codes.use("joe", code()), "used");
});

Deno.test("when the clock steps back, used codes stay used (attack 46)", async () => {
  const { clock, codes, code } = await setUp();
  const later = code();
  assert.equal(await codes.use("joe", later), "ok");
  clock.advance(-10 * STEP);
  assert.equal(await codes.use("joe", code()), "used");
  assert.equal(await codes.use("joe", later), "wrong");
  clock.advance(11 * STEP);
  assert.equal(await codes.use("joe", code()), "ok");
});

Deno.test("what is no six digits is wrong, and a user without a device has none", async () => {
  const { codes } = await setUp();
  for (const bad of ["", "12345", "1234567", "12345a", "１２３４５６", " 123456", "-12345"]) {
    assert.equal(await codes.use("joe", bad), "wrong");
  }
  assert.equal(await codes.use("ann", "123456"), "none");
});

Deno.test("otpUri() is what authenticators read", () => {
  const uri = new URL(otpUri("joe", "example.com", "GEZDGNBVGY3TQOJQ"));
  assert.equal(uri.protocol, "otpauth:");
  assert.equal(
    decodeURIComponent(uri.pathname.replace(/^\/*/, "").replace(/^totp\//, "")),
    "Teleport:joe@example.com",
  );
  assert.equal(uri.searchParams.get("secret"), "GEZDGNBVGY3TQOJQ");
  assert.equal(uri.searchParams.get("issuer"), "Teleport");
});
