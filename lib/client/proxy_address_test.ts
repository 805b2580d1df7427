import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { parseProxyAddress } from "./proxy_address.ts";

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
