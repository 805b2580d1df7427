import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../../base/errors.ts";
import { formatAddr } from "../../base/net.ts";
import {
  formatListen,
  parseDynamicForward,
  parseLocalForward,
  parseRemoteForward,
} from "./spec.ts";

Deno.test("parseLocalForward() reads what ssh reads", () => {
  const cases: [string, unknown][] = [
    ["8080:db:80", { listen: { host: "localhost", port: 8080 }, to: { host: "db", port: 80 } }],
    ["0:db:80", { listen: { host: "localhost", port: 0 }, to: { host: "db", port: 80 } }],
    ["10.0.0.1:1:a.b:2", { listen: { host: "10.0.0.1", port: 1 }, to: { host: "a.b", port: 2 } }],
    ["*:1:a:2", { listen: { host: "", port: 1 }, to: { host: "a", port: 2 } }],
    [":1:a:2", { listen: { host: "", port: 1 }, to: { host: "a", port: 2 } }],
    ["[::1]:1:[fe80::2]:2", { listen: { host: "::1", port: 1 }, to: { host: "fe80::2", port: 2 } }],
    ["1:[::1]:2", { listen: { host: "localhost", port: 1 }, to: { host: "::1", port: 2 } }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseLocalForward(text), expected, text);
});

Deno.test("parseRemoteForward() and parseDynamicForward() take a port alone", () => {
  assert.deepEqual(parseRemoteForward("0"), { listen: { host: "localhost", port: 0 } });
  assert.deepEqual(parseRemoteForward("*:1080"), { listen: { host: "", port: 1080 } });
  assert.deepEqual(parseRemoteForward("1:a:2"), {
    listen: { host: "localhost", port: 1 },
    to: { host: "a", port: 2 },
  });
  assert.deepEqual(parseDynamicForward("[::1]:1080"), { listen: { host: "::1", port: 1080 } });
});

Deno.test("malformed forwards are refused with what is wrong and how it is written", () => {
  const cases: [string, RegExp][] = [
    ["", /right parts.*-L \[bind:\]port:host:hostport/],
    ["80", /right parts/],
    ["80:host", /right parts/],
    ["x:host:80", /"x" is not a port/],
    ["65536:host:80", /"65536" is not a port/],
    ["-1:host:80", /"-1" is not a port/],
    ["80::80", /"" is not a host/],
    ["80:host:0", /"0" is not a port to connect to/],
    ["80:host:http", /"http" is not a port/],
    ["80:::1:80", /in brackets/],
    ["80:[nonsense]:80", /is not a host/],
    ["80:ho st:80", /"ho st" is not a host/],
    ["80:host\u0000:80", /is not a host/],
    ["80:/run/x.sock:80", /sockets in the file system/],
    ["a:b:c:d:e", /right parts|in brackets/],
  ];
  for (const [text, why] of cases) {
    assert.throws(
      () => parseLocalForward(text),
      (e) => e instanceof BadParameter && why.test(e.message),
      text,
    );
  }
  assert.throws(() => parseDynamicForward("1:a:2"), /-D \[bind:\]port/);
  assert.throws(() => parseRemoteForward("1:a:2:b:3"), BadParameter);
});

const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
const port = fc.integer({ min: 1, max: 65_535 });

Deno.test("a forward that is written as an address is read back the same", () => {
  fc.assert(fc.property(host, port, host, port, (bind, listenPort, to, toPort) => {
    const listen = { host: bind, port: listenPort };
    const target = { host: to, port: toPort };
    const text = `${formatListen(listen)}:${formatAddr(target)}`;
    assert.deepEqual(parseLocalForward(text), { listen, to: target });
    assert.deepEqual(parseRemoteForward(text), { listen, to: target });
  }));
});

Deno.test("any text is either a forward or a BadParameter", () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."0189:[]*.a/ \n\0") }));
  fc.assert(
    fc.property(text, (text) => {
      for (const parse of [parseLocalForward, parseRemoteForward, parseDynamicForward]) {
        try {
          const { listen } = parse(text);
          assert.ok(listen.port >= 0 && listen.port <= 65_535);
        } catch (e) {
          assert.ok(e instanceof BadParameter, String(e));
        }
      }
    }),
    { numRuns: 2000 },
  );
});
