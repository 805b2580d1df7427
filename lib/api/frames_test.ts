import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter, LimitExceeded } from "../base/errors.ts";
import { concat } from "../base/bytes.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";

Deno.test("FrameDecoder gives back what encodeFrame() wrote, however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ a: fc.string(), n: fc.integer() }, { noNullPrototype: true }), {
        maxLength: 8,
      }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
      (messages, cuts) => {
        const bytes = concat(...messages.map((m) => encodeFrame(m)));
        const decoder = new FrameDecoder();
        const seen: unknown[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts[i % cuts.length]!;
          seen.push(...decoder.push(bytes.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(seen, messages);
      },
    ),
  );
});

Deno.test("FrameDecoder throws nothing but our own errors on random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new FrameDecoder(1000).push(bytes);
      } catch (e) {
        assert.ok(e instanceof BadParameter || e instanceof LimitExceeded, String(e));
      }
    }),
  );
});

Deno.test("FrameDecoder refuses a frame over its limit before the bytes have come", () => {
  const head = new Uint8Array([0, 0, 4, 1]);
  assert.throws(() => new FrameDecoder(1024).push(head), LimitExceeded);
});

Deno.test("FrameDecoder drops __proto__ from messages (attack 56)", () => {
  const body = new TextEncoder().encode('{"a":{"__proto__":{"admin":true}}}');
  const [message] = new FrameDecoder().push(concat(new Uint8Array([0, 0, 0, body.length]), body));
  const { a } = message as { a: object };
  assert.deepEqual(Object.getOwnPropertyNames(a), []);
  assert.equal((Object.assign({}, a) as { admin?: boolean }).admin, undefined);
});
