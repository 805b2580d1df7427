import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Duplex, PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { ConnectionProblem } from "../base/errors.ts";
import { ConnStream, copy, dialTcp, readAll, relay } from "./stream.ts";
import { Counter, source, sourceCount, streamPair } from "./testing.ts";

/** Two ends of a TCP connection. */
async function tcpPair(): Promise<[ConnStream, ConnStream]> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const client = await dialTcp({ host: "127.0.0.1", port: listener.addr.port });
  const server = new ConnStream(await accepted);
  listener.close();
  return [client, server];
}

async function said(stream: Duplex): Promise<string> {
  return (await readAll(stream)).toString();
}

async function closed(...streams: Duplex[]): Promise<void> {
  for (const stream of streams) {
    stream.destroy();
    if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
  }
}

Deno.test("ConnStream carries bytes unchanged in both directions at once", async () => {
  const [a, b] = await tcpPair();
  const size = 20 * 1024 * 1024;
  const count = async (stream: Duplex) => {
    const counter = new Counter();
    stream.on("data", (chunk) => counter.add(chunk));
    await new Promise((resolve) => stream.on("end", resolve));
    return counter;
  };
  source(a, size, () => a.end());
  source(b, size, () => b.end());
  const [fromB, fromA] = await Promise.all([count(a), count(b)]);
  assert.deepEqual(fromA, sourceCount(size));
  assert.deepEqual(fromB, sourceCount(size));
  await closed(a, b);
});

Deno.test("ConnStream goes on reading after its writing side ended", async () => {
  const [a, b] = await tcpPair();
  a.end("question");
  assert.equal(await said(b), "question");
  b.end("answer");
  assert.equal(await said(a), "answer");
  await closed(a, b);
});

Deno.test("ConnStream does not change what it has given out when it reads on", async () => {
  const [a, b] = await tcpPair();
  const chunks: Buffer[] = [];
  b.on("data", (chunk) => chunks.push(chunk));
  for (let i = 0; i < 50; i++) {
    a.write(Buffer.alloc(5000, i));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  a.end();
  await new Promise((resolve) => b.on("end", resolve));
  const all = Buffer.concat(chunks);
  assert.equal(all.length, 250_000);
  for (let i = 0; i < all.length; i += 997) assert.equal(all[i], Math.floor(i / 5000));
  await closed(a, b);
});

Deno.test("ConnStream holds back a writer whose peer does not read", async () => {
  const [a, b] = await tcpPair();
  let written = 0;
  const chunk = Buffer.alloc(64 * 1024);
  while (a.write(chunk) || written < 1024 * 1024) written += chunk.length;
  assert.ok(a.writableNeedDrain);
  const drained = new Promise((resolve) => a.once("drain", resolve));
  b.resume();
  await drained;
  await closed(a, b);
});

Deno.test("a reset connection is an error at the other end", async () => {
  const [a, b] = await tcpPair();
  // Unread bytes make a close a reset.
  a.write("x");
  await new Promise((resolve) => setTimeout(resolve, 20));
  b.destroy();
  const error = await new Promise((resolve) => {
    a.on("error", resolve);
    a.resume();
    a.write("y");
  });
  assert.ok(error instanceof ConnectionProblem);
  await closed(a, b);
});

Deno.test("dialTcp() says which address it could not reach", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await assert.rejects(dialTcp({ host: "127.0.0.1", port }), (error: Error) => {
    assert.ok(error instanceof ConnectionProblem);
    assert.match(
      error.message,
      new RegExp(`Cannot connect to 127\\.0\\.0\\.1:${port}: .*refused`, "i"),
    );
    return true;
  });
});

Deno.test("dialTcp() stops when it is told to", async () => {
  const reason = new Error("never mind");
  const dialling = dialTcp({ host: "127.0.0.1", port: 9, signal: AbortSignal.abort(reason) });
  await assert.rejects(dialling, (error) => error === reason);
});

Deno.test("copy() into a stream that keeps its chunks leaves them as they are", async () => {
  const [a, b] = await tcpPair();
  const keeper = new PassThrough({ highWaterMark: 64 * 1024 * 1024 });
  const size = 20 * 1024 * 1024;
  source(a, size, () => a.end());
  await copy(b, keeper);
  const counter = new Counter();
  for await (const chunk of keeper) counter.add(chunk);
  assert.deepEqual(counter, sourceCount(size));
  await closed(a, b);
});

Deno.test("ConnStream uses memory again only while its chunk is being handled", async () => {
  const [a, b] = await tcpPair();
  const kept: Buffer[] = [];
  b.on("data", (chunk: Buffer) => {
    if (kept.length === 0) kept.push(chunk);
    else b.reuse(kept[0]!); // too late
  });
  for (let i = 0; i < 20; i++) {
    a.write(Buffer.alloc(1000, i + 1));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  a.end();
  await new Promise((resolve) => b.on("end", resolve));
  assert.deepEqual(kept[0]!.subarray(0, 1000), Buffer.alloc(1000, 1));
  await closed(a, b);
});

Deno.test("relay() copies both ways, ends each direction by itself, and counts", async () => {
  const [left, a] = streamPair();
  const [right, b] = streamPair();
  const relayed = relay(a, b);
  left.end("question");
  assert.equal(await said(right), "question");
  right.end("the answer");
  assert.equal(await said(left), "the answer");
  assert.deepEqual(await relayed, { aToB: 8, bToA: 10 });
  assert.ok(a.destroyed && b.destroyed);
});

Deno.test("relay() between sockets carries 20 MiB with either end slow", async () => {
  const [left, a] = await tcpPair();
  const [b, right] = await tcpPair();
  const size = 20 * 1024 * 1024;
  const relayed = relay(a, b);
  source(left, size, () => left.end());
  const counter = new Counter();
  for await (const chunk of right) {
    counter.add(chunk);
    if (counter.bytes % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  right.end();
  assert.deepEqual(counter, sourceCount(size));
  assert.deepEqual(await relayed, { aToB: size, bToA: 0 });
  await closed(left, right);
});

Deno.test("relay() ends when one of the streams breaks, and leaves nothing open", async () => {
  for (const broken of [0, 1]) {
    const [left, a] = streamPair();
    const [right, b] = streamPair();
    const relayed = relay(a, b);
    left.resume();
    right.resume();
    [left, right][broken]!.destroy();
    await relayed;
    assert.ok(a.destroyed && b.destroyed);
  }
});

Deno.test("relay() delivers what a stream said before it was closed for good", async () => {
  const [left, a] = await tcpPair();
  const [b, right] = await tcpPair();
  const relayed = relay(a, b);
  const size = 3 * 1024 * 1024;
  right.end();
  source(left, size, () => left.end());
  const got = await buffer(right);
  assert.equal(got.length, size);
  await relayed;
  await closed(left, right);
});

Deno.test("relay() of streams that are gone already ends at once", async () => {
  const [, a] = streamPair();
  const [, b] = streamPair();
  a.destroy();
  await relay(a, b);
  assert.ok(b.destroyed);
});

Deno.test("readAll() reads to the end, and not more than it may", async () => {
  const [a, b] = streamPair();
  a.end("abc");
  assert.equal((await readAll(b)).toString(), "abc");
  const [c, d] = streamPair();
  c.end("abcd");
  await assert.rejects(readAll(d, 3), /more than 3 bytes/);
});
