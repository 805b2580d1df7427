import assert from "node:assert/strict";
import { type ConnStream, dialTcp } from "./stream.ts";
import { PortListener } from "./port_listener.ts";
import { families } from "./test_loopback.ts";

const onConnection = (stream: ConnStream) => stream.destroy();

Deno.test("PortListener takes one free port in both families, and gives both back", async () => {
  const listener = PortListener.open({ port: 0, onConnection });
  for (const host of families) {
    (await dialTcp({ host, port: listener.port })).destroy();
    assert.throws(
      () => PortListener.open({ port: listener.port, hosts: ["127.0.0.1"], onConnection }),
      Deno.errors.AddrInUse,
    );
  }
  await listener.close();
  await listener.close();
  for (const host of families) {
    await assert.rejects(dialTcp({ host, port: listener.port }), /refused/);
  }
});

Deno.test("PortListener takes no port that somebody has in either family", async () => {
  for (const hostname of families) {
    using other = Deno.listen({ hostname, port: 0 });
    const { port } = other.addr;
    assert.throws(() => PortListener.open({ port, onConnection }), Deno.errors.AddrInUse);
    // Nor is the other half of it left behind.
    for (const host of families) {
      if (host !== hostname) await assert.rejects(dialTcp({ host, port }), /refused/);
    }
  }
});

Deno.test("PortListener listens in one family where that is asked for", async () => {
  const [asked] = families.toReversed();
  const listener = PortListener.open({ port: 0, hosts: [asked!], onConnection });
  (await dialTcp({ host: asked!, port: listener.port })).destroy();
  for (const host of families) {
    if (host !== asked) await assert.rejects(dialTcp({ host, port: listener.port }), /refused/);
  }
  await listener.close();
  const again = PortListener.open({ port: listener.port, onConnection });
  assert.equal(again.port, listener.port);
  await again.close();
});
