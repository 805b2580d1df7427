import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import {
  assertClusterName,
  assertName,
  assertPrincipal,
  isHostName,
  isNologinPrincipal,
  isPrincipal,
  nologinPrincipal,
} from "./names.ts";

Deno.test("assertPrincipal() takes logins, host names and addresses", () => {
  for (
    const name of [
      "root",
      "joe.doe",
      "joe@example.com",
      "_apt",
      "CORP\\joe",
      "machine$",
      "1000",
      "node-1.example.com",
      "10.0.0.1",
      "::1",
      "2001:db8::1",
      "a".repeat(255),
    ]
  ) {
    assertPrincipal(name);
  }
});

const badPrincipals = [
  "",
  "deploy,root",
  "two words",
  "tab\tbed",
  " root",
  "root ",
  "root\n",
  "ro\0ot",
  "ro\x1b[0mot",
  "-oProxyCommand=x",
  "-",
  "*",
  "*.example.com",
  "ro?t",
  "!root",
  "räksmörgås",
  "ро\u043et",
  "root\u200b",
  "../etc",
  "a/b",
  ".hidden",
  '"root"',
  "'root'",
  "$(id)",
  "`id`",
  "a;b",
  "a|b",
  "a".repeat(256),
  "-teleport-nologin-",
  "-teleport-nologin-x",
  `-teleport-nologin-${"0".repeat(36)}`,
];

Deno.test("attack 7: assertPrincipal() refuses lists, white space, controls, dashes and wildcards", () => {
  for (const name of badPrincipals) {
    assert.throws(() => assertPrincipal(name), BadParameter, JSON.stringify(name));
  }
});

Deno.test("assertPrincipal() takes the principal that means no login", () => {
  const principal = nologinPrincipal(uuid());
  assertPrincipal(principal);
  assert(isNologinPrincipal(principal));
  assert(!isNologinPrincipal("root"));
});

Deno.test("isPrincipal() never takes anything but visible ASCII", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    if (isPrincipal(text)) assert.match(text, /^[!-~]{1,255}$/);
  }));
});

Deno.test("assertName() takes user names that can be part of a key in the storage", () => {
  for (const name of ["joe", "joe@example.com", "a-b_c.d+e", "1"]) assertName(name);
  for (const name of ["", "a/b", "..", "-x", "a b", "a:b", "a\n", "é", "a".repeat(256)]) {
    assert.throws(() => assertName(name, "user name"), /cannot be a user name/);
  }
});

Deno.test("assertClusterName() takes host names only", () => {
  for (const name of ["main", "teleport.example.com", "a-1.b"]) assertClusterName(name);
  for (
    const name of [
      "",
      "Main",
      "a_b c",
      "*.example.com",
      ".a",
      "a.",
      "a..b",
      "-a",
      "a-",
      "10.0.0.1",
      "::1",
      `${"a.".repeat(127)}a`,
      "a\n",
    ]
  ) {
    assert.throws(() => assertClusterName(name), BadParameter, JSON.stringify(name));
  }
});

Deno.test("isHostName() ends at once on hostile text", () => {
  assert(!isHostName(`${"a-".repeat(120)}!`));
  assert(!isHostName("a".repeat(1_000_000)));
});
