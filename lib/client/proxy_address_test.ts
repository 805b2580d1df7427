import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { parseJumpHost, parseProxyAddress } from "./proxy_address.ts";

Deno.test("parseProxyAddress() reads all ways to write a proxy", () => {
  const cases: [string, ReturnType<typeof parseProxyAddress>][] = [
    ["proxy", { host: "proxy", webPort: 3080, webPortGiven: false }],
    ["proxy:443", { host: "proxy", webPort: 443, webPortGiven: true }],
    ["proxy:443,22", { host: "proxy", webPort: 443, webPortGiven: true, sshPort: 22 }],
    ["proxy:,23", { host: "proxy", webPort: 3080, webPortGiven: false, sshPort: 23 }],
    ["https://proxy:3080/", { host: "proxy", webPort: 3080, webPortGiven: true }],
    ["[::1]:443,22", { host: "::1", webPort: 443, webPortGiven: true, sshPort: 22 }],
    ["10.0.0.1", { host: "10.0.0.1", webPort: 3080, webPortGiven: false }],
  ];
  for (const [text, want] of cases) assert.deepEqual(parseProxyAddress(text), want, text);
});

Deno.test("parseProxyAddress() refuses what is no address and says how to write one", () => {
  for (
    const text of ["", ":3080", "a b", "proxy:0", "proxy:99999", "proxy:1,2,3", "http://proxy"]
  ) {
    assert.throws(() => parseProxyAddress(text), BadParameter, text);
  }
});

Deno.test("parseJumpHost() reads one proxy, with a login and a port when they are given", () => {
  const cases: [string, ReturnType<typeof parseJumpHost>][] = [
    ["proxy", { address: { host: "proxy", port: 3023 } }],
    ["proxy:22", { address: { host: "proxy", port: 22 } }],
    ["joe@proxy", { login: "joe", address: { host: "proxy", port: 3023 } }],
    ["joe@[::1]:22", { login: "joe", address: { host: "::1", port: 22 } }],
  ];
  for (const [text, want] of cases) assert.deepEqual(parseJumpHost(text), want, text);
  for (const text of ["", "@proxy", "joe@", "proxy:x", "a b"]) {
    assert.throws(() => parseJumpHost(text), /write it like/, text);
  }
  assert.throws(() => parseJumpHost("one,two"), /only one jump host/);
});
