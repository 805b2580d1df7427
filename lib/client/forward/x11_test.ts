import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { AccessDenied, BadParameter } from "../../base/errors.ts";
import { fromHex } from "../../base/bytes.ts";
import { X11Forwarding } from "./x11.ts";
import { parseDisplay } from "./x11_display.ts";
import { type CookieSwap, swapCookie } from "./x11_setup.ts";

const swap: CookieSwap = {
  protocol: "MIT-MAGIC-COOKIE-1",
  fake: new Uint8Array(16).fill(0xfa),
  real: new Uint8Array(16).fill(0x4e),
};

/** What Xlib sends first. */
function setup(order: "B" | "l", cookie: Uint8Array, protocol = swap.protocol): Buffer {
  const head = Buffer.alloc(12);
  head.write(order);
  const u16 = (value: number, at: number) =>
    order === "B" ? head.writeUInt16BE(value, at) : head.writeUInt16LE(value, at);
  u16(11, 2);
  u16(protocol.length, 6);
  u16(cookie.length, 8);
  const pad = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  return Buffer.concat([head, pad(Buffer.from(protocol)), pad(cookie)]);
}

Deno.test("swapCookie() puts the real cookie in, in both byte orders, and leaves the rest", () => {
  for (const order of ["B", "l"] as const) {
    const more = Buffer.from("what follows");
    const swapped = swapCookie(Buffer.concat([setup(order, swap.fake), more]), swap);
    assert.deepEqual(swapped, Buffer.concat([setup(order, swap.real), more]));
  }
});

Deno.test("swapCookie() waits for the whole message", () => {
  const whole = setup("l", swap.fake);
  for (let i = 0; i < whole.length; i++) {
    assert.equal(swapCookie(whole.subarray(0, i), swap), undefined);
  }
  assert.ok(swapCookie(whole, swap));
});

Deno.test("swapCookie() turns away who has another cookie, none, or does not speak X11", () => {
  const wrong = [
    setup("l", swap.real),
    setup("l", new Uint8Array(0)),
    setup("l", new Uint8Array(0), ""),
    setup("B", new Uint8Array(65_535)).subarray(0, 12),
    setup("l", swap.fake, "XDM-AUTHORIZATION-"),
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  ];
  for (const bytes of wrong) assert.throws(() => swapCookie(bytes, swap), AccessDenied);
});

Deno.test("swapCookie() lets no bytes through without the fake cookie", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    try {
      assert.equal(swapCookie(Buffer.from(bytes), swap), undefined);
    } catch (e) {
      assert.ok(e instanceof AccessDenied, String(e));
    }
  }));
});

Deno.test("parseDisplay() understands the forms of DISPLAY", () => {
  const cases: [string, unknown][] = [
    [":0", { address: { path: "/tmp/.X11-unix/X0" }, screen: 0, name: ":0" }],
    [":7.1", { address: { path: "/tmp/.X11-unix/X7" }, screen: 1, name: ":7.1" }],
    ["unix:3", { address: { path: "/tmp/.X11-unix/X3" }, screen: 0, name: "unix:3" }],
    ["localhost:10.0", {
      address: { host: "localhost", port: 6010 },
      screen: 0,
      name: "unix:10.0",
    }],
    ["desk.lan:1", { address: { host: "desk.lan", port: 6001 }, screen: 0, name: "desk.lan:1" }],
    ["[::1]:2", { address: { host: "::1", port: 6002 }, screen: 0, name: "[::1]:2" }],
    ["/tmp/launch/org.xquartz:0", {
      address: { path: "/tmp/launch/org.xquartz:0" },
      screen: 0,
      name: "/tmp/launch/org.xquartz:0",
    }],
  ];
  for (const [text, display] of cases) assert.deepEqual(parseDisplay(text), display);
  for (const text of ["", "0", ":", ":x", "a b:0", "host:99999", "-f/etc:0", "::1:0", "a;b:0"]) {
    assert.throws(() => parseDisplay(text), BadParameter, text);
  }
});

const cookie = "00112233445566778899aabbccddeeff";

/** Runs a test with a program called xauth that knows the cookie of one display. */
async function withXauth(display: string, body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const path = Deno.env.get("PATH")!;
  await Deno.writeTextFile(
    `${dir}/xauth`,
    `#!/bin/sh\n[ "$1 $2" = "list ${display.replace("DIR", dir)}" ] && ` +
      `echo "here/unix:5  MIT-MAGIC-COOKIE-1  ${cookie}"\n`,
    { mode: 0o755 },
  );
  Deno.env.set("PATH", `${dir}:${path}`);
  try {
    await body(dir);
  } finally {
    Deno.env.set("PATH", path);
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the node is given a cookie that is not the display's", () =>
  withXauth(":5", async () => {
    const options = { display: ":5", trusted: true, timeoutMs: 0, notify: () => {} };
    const first = await X11Forwarding.prepare(options);
    const second = await X11Forwarding.prepare(options);
    assert.equal(first.request.protocol, "MIT-MAGIC-COOKIE-1");
    assert.equal(fromHex(first.request.cookie).length, 16);
    assert.notEqual(first.request.cookie, cookie);
    assert.notEqual(first.request.cookie, second.request.cookie);
    await assert.rejects(
      X11Forwarding.prepare({ ...options, trusted: false }),
      /no cookies for untrusted.*-Y/,
    );
    await assert.rejects(X11Forwarding.prepare({ ...options, display: undefined }), /not set/);
  }));

Deno.test("the display gets its own cookie, and nobody who does not have the node's", () =>
  withXauth("DIR/x:5", async (dir) => {
    const display = `${dir}/x:5`;
    using listener = Deno.listen({ transport: "unix", path: display });
    const told: string[] = [];
    const notify = (text: string) => told.push(text);
    const x11 = await X11Forwarding.prepare({ display, trusted: true, timeoutMs: 0, notify });
    const talk = async (bytes: Buffer): Promise<Buffer> => {
      const stream = await x11.connect();
      stream.on("error", () => {}).resume();
      using conn = await listener.accept();
      // In pieces, as a slow network delivers them.
      for (const byte of bytes) stream.write(Uint8Array.of(byte));
      stream.end();
      const received = new Uint8Array(await new Response(conn.readable).arrayBuffer());
      stream.destroy();
      return Buffer.from(received);
    };
    const node = fromHex(x11.request.cookie);
    const more = Buffer.from("more");
    assert.deepEqual(
      await talk(Buffer.concat([setup("l", node), more])),
      Buffer.concat([setup("l", fromHex(cookie)), more]),
    );
    assert.deepEqual(told, []);
    assert.equal((await talk(setup("l", swap.fake))).length, 0);
    assert.match(told.join(), /turned away: It does not have the cookie/);
  }));

Deno.test("a display that is not there is told when a program wants it", async () => {
  const told: string[] = [];
  await withXauth(":48123", async () => {
    const x11 = await X11Forwarding.prepare({
      display: ":48123",
      trusted: true,
      timeoutMs: 0,
      notify: (text) => told.push(text),
    });
    await assert.rejects(x11.connect());
  });
  assert.match(told.join(), /could not be shown: the display :48123 cannot be reached/);
});
