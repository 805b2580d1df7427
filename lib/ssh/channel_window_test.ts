import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { WireReader } from "../sshwire/codec.ts";
import { Channel } from "./channel.ts";
import { MSG } from "./messages.ts";

/** A channel and the window that its peer has left to send into. */
function receiving(window: number) {
  const peer = { window };
  const channel = new Channel(0, { id: 0, window: 0, maxPacket: 32_768 }, {
    send(payload) {
      const message = new WireReader(payload);
      if (message.u8() !== MSG.CHANNEL_WINDOW_ADJUST) return;
      message.u32();
      peer.window += message.u32();
    },
    sendData: () => {},
    canSendData: true,
    waitForDrain: () => {},
    lend: () => {},
    takeBack: () => {},
    release: () => {},
  }, { closeRule: "on-request", window });
  return { channel, peer };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 0));

for (const size of [1, 4096, 32_768, 33_333, 131_071]) {
  Deno.test(`a reader that pauses is never left without data, in pieces of ${size} bytes`, async () => {
    const window = 256 * 1024;
    const { channel, peer } = receiving(window);
    let received = 0;
    channel.stream.on("data", (chunk: Buffer) => {
      received += chunk.length;
      channel.stream.pause();
    });
    const total = size === 1 ? 300 : 4 * window;
    let sent = 0;
    for (let idle = 0; received < total; idle++) {
      assert.ok(idle < 10_000, `stuck: ${sent} sent, ${received} read, window ${peer.window}`);
      while (sent < total && peer.window > 0) {
        const count = Math.min(size, peer.window, total - sent);
        peer.window -= count;
        sent += count;
        channel.onData(Buffer.alloc(count), false);
      }
      await tick();
      channel.stream.resume();
    }
    assert.equal(received, total);
    channel.abandon();
  });
}
