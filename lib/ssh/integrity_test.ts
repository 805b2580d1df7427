/** What happens to connections whose bytes are changed, cut off or made up on the way. */
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import fc from "fast-check";
import { connectSsh } from "./client.ts";
import { readAll } from "./stream.ts";
import { kexInit, plainClient } from "./test_raw_peer.ts";
import { clientOptions, streamPair, testServer } from "./testing.ts";

type Tamper = (chunk: Buffer, offset: number) => Uint8Array | undefined;

/** Copies a stream; `tamper` may change each chunk, or break the connection by undefined. */
function wire(from: Duplex, to: Duplex, tamper: Tamper): void {
  let offset = 0;
  from.on("data", (chunk: Buffer) => {
    const passed = tamper(chunk, offset);
    offset += chunk.length;
    if (passed) to.write(passed);
    else to.destroy();
  });
  from.on("end", () => to.end());
  from.on("close", () => to.destroy());
}

const honest: Tamper = (chunk) => chunk;

/** The output of a command through a wire; undefined when the connection failed. */
async function talk(toServer: Tamper, toClient: Tamper): Promise<string | undefined> {
  const server = testServer();
  const [ours, clientEnd] = streamPair();
  const [serverEnd, theirs] = streamPair();
  wire(clientEnd, serverEnd, toServer);
  wire(serverEnd, clientEnd, toClient);
  server.accept(theirs, { host: "127.0.0.1", port: 1 }, { host: "127.0.0.1", port: 2 });
  try {
    const client = await connectSsh({ stream: ours, ...clientOptions(), readyTimeoutMs: 500 });
    const patience = setTimeout(() => ours.destroy(), 500);
    try {
      const channel = await client.exec("echo");
      channel.stream.end("the one true output");
      const output = (await readAll(channel.stream)).toString();
      const status = await channel.exited;
      return "code" in status && status.code === 0 ? output : undefined;
    } finally {
      clearTimeout(patience);
      client.close();
      ours.destroy();
      await client.closed;
    }
  } catch {
    return undefined;
  } finally {
    ours.destroy();
    await server.close();
  }
}

const flip = (at: number, bit: number): Tamper => (chunk, offset) => {
  if (at < offset || at >= offset + chunk.length) return chunk;
  const changed = Uint8Array.from(chunk);
  changed[at - offset]! ^= 1 << bit;
  return changed;
};

const cut = (at: number): Tamper => (chunk, offset) =>
  offset + chunk.length > at ? undefined : chunk;

Deno.test("a whole connection comes through an honest wire", async () => {
  assert.equal(await talk(honest, honest), "the one true output");
});

Deno.test("a bit that is flipped anywhere never changes what is heard", async () => {
  let failed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 1400 }),
      fc.integer({ min: 0, max: 7 }),
      fc.boolean(),
      async (at, bit, isToServer) => {
        const tamper = flip(at, bit);
        const output = await (isToServer ? talk(tamper, honest) : talk(honest, tamper));
        if (output === undefined) failed++;
        // The padding of packets in the clear is the one thing that is not protected.
        else assert.equal(output, "the one true output");
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(failed > 30, `${failed} of 60 failed`);
});

Deno.test("a connection that is cut off anywhere fails on both sides and hangs on none", async () => {
  for (let at = 0; at < 1300; at += 67) {
    assert.equal(await talk(cut(at), honest), undefined, `client's byte ${at}`);
    assert.equal(await talk(honest, cut(at)), undefined, `server's byte ${at}`);
  }
});

Deno.test("a packet that a man in the middle drops or repeats is noticed", async () => {
  for (const which of [3, 4, 5]) {
    for (const repeated of [false, true]) {
      let count = 0;
      const tamper: Tamper = (chunk) => {
        if (++count !== which) return chunk;
        return repeated ? Uint8Array.from([...chunk, ...chunk]) : new Uint8Array();
      };
      assert.equal(await talk(honest, tamper), undefined, `${which} ${repeated}`);
    }
  }
});

Deno.test("a server that is fed anything closes the connection and serves the next", async () => {
  const server = testServer({ limits: { graceMs: 200 } });
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 400 });
  await fc.assert(
    fc.asyncProperty(bytes, fc.boolean(), fc.boolean(), async (junk, hasLine, hasKexInit) => {
      const peer = plainClient(server, hasLine ? "SSH-2.0-x\r\n" : "");
      if (hasLine && hasKexInit) peer.send(kexInit());
      await Promise.resolve();
      peer.stream.write(junk);
      peer.stream.end();
      await peer.rest();
      peer.close();
    }),
    { numRuns: 100 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 4 }), async (payloads) => {
      const peer = plainClient(server);
      for (const payload of payloads) peer.send(payload);
      await Promise.resolve();
      peer.stream.end();
      await peer.rest();
      peer.close();
    }),
    { numRuns: 100 },
  );
  await server.close();
  assert.equal(await talk(honest, honest), "the one true output");
});

Deno.test("a mutated KEXINIT is refused or exchanged keys with, and never more", async () => {
  const server = testServer({ limits: { graceMs: 200 } });
  const original = kexInit();
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: original.length - 1 }),
      fc.integer({ min: 0, max: 255 }),
      async (at, value) => {
        const peer = plainClient(server);
        const changed = Uint8Array.from(original);
        changed[at] = value;
        peer.send(changed);
        await Promise.resolve();
        peer.stream.end();
        for (const type of await peer.rest()) assert.ok(type === 20 || type === 1, `${type}`);
        peer.close();
      },
    ),
    { numRuns: 150 },
  );
  await server.close();
});
