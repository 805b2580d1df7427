import assert from "node:assert/strict";
import { ConnectionProblem, LimitExceeded } from "../../base/errors.ts";
import { readJson } from "./body.ts";

function request(body: BodyInit, type = "application/json"): Request {
  return new Request("https://proxy/", {
    method: "POST",
    headers: { "content-type": type },
    body,
  });
}

Deno.test("readJson() reads a body that comes in parts", async () => {
  const parts = ['{"a":', " [1", ",2]}"].map((part) => new TextEncoder().encode(part));
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.shift();
      if (part) controller.enqueue(part);
      else controller.close();
    },
  });
  assert.deepEqual(await readJson(request(stream)), { a: [1, 2] });
});

Deno.test("readJson() takes a charset and any case of the type", async () => {
  assert.deepEqual(await readJson(request("{}", "Application/JSON; charset=utf-8")), {});
});

Deno.test("readJson() gives up on a body that does not come", async () => {
  let cancelled = false;
  const never = new ReadableStream<Uint8Array>({
    pull: () => new Promise(() => {}),
    cancel: () => {
      cancelled = true;
    },
  });
  await assert.rejects(
    readJson(request(never), { bytes: 1000, timeoutMs: 5 }),
    ConnectionProblem,
  );
  assert.equal(cancelled, true);
});

Deno.test("readJson() refuses a body over the limit", async () => {
  const limits = { bytes: 10, timeoutMs: 1000 };
  await assert.rejects(readJson(request(JSON.stringify("x".repeat(20))), limits), LimitExceeded);
  assert.equal(await readJson(request('"12345678"'), limits), "12345678");
});

Deno.test("readJson() refuses bytes that are not UTF-8", async () => {
  await assert.rejects(readJson(request(new Uint8Array([0x22, 0xff, 0x22]))), /not valid JSON/);
});
