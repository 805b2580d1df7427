import assert from "node:assert/strict";
import { countsOf } from "./deno_summary.ts";

Deno.test("countsOf() reads summaries with and without steps", () => {
  assert.deepEqual(countsOf("a ... ok (0ms)\n\nok | 12 passed | 0 failed (676ms)\n"), {
    passed: 12,
    failed: 0,
  });
  assert.deepEqual(countsOf("FAILED | 3 passed (7 steps) | 2 failed (1 step) (1m2s)\n"), {
    passed: 3,
    failed: 2,
  });
});

Deno.test("countsOf() adds the summaries of several runs up", () => {
  assert.deepEqual(
    countsOf("ok | 1 passed | 0 failed (1s)\nnoise\nFAILED | 4 passed | 5 failed (1s)\n"),
    { passed: 5, failed: 5 },
  );
});

Deno.test("countsOf() counts nothing that a test merely printed", () => {
  assert.deepEqual(countsOf("  ok | 9 passed | 0 failed\nit said ok | 9 passed | 0 failed\n"), {
    passed: 0,
    failed: 0,
  });
});
