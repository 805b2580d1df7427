import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { clientOptions, connectTo, keyTypes, testServer } from "./testing.ts";

for (const keyType of keyTypes) {
  Deno.test(`connectSsh() and SshServer accept each other's ${keyType} certificates`, async () => {
    const server = testServer({}, keyType);
    const client = await connectTo(server, clientOptions(keyType));
    assert.equal(client.hostCertificate?.key.type, keyType);
    assert.equal(client.serverVersion, "Teleport");
    const channel = await client.exec("echo");
    channel.stream.end("hello");
    assert.equal(await text(channel.stream), "hello");
    assert.deepEqual(await channel.exited, { code: 0 });
    client.close();
    assert.equal(await client.closed, undefined);
    await server.close();
  });
}

Deno.test("exec() tells exit statuses and signals exactly", async () => {
  const server = testServer();
  const client = await connectTo(server);
  assert.deepEqual(await (await client.exec("exit 7")).exited, { code: 7 });
  assert.deepEqual(await (await client.exec("exit 255")).exited, { code: 255 });
  assert.deepEqual(await (await client.exec("kill TERM")).exited, {
    signal: "TERM",
    core: true,
    message: "killed",
  });
  client.close();
  await server.close();
});

Deno.test("closed tells why a server ended the connection, and nothing when all was in order", async () => {
  for (const reason of [undefined, "idle for 5m0s"]) {
    const server = testServer({
      onConnection: (connection) => {
        connection.handle({});
        connection.close(reason);
      },
    });
    const client = await connectTo(server);
    const error = await client.closed;
    const told = reason && `The other side disconnected: ${reason}`;
    assert.equal(error?.message, told);
    await server.close();
  }
});
