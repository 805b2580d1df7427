import assert from "node:assert/strict";
import { readAll } from "../../ssh/stream.ts";
import { streamPair } from "./stream_pair.ts";

Deno.test("each direction flows and ends by itself", async () => {
  const [a, b] = streamPair();
  a.end("to b");
  assert.equal((await readAll(b)).toString(), "to b");
  b.write("still ");
  b.end("to a");
  assert.equal((await readAll(a)).toString(), "still to a");
});

Deno.test("a writer waits for a reader who does not read", async () => {
  const [a, b] = streamPair();
  const chunk = new Uint8Array(64 * 1024);
  let written = 0;
  while (a.write(chunk)) written++;
  assert.ok(written < 16, `${written} chunks were taken without a reader`);
  const drained = new Promise((resolve) => a.once("drain", resolve));
  b.resume();
  await drained;
});

Deno.test("eight megabytes arrive whole", async () => {
  const [a, b] = streamPair();
  const data = crypto.getRandomValues(new Uint8Array(65_536));
  const received = readAll(b);
  for (let i = 0; i < 128; i++) {
    if (!a.write(data)) await new Promise((resolve) => a.once("drain", resolve));
  }
  a.end();
  const all = await received;
  assert.equal(all.length, 128 * data.length);
  for (let i = 0; i < 128; i++) {
    assert.ok(all.subarray(i * data.length, (i + 1) * data.length).equals(data), `piece ${i}`);
  }
});

Deno.test("after one end is destroyed, the other reads what came before, and writes into nothing", async () => {
  const [a, b] = streamPair();
  a.write("last words");
  a.destroy();
  assert.equal((await readAll(b)).toString(), "last words");
  await new Promise<void>((resolve) => b.end("nobody hears this", () => resolve()));
});

Deno.test("a write that waits is let go when the reader is destroyed", async () => {
  const [a, b] = streamPair();
  const done = Promise.withResolvers<void>();
  a.write(new Uint8Array(1024 * 1024));
  a.write(new Uint8Array(1), () => done.resolve());
  b.destroy();
  await done.promise;
});
