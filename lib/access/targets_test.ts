import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { assertTargetPattern, DEFAULT_UNREGISTERED_TARGETS, targetAllowed } from "./targets.ts";

const defaults = [...DEFAULT_UNREGISTERED_TARGETS];

const cases: [patterns: string[], host: string, ip: string, port: number, allowed: boolean][] = [
  [defaults, "db.example.com", "10.0.0.1", 22, true],
  [defaults, "db.example.com", "2001:db8::1", 3022, true],
  [defaults, "db.example.com", "10.0.0.1", 80, false],
  [defaults, "10.0.0.1", "10.0.0.1", 22, true],
  [defaults, "localhost", "127.0.0.1", 22, false],
  [defaults, "evil.example.com", "127.8.9.10", 22, false],
  [defaults, "evil.example.com", "::1", 22, false],
  [defaults, "evil.example.com", "::", 22, false],
  [defaults, "evil.example.com", "0.0.0.0", 22, false],
  [defaults, "evil.example.com", "::ffff:127.0.0.1", 22, false],
  [defaults, "evil.example.com", "::ffff:7f00:1", 22, false],
  [defaults, "evil.example.com", "::127.0.0.1", 22, false],
  [defaults, "evil.example.com", "64:ff9b::127.0.0.1", 22, false],
  [defaults, "evil.example.com", "2002:7f00:1::", 22, false],
  [defaults, "evil.example.com", "169.254.169.254", 22, false],
  [defaults, "evil.example.com", "::ffff:169.254.169.254", 22, false],
  [defaults, "evil.example.com", "64:ff9b::a9fe:a9fe", 22, false],
  [defaults, "evil.example.com", "fd00:ec2::254", 22, false],
  [defaults, "evil.example.com", "100.100.100.200", 22, false],
  [defaults, "evil.example.com", "168.63.129.16", 22, false],
  [defaults, "evil.example.com", "fe80::1", 22, false],
  [defaults, "evil.example.com", "224.0.0.1", 22, false],
  [defaults, "evil.example.com", "255.255.255.255", 22, false],
  [defaults, "evil.example.com", "ff02::1", 22, false],
  [defaults, "nat64.example.com", "64:ff9b::8.8.8.8", 22, true],
  [defaults, "x", "not an address", 22, false],
  [[], "db.example.com", "10.0.0.1", 22, false],
  [["*.example.com:22"], "db.example.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "DB.Example.COM.", "10.0.0.1", 22, true],
  [["*.EXAMPLE.com:22"], "db.example.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "db.example.com", "10.0.0.1", 23, false],
  [["*.example.com:22"], "example.com", "10.0.0.1", 22, false],
  [["*.example.com:22"], "db.example.com.evil", "10.0.0.1", 22, false],
  [["*.example.com"], "db.example.com", "10.0.0.1", 8080, true],
  [["*.example.com"], "db.example.com", "127.0.0.1", 22, false],
  [["localhost"], "localhost", "127.0.0.1", 22, false],
  [["10.0.0.0/8:22"], "any", "10.255.0.1", 22, true],
  [["10.0.0.0/8:22"], "any", "11.0.0.1", 22, false],
  [["10.0.0.0/8"], "any", "::ffff:10.0.0.1", 5000, true],
  [["10.0.0.1"], "any", "10.0.0.1", 22, true],
  [["10.0.0.1:22"], "any", "10.0.0.1", 23, false],
  [["[2001:db8::/32]:22"], "any", "2001:db8::5", 22, true],
  [["[2001:db8::/32]:22"], "any", "2001:db8::5", 23, false],
  [["2001:db8::/32"], "any", "2001:db8::5", 23, true],
  [["0.0.0.0/0"], "any", "8.8.8.8", 22, true],
  [["0.0.0.0/0"], "any", "127.0.0.1", 22, false],
  [["::/0"], "any", "::1", 22, false],
  [["127.0.0.0/8:22"], "any", "127.0.0.1", 22, true],
  [["127.0.0.1"], "localhost", "127.0.0.1", 2222, true],
  [["127.0.0.1"], "localhost", "127.0.0.2", 2222, false],
  [["[::1]:22"], "localhost", "::1", 22, true],
  [["169.254.169.254"], "meta", "169.254.169.254", 80, true],
  [["127.0.0.1:*"], "localhost", "127.0.0.1", 22, true],
];

for (const [patterns, host, ip, port, allowed] of cases) {
  const name = `${patterns.join(" ") || "(none)"} and ${host} (${ip}):${port}: ${allowed}`;
  Deno.test(`targetAllowed() ${name}`, () => {
    assert.equal(targetAllowed(patterns, { host, ip, port }), allowed);
  });
}

Deno.test("assertTargetPattern() refuses what is no pattern", () => {
  const bad = ["", "a b", "a:0", "a:65536", "a:b", "[a]:22", "10.0.0.0/33", "10.0.0.1/8", "a/b"];
  for (const pattern of [...bad, "user@host", "http://x", "[::1"]) {
    assert.throws(() => assertTargetPattern(pattern), BadParameter, pattern);
  }
});

Deno.test("a malformed pattern allows nothing", () => {
  assert.equal(targetAllowed(["a b"], { host: "a b", ip: "10.0.0.1", port: 22 }), false);
});
