import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { isProxyRequest, parseProxyRequest, type ProxyRequest } from "./request.ts";

const host = (host: string, port: number, cluster?: string): ProxyRequest => ({
  kind: "host",
  target: { host, port },
  ...(cluster ? { cluster } : {}),
});

const GOOD: [string, ProxyRequest][] = [
  ["proxysites", { kind: "sites" }],
  ["proxy:db:3022", host("db", 3022)],
  ["proxy:db:0", host("db", 0)],
  ["proxy:db:", host("db", 0)],
  ["proxy:db", host("db", 0)],
  ["proxy:db:22@leaf", host("db", 22, "leaf")],
  ["proxy:db:22@default@leaf", host("db", 22, "leaf")],
  ["proxy:10.0.0.1:22", host("10.0.0.1", 22)],
  ["proxy:[::1]:22", host("::1", 22)],
  ["proxy:[::1]", host("::1", 0)],
  ["proxy:2001:db8::1:22", host("2001:db8::1", 22)],
  ["proxy:env=prod:0", host("env=prod", 0)],
  ["proxy:@main", { kind: "auth", cluster: "main" }],
  ["proxy:@", { kind: "auth" }],
];

for (const [text, expected] of GOOD) {
  Deno.test(`parseProxyRequest() reads ${text}`, () => {
    assert.deepEqual(parseProxyRequest(text), expected);
  });
}

for (
  const text of [
    "proxy:",
    "proxy::22",
    "proxy:db:x",
    "proxy:db:65536",
    "proxy:db:-1",
    "proxy:db:22@other@main",
    "proxy:db:22@a@b@c",
    "proxy:a b:22",
    "proxy:a\nb:22",
    "proxy:[]:22",
    "sftp",
    "proxysitesx",
    `proxy:${"x".repeat(2000)}:22`,
  ]
) {
  Deno.test(`parseProxyRequest() refuses ${JSON.stringify(text).slice(0, 60)}`, () => {
    assert.throws(() => parseProxyRequest(text), BadParameter);
  });
}

Deno.test("attack 36: no other subsystem is a request for the proxy", () => {
  for (const name of ["sftp", "auth-api", "", "Proxy:x:1", "proxysites ", "netconf"]) {
    assert.equal(isProxyRequest(name), false, name);
  }
});

Deno.test("whatever follows proxy:, it is read or refused with BadParameter", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      const request = parseProxyRequest(`proxy:${text}`);
      if (request.kind === "host") {
        assert.ok(request.target.host.length > 0);
        assert.ok(request.target.port >= 0 && request.target.port <= 65535);
      }
    } catch (error) {
      assert.ok(error instanceof BadParameter);
    }
  }));
});
