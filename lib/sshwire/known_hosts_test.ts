import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { equalKeys, formatAuthorizedKey, generatePrivateKey } from "./keys.ts";
import {
  formatCertAuthorityLine,
  formatKnownHostLine,
  type KnownHost,
  matchHost,
  parseKnownHosts,
} from "./known_hosts.ts";
import { inTempDir, sshKeygen, tryCommand } from "./test_openssh.ts";

const key = generatePrivateKey().publicKey;
const line = formatAuthorizedKey(key);

function entry(patterns: string, marker?: "cert-authority" | "revoked"): KnownHost {
  return { patterns: patterns.split(","), key, comment: "", ...(marker ? { marker } : {}) };
}

Deno.test("parseKnownHosts() reads hosts, authorities and revoked keys, and skips the rest", () => {
  const text = [
    "# a comment",
    "",
    `host.example.com,10.0.0.1 ${line} joe's note`,
    `@cert-authority *.main,*.example.com ${line} type=host`,
    `  @revoked\t*   ${line}  `,
    `@unknown-marker * ${line}`,
    "host ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjE=",
    "host ssh-rsa AAAAB3NzaC1yc2E=",
    "host 2048 65537 123456789",
    "host",
    `host ${line.slice(0, -3)}`,
  ].join("\n");
  const entries = parseKnownHosts(text);
  assert.deepEqual(entries.map((e) => [e.marker, e.patterns, e.comment]), [
    [undefined, ["host.example.com", "10.0.0.1"], "joe's note"],
    ["cert-authority", ["*.main", "*.example.com"], "type=host"],
    ["revoked", ["*"], ""],
  ]);
  assert(entries.every((e) => equalKeys(e.key, key)));
});

Deno.test("parseKnownHosts() gives back what formatCertAuthorityLine() was given", () => {
  const patterns = ["*.main", "[host]:3022", "!bad.main", "::1"];
  const [parsed] = parseKnownHosts(`${formatCertAuthorityLine(patterns, key, "main")}\r\n`);
  assert.deepEqual(parsed, {
    marker: "cert-authority",
    patterns,
    key: parsed?.key,
    comment: "main",
  });
});

Deno.test("attack 22: formatCertAuthorityLine() refuses what would change the line's meaning", () => {
  for (const pattern of ["", "a,b", "a b", "a\nb", "@revoked", "#x", "|1|a|b", "\t"]) {
    assert.throws(() => formatCertAuthorityLine([pattern], key), BadParameter, pattern);
    assert.throws(() => formatKnownHostLine(["ok", pattern], key), BadParameter, pattern);
  }
  assert.throws(() => formatCertAuthorityLine([], key), BadParameter);
  assert.throws(() => formatCertAuthorityLine(["*"], key, `x\n* ${line}`), BadParameter);
});

Deno.test("matchHost() matches names with wildcards and negations, whatever their case", () => {
  assert(matchHost(entry("*.main"), "NODE.main", 22));
  assert(!matchHost(entry("*.main"), "main", 22));
  assert(!matchHost(entry("*.main"), "node.main.evil.com", 22));
  assert(matchHost(entry("n?de"), "node", 22));
  assert(!matchHost(entry("n?de"), "nde", 22));
  assert(!matchHost(entry("*,!node"), "node", 22));
  assert(!matchHost(entry("!node,*"), "node", 22));
  assert(matchHost(entry("*,!node"), "other", 22));
  assert(!matchHost(entry("!node"), "other", 22));
  assert(!matchHost(entry("node.main"), "nodexmain", 22));
  assert(matchHost(entry("*a*b*"), "xxaxxbxx", 22));
});

Deno.test("attack 22: matchHost() keeps plain keys to their port, and markers to all ports", () => {
  assert(!matchHost(entry("node"), "node", 3022));
  assert(matchHost(entry("[node]:3022"), "node", 3022));
  assert(!matchHost(entry("[node]:3022"), "node", 3023));
  assert(!matchHost(entry("[node]:3022"), "node", 22));
  assert(matchHost(entry("*.main", "cert-authority"), "node.main", 3022));
  assert(matchHost(entry("node", "revoked"), "node", 3022));
});

Deno.test("matchHost() agrees with ssh-keygen -F, on hashed names too", () =>
  inTempDir(async (dir) => {
    const path = `${dir}/known_hosts`;
    const names = ["node.example.com", "[node.example.com]:3022", "10.0.0.1", "::1"];
    await Deno.writeTextFile(path, names.map((name) => `${name} ${line}\n`).join(""));
    await sshKeygen(["-H", "-f", path]);
    const entries = parseKnownHosts(await Deno.readTextFile(path));
    assert.equal(entries.length, names.length);
    assert(entries.every((e) => e.patterns[0]?.startsWith("|1|")));
    for (
      const [host, port] of [
        ["node.example.com", 22],
        ["node.example.com", 3022],
        ["10.0.0.1", 22],
        ["::1", 22],
        ["10.0.0.2", 22],
        ["10.0.0.1", 3022],
      ] as const
    ) {
      const name = port === 22 ? host : `[${host}]:${port}`;
      const { success } = await tryCommand("ssh-keygen", ["-F", name, "-f", path]);
      assert.equal(entries.some((e) => matchHost(e, host, port)), success, name);
    }
  }));

Deno.test("parseKnownHosts() and matchHost() take any text, and end", () => {
  const nasty = fc.string({ unit: fc.constantFrom("*", "?", "a", "!", "|", "1", ",", " ", "@") });
  fc.assert(fc.property(nasty, fc.string(), (patterns, host) => {
    for (const each of parseKnownHosts(`${patterns} ${line}\n${host}`)) matchHost(each, host, 22);
    matchHost(entry(patterns), host, 22);
  }));
  assert(!matchHost(entry("*a".repeat(500)), `${"a".repeat(250)}b`, 22));
});
