import assert from "node:assert/strict";
import { streamPair } from "../../ssh/testing.ts";
import { SocksRefusal } from "./socks.ts";
import { acceptSocks } from "./socks_accept.ts";

const request = [5, 1, 0, 5, 1, 0, 3, 2, 100, 98, 0, 80];

Deno.test("acceptSocks() resolves with the request, and keeps back what follows", async () => {
  const [client, server] = streamPair();
  client.write(Uint8Array.from([...request, 1, 2]));
  const found = await acceptSocks(server);
  assert.deepEqual([found?.to, [...found!.rest]], [{ host: "db", port: 80 }, [1, 2]]);
  assert.deepEqual([...client.read() as Uint8Array], [5, 0]);
  client.write(Uint8Array.of(3));
  assert.ok(server.isPaused());
  server.once("data", (chunk: Uint8Array) => assert.deepEqual([...chunk], [3])).resume();
  await new Promise((resolve) => server.once("data", resolve));
  client.destroy();
});

Deno.test("acceptSocks() lets nobody wait for ever", async () => {
  const [client, server] = streamPair();
  client.write(Uint8Array.from(request.slice(0, 8)));
  assert.equal(await acceptSocks(server, 20), undefined);
  assert.ok(server.destroyed);
  client.destroy();
});

Deno.test("acceptSocks() gives up on who goes before it has said where to", async () => {
  for (const leave of ["end", "destroy"] as const) {
    const [client, server] = streamPair();
    client.write(Uint8Array.from(request.slice(0, 5)));
    client[leave]();
    assert.equal(await acceptSocks(server), undefined);
    assert.ok(server.destroyed);
    client.destroy();
  }
});

Deno.test("acceptSocks() tells why it refuses, and hangs up", async () => {
  const [client, server] = streamPair();
  const answer: number[] = [];
  client.on("data", (chunk: Uint8Array) => answer.push(...chunk));
  client.write(Uint8Array.from([5, 1, 0, 5, 2, 0, 1, 1, 2, 3, 4, 0, 80]));
  await assert.rejects(acceptSocks(server), SocksRefusal);
  await new Promise((resolve) => client.once("close", resolve));
  assert.deepEqual(answer, [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
});
