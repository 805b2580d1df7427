import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { isNeverANode, TargetPolicy } from "./unregistered.ts";

/** Attack 37: [name typed, address it resolved to, port, allowed by default]. */
const BY_DEFAULT: [string, string, number, boolean][] = [
  ["db.example.com", "10.1.2.3", 22, true],
  ["db.example.com", "10.1.2.3", 3022, true],
  ["db.example.com", "2001:db8::1", 22, true],
  ["db.example.com", "fd12::1", 22, true],
  ["db.example.com", "10.1.2.3", 80, false],
  ["db.example.com", "10.1.2.3", 3025, false],
  ["localhost", "127.0.0.1", 22, false],
  ["innocent.example.com", "127.0.0.1", 22, false],
  ["127.0.0.2", "127.0.0.2", 3022, false],
  ["x", "127.255.255.254", 22, false],
  ["x", "0.0.0.0", 22, false],
  ["x", "0.1.2.3", 22, false],
  ["x", "::", 22, false],
  ["x", "::1", 22, false],
  ["x", "0:0:0:0:0:0:0:1", 22, false],
  ["x", "::ffff:127.0.0.1", 22, false],
  ["x", "::ffff:7f00:1", 22, false],
  ["x", "::127.0.0.1", 22, false],
  ["x", "64:ff9b::7f00:1", 22, false],
  ["x", "64:ff9b::a9fe:a9fe", 22, false],
  ["x", "2002:7f00:1::", 22, false],
  ["metadata", "169.254.169.254", 22, false],
  ["metadata", "::ffff:169.254.169.254", 22, false],
  ["metadata", "fd00:ec2::254", 22, false],
  ["metadata", "168.63.129.16", 22, false],
  ["metadata", "100.100.100.200", 22, false],
  ["x", "169.254.1.1", 22, false],
  ["x", "fe80::1", 22, false],
  ["x", "224.0.0.1", 22, false],
  ["x", "255.255.255.255", 22, false],
  ["x", "ff02::1", 22, false],
];

for (const [name, ip, port, allowed] of BY_DEFAULT) {
  Deno.test(`by default ${name} at ${ip} port ${port} is ${allowed ? "allowed" : "refused"}`, () => {
    assert.equal(new TargetPolicy().allows(name, ip, port), allowed);
  });
}

/** [entries, name, address, port, allowed]. */
const CONFIGURED: [string[], string, string, number, boolean][] = [
  [[], "x", "10.0.0.1", 22, false],
  [["10.0.0.0/8"], "x", "10.9.9.9", 8080, true],
  [["10.0.0.0/8"], "x", "11.0.0.1", 8080, false],
  [["10.0.0.0/8:22"], "x", "10.9.9.9", 22, true],
  [["10.0.0.0/8:22"], "x", "::ffff:10.9.9.9", 22, true],
  [["10.0.0.0/8:22"], "x", "10.9.9.9", 23, false],
  [["10.0.0.5:22"], "x", "10.0.0.5", 22, true],
  [["10.0.0.5:22"], "10.0.0.5", "10.0.0.6", 22, false],
  [["[2001:db8::/32]:22"], "x", "2001:db8::5", 22, true],
  [["[2001:db8::/32]:22"], "x", "2001:db8::5", 23, false],
  [["2001:db8::/32"], "x", "2001:db8::5", 23, true],
  [["*.example.com:22"], "a.example.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "A.EXAMPLE.com", "10.0.0.1", 22, true],
  [["*.example.com:22"], "a.example.com.evil.org", "10.0.0.1", 22, false],
  [["*.example.com:22"], "xexample.com", "10.0.0.1", 22, false],
  [["db"], "db", "10.0.0.1", 9, true],
  // A pattern of names never opens a closed address: whoever has the DNS would choose it.
  [["*.example.com"], "a.example.com", "127.0.0.1", 22, false],
  [["*"], "x", "169.254.169.254", 80, false],
  [["0.0.0.0/0"], "x", "127.0.0.1", 22, false],
  [["0.0.0.0/0"], "x", "169.254.169.254", 80, false],
  [["::/0"], "x", "::1", 22, false],
  [["localhost:2222"], "localhost", "127.0.0.1", 2222, false],
  // An entry of its own does.
  [["127.0.0.1:2222"], "localhost", "127.0.0.1", 2222, true],
  [["127.0.0.0/8:2222"], "localhost", "127.0.0.1", 2222, true],
  [["127.0.0.0/8:2222"], "localhost", "127.0.0.1", 3025, false],
  [["[::1]:22"], "localhost", "::1", 22, true],
  [["169.254.169.254:80"], "x", "169.254.169.254", 80, true],
  [["127.0.0.0/8"], "x", "169.254.169.254", 80, false],
];

for (const [entries, name, ip, port, allowed] of CONFIGURED) {
  Deno.test(`[${entries}] ${allowed ? "allows" : "refuses"} ${name} at ${ip} port ${port}`, () => {
    assert.equal(new TargetPolicy(entries).allows(name, ip, port), allowed);
  });
}

for (
  const entry of ["", "10.0.0.0/33", "10.0.0.1/8", "a b", "host:0", "host:99999", "host:ssh", "!x"]
) {
  Deno.test(`the entry ${JSON.stringify(entry)} is refused by name`, () => {
    assert.throws(() => new TargetPolicy([entry]), (error: unknown) => {
      assert.ok(error instanceof BadParameter);
      assert.match(error.message, /unregistered_targets/);
      return true;
    });
  });
}

Deno.test("attack 55: a node's own word does not lead the proxy to a metadata service", () => {
  assert.equal(isNeverANode("169.254.169.254"), true);
  assert.equal(isNeverANode("fe80::1"), true);
  assert.equal(isNeverANode("0.0.0.0"), true);
  assert.equal(isNeverANode("127.0.0.1"), false);
  assert.equal(isNeverANode("10.0.0.1"), false);
});
