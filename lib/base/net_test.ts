import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "./errors.ts";
import {
  assertCidr,
  cidrContains,
  formatAddr,
  isIpAddress,
  normalizeIp,
  parseAddr,
} from "./net.ts";

Deno.test("parseAddr() reads names, IPv4 and IPv6 with their ports", () => {
  assert.deepEqual(parseAddr("node-1.example.com:3022"), {
    host: "node-1.example.com",
    port: 3022,
  });
  assert.deepEqual(parseAddr("10.0.0.1:0"), { host: "10.0.0.1", port: 0 });
  assert.deepEqual(parseAddr("[2001:db8::1]:22"), { host: "2001:db8::1", port: 22 });
  assert.deepEqual(parseAddr("host", 3025), { host: "host", port: 3025 });
  assert.deepEqual(parseAddr("::1", 3025), { host: "::1", port: 3025 });
  assert.deepEqual(parseAddr("[::1]", 3025), { host: "::1", port: 3025 });
});

Deno.test("parseAddr() refuses what is no address", () => {
  for (
    const text of [
      "",
      ":22",
      "host",
      "host:",
      "host:x",
      "host:65536",
      "host:-1",
      "host:022222",
      "a b:22",
      "-oProxyCommand=x:22",
      "host\n:22",
      "user@host:22",
      "http://host:22",
      "[host]:22",
      "[::1:22",
      "1:2:3",
      `${"a".repeat(254)}:22`,
    ]
  ) {
    assert.throws(() => parseAddr(text), BadParameter, JSON.stringify(text));
  }
});

Deno.test("parseAddr() gives back what formatAddr() was given", () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  fc.assert(fc.property(host, fc.integer({ min: 0, max: 65_535 }), (host, port) => {
    assert.deepEqual(parseAddr(formatAddr({ host, port })), { host, port });
  }));
});

Deno.test("isIpAddress() knows only the forms that everybody reads alike", () => {
  for (const text of ["10.0.0.1", "::1", "2001:DB8::1", "::ffff:10.0.0.1"]) {
    assert(isIpAddress(text), text);
  }
  for (const text of ["", "10.1", "010.0.0.1", "0x7f.0.0.1", "2130706433", "1.2.3.4.5", "host"]) {
    assert(!isIpAddress(text), text);
  }
});

Deno.test("normalizeIp() gives every address one form", () => {
  assert.equal(normalizeIp("::ffff:10.0.0.1"), "10.0.0.1");
  assert.equal(normalizeIp("::FFFF:0A00:0001"), "10.0.0.1");
  assert.equal(normalizeIp("2001:DB8:0::1"), "2001:db8::1");
});

Deno.test("cidrContains() compares as people mean it", () => {
  assert(cidrContains("10.0.0.0/8", "10.255.0.1"));
  assert(!cidrContains("10.0.0.0/8", "11.0.0.1"));
  assert(cidrContains("10.0.0.1", "10.0.0.1"));
  assert(!cidrContains("10.0.0.1", "10.0.0.2"));
  assert(cidrContains("0.0.0.0/0", "203.0.113.9"));
  assert(cidrContains("2001:db8::/32", "2001:db8:ffff::1"));
  assert(!cidrContains("2001:db8::/32", "2001:db9::1"));
  assert(!cidrContains("::/0", "10.0.0.1"));
  assert(!cidrContains("0.0.0.0/0", "::1"));
});

Deno.test("cidrContains() takes IPv4-mapped IPv6 for IPv4, as address and as range", () => {
  assert(cidrContains("10.0.0.0/8", "::ffff:10.1.2.3"));
  assert(cidrContains("::ffff:10.0.0.0/104", "10.1.2.3"));
  assert(!cidrContains("::ffff:10.0.0.0/104", "11.1.2.3"));
});

Deno.test("assertCidr() refuses malformed ranges", () => {
  for (
    const text of [
      "",
      "/8",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "10.0.0.0/ 8",
      "10.0.0.1/8",
      "10.0.0/8",
      "::1/129",
      "2001:db8::1/32",
      "::ffff:10.0.0.0/95",
      "host/8",
    ]
  ) {
    assert.throws(() => assertCidr(text), BadParameter, JSON.stringify(text));
  }
});

Deno.test("the parsers of addresses throw nothing but BadParameter", () => {
  const near = fc.string({ unit: fc.constantFrom(..."0123456789abcf.:/[]%-") });
  fc.assert(fc.property(fc.oneof(fc.string(), near), (text) => {
    for (const parse of [parseAddr, assertCidr, normalizeIp]) {
      try {
        parse(text);
      } catch (e) {
        assert(e instanceof BadParameter, String(e));
      }
    }
  }));
});
