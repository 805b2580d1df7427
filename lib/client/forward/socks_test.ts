import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { AccessDenied, ConnectionProblem } from "../../base/errors.ts";
import type { HostPort } from "../../base/net.ts";
import {
  socksFailure,
  SocksHandshake,
  SocksRefusal,
  type SocksRequest,
  socksSuccess,
} from "./socks.ts";

const greeting = [5, 1, 0];

function text(words: string): number[] {
  return [...Buffer.from(words, "latin1")];
}

function port(number: number): number[] {
  return [number >> 8, number & 255];
}

function domain5(name: string, to: number): number[] {
  return [5, 1, 0, 3, name.length, ...text(name), ...port(to)];
}

function socks4a(name: string, to: number, user = "joe"): number[] {
  return [4, 1, ...port(to), 0, 0, 0, 1, ...text(user), 0, ...text(name), 0];
}

/** Gives the bytes in pieces; what the client was answered, and the request. */
function talk(...pieces: number[][]): { replies: number[]; request: SocksRequest | undefined } {
  const handshake = new SocksHandshake();
  const replies: number[] = [];
  let request: SocksRequest | undefined;
  for (const piece of pieces) {
    assert.equal(request, undefined, "there is more after the request");
    const step = handshake.push(Uint8Array.from(piece));
    replies.push(...step.reply);
    request = step.request;
  }
  return { replies, request };
}

function requested(...pieces: number[][]): HostPort | undefined {
  return talk(...pieces).request?.to;
}

function refusal(...pieces: number[][]): SocksRefusal {
  try {
    talk(...pieces);
  } catch (e) {
    if (e instanceof SocksRefusal) return e;
    throw e;
  }
  throw new Error("it was not refused");
}

Deno.test("SOCKS 5 asks by name, IPv4 and IPv6", () => {
  const { replies, request } = talk(greeting, domain5("db.internal", 5432));
  assert.deepEqual(replies, [5, 0]);
  assert.deepEqual(request, {
    version: 5,
    to: { host: "db.internal", port: 5432 },
    rest: Buffer.alloc(0),
  });
  assert.deepEqual(requested(greeting, [5, 1, 0, 1, 10, 0, 0, 7, ...port(80)]), {
    host: "10.0.0.7",
    port: 80,
  });
  const v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  assert.deepEqual(requested(greeting, [5, 1, 0, 4, ...v6, ...port(443)]), {
    host: "2001:db8::1",
    port: 443,
  });
  assert.equal(requested(greeting, domain5("[2001:DB8::2]", 1))?.host, "2001:db8::2");
});

Deno.test("SOCKS 4 asks by address, 4a by name", () => {
  assert.deepEqual(requested([4, 1, ...port(80), 10, 0, 0, 7, ...text("joe"), 0]), {
    host: "10.0.0.7",
    port: 80,
  });
  assert.deepEqual(requested(socks4a("db.internal", 5432)), { host: "db.internal", port: 5432 });
  assert.deepEqual(requested(socks4a("db", 1, "")), { host: "db", port: 1 });
});

Deno.test("a handshake is read however it is cut, and what follows is handed on", () => {
  for (const all of [[...greeting, ...domain5("db", 1)], socks4a("db", 1)]) {
    const whole = talk([...all, ...text("HELLO")]);
    assert.equal(whole.request?.rest.toString(), "HELLO");
    const single = talk(...all.map((byte) => [byte]));
    assert.deepEqual(single.request?.to, { host: "db", port: 1 });
    assert.deepEqual(single.replies, whole.replies);
  }
});

Deno.test("what is no SOCKS, or asks for what is not served, is refused in its own protocol", () => {
  const cases: [number[], number[], RegExp][] = [
    [text("GET / HTTP/1.1\r\n"), [], /speaks HTTP/],
    [[6, 1, 0], [], /first byte is 6/],
    [[22, 3, 1], [], /no SOCKS/],
    [[5, 1, 2], [5, 0xff], /password/],
    [[5, 0], [5, 0xff], /password/],
    [[...greeting, 4, 1, 0, 1], [5, 0], /first byte is 4/],
    [[...greeting, 5, 2, 0, 1, 1, 2, 3, 4, 0, 80], [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0], /CONNECT/],
    [[...greeting, 5, 1, 0, 2, 1, 2, 3, 4], [5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0], /type 2/],
    [[...greeting, ...domain5("", 80)], [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0], /no host's/],
    [[...greeting, ...domain5("a\0b", 80)], [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0], /no host's/],
    [
      [...greeting, ...domain5("a b\x1b[2J", 80)],
      [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0],
      /no host's/,
    ],
    [
      [...greeting, ...domain5("-oProxyCommand=x", 80)],
      [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0],
      /host's/,
    ],
    [[...greeting, ...domain5("db", 0)], [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0], /port 0/],
    [[4, 2, 0, 80, 1, 2, 3, 4, 0], [0, 0x5b, 0, 0, 0, 0, 0, 0], /CONNECT/],
    [[4, 1, 0, 0, 1, 2, 3, 4, 0], [0, 0x5b, 0, 0, 0, 0, 0, 0], /port 0/],
    [socks4a("a\x1b]0;", 80), [0, 0x5b, 0, 0, 0, 0, 0, 0], /no host's/],
    [socks4a("", 80), [0, 0x5b, 0, 0, 0, 0, 0, 0], /no host's/],
    [socks4a("db", 80, "u".repeat(256)), [0, 0x5b, 0, 0, 0, 0, 0, 0], /too long/],
    [socks4a("d".repeat(256), 80), [0, 0x5b, 0, 0, 0, 0, 0, 0], /too long/],
  ];
  for (const [bytes, reply, why] of cases) {
    const error = refusal(bytes);
    assert.match(error.message, why);
    assert.deepEqual([...error.reply], reply, String(bytes));
  }
});

Deno.test("texts that never end are refused when they are too long, not when they end", () => {
  const handshake = new SocksHandshake();
  handshake.push(Uint8Array.of(4, 1, 0, 80, 0, 0, 0, 1));
  assert.throws(() => {
    for (let i = 0; i < 300; i++) handshake.push(Uint8Array.of(117));
  }, SocksRefusal);
});

Deno.test("any bytes make a request, a refusal, or a handshake that waits with little in memory", () => {
  const byte = fc.oneof(fc.constantFrom(0, 1, 3, 4, 5), fc.nat(255));
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 700 }), (bytes) => {
      try {
        const { request } = talk(bytes);
        if (request) assert.match(request.to.host, /^[A-Za-z0-9_][\w.:-]*$|^:/);
        else assert.ok(bytes.length < 257 + 262);
      } catch (e) {
        assert.ok(e instanceof SocksRefusal, String(e));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("answers tell success, and why there is no connection", () => {
  assert.deepEqual([...socksSuccess(5)], [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...socksSuccess(4)], [0, 0x5a, 0, 0, 0, 0, 0, 0]);
  assert.equal(socksFailure(5, new AccessDenied("no"))[1], 2);
  assert.equal(socksFailure(5, new ConnectionProblem("Connection refused"))[1], 5);
  assert.equal(socksFailure(5, new ConnectionProblem("no route"))[1], 4);
  assert.equal(socksFailure(4, new AccessDenied("no"))[1], 0x5b);
});
