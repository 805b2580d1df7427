import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { parseJoinRoles } from "./join_roles.ts";
import { parseKind } from "./kinds.ts";
import { nodeLabels, withoutSecrets } from "./labels.ts";
import { assertLabelKey, assertTokenName } from "./names.ts";
import { suggestion } from "./suggest.ts";
import { parseTemplate } from "./template.ts";
import type { CertAuthority, Node } from "./types.ts";

Deno.test("parseKind() takes the names that tctl's users type", () => {
  const names: Record<string, string> = {
    user: "user",
    users: "user",
    Roles: "role",
    cas: "cert_authority",
    auth: "auth_server",
    proxies: "proxy",
    cap: "cluster_auth_preference",
  };
  for (const [name, kind] of Object.entries(names)) assert.equal(parseKind(name), kind);
  assert.throws(() => parseKind("roel"), /did you mean 'role'\?/);
  assert.throws(() => parseKind("locks"), /'locks' are not supported by this version/);
  assert.throws(() => parseKind("constructor"), BadParameter);
});

Deno.test("parseJoinRoles() reads each role once, in any case", () => {
  assert.deepEqual(parseJoinRoles("proxy, Node,node"), ["Proxy", "Node"]);
  for (const text of ["", "node,", "auth", "admin", "constructor"]) {
    assert.throws(() => parseJoinRoles(text), BadParameter, text);
  }
});

Deno.test("assertTokenName() takes visible ASCII without a comma", () => {
  for (const good of ["a", "e94d68a8a1e5821dbd79d03a960644f0", "a+/=:b", "x".repeat(255), "-"]) {
    assertTokenName(good);
  }
  for (const bad of ["", "a b", "a,b", "é", "a\n", "x".repeat(256)]) {
    assert.throws(() => assertTokenName(bad), BadParameter, bad);
  }
});

Deno.test("assertLabelKey() takes what can stand in a selector without quotes", () => {
  for (const good of ["env", "aws/region", "a.b-c_d:e", "1"]) assertLabelKey(good);
  for (const bad of ["", "*", "a b", "a=b", "a,b", "a\u001b[1m", "x".repeat(129)]) {
    assert.throws(() => assertLabelKey(bad), BadParameter, bad);
  }
});

Deno.test("suggestion() finds the near one and nothing for what is far", () => {
  const known = ["logins", "node_labels", "rules", "namespaces"];
  assert.equal(suggestion("loginz", known), "logins");
  assert.equal(suggestion("nodelabels", known), "node_labels");
  assert.equal(suggestion("Rules", known), "rules");
  assert.equal(suggestion("kubernetes", known), undefined);
  assert.equal(suggestion("x".repeat(10_000), known), undefined);
});

Deno.test("parseTemplate() takes templates apart", () => {
  const variable = { type: "variable", prefix: "", suffix: "" };
  assert.deepEqual(parseTemplate("root"), { type: "literal", text: "root" });
  assert.deepEqual(parseTemplate("{{internal.logins}}"), {
    ...variable,
    namespace: "internal",
    name: "logins",
  });
  assert.deepEqual(parseTemplate('a-{{ external["the x"] }}-b'), {
    type: "variable",
    prefix: "a-",
    suffix: "-b",
    namespace: "external",
    name: "the x",
  });
  assert.deepEqual(parseTemplate("{{email.local(external.email)}}"), {
    ...variable,
    namespace: "external",
    name: "email",
    transform: "email.local",
  });
  assert.deepEqual(parseTemplate(String.raw`{{regexp.not_match("^a\\.\"$")}}`), {
    type: "matcher",
    negated: true,
    pattern: String.raw`^a\."$`,
  });
});

Deno.test("parseTemplate() refuses what is none", () => {
  for (
    const text of [
      "{{}}",
      "{{internal}}",
      "{{other.x}}",
      "{{external.x",
      "external.x}}",
      "{{external.x}}{{external.y}}",
      "{{external.x.y}}",
      "{{email.local(x)}}",
      "{{regexp.match(a)}}",
      'x{{regexp.match("a")}}',
      "{{{{external.x}}}}",
    ]
  ) assert.throws(() => parseTemplate(text), BadParameter, text);
});

Deno.test("nodeLabels() has static labels and results of commands, which win", () => {
  const node: Node = {
    kind: "node",
    version: "v2",
    metadata: { name: "x", namespace: "default", labels: { a: "1", b: "2" } },
    spec: {
      addr: "",
      hostname: "x",
      cmd_labels: { b: { period: "1h0m0s", command: ["x"], result: "3" } },
      use_tunnel: false,
      version: "",
    },
  };
  assert.deepEqual(nodeLabels(node), { a: "1", b: "3" });
});

Deno.test("withoutSecrets() leaves no private key", () => {
  const authority: CertAuthority = {
    kind: "cert_authority",
    version: "v2",
    metadata: { name: "main", namespace: "default", labels: {} },
    spec: {
      type: "host",
      cluster_name: "main",
      checking_keys: ["public"],
      signing_keys: ["SECRET"],
      tls_key_pairs: [{ cert: "certificate", key: "SECRET" }],
    },
  };
  assert.doesNotMatch(JSON.stringify(withoutSecrets(authority)), /SECRET/);
  assert.deepEqual(withoutSecrets(authority).spec.tls_key_pairs, [{ cert: "certificate" }]);
  assert.equal(authority.spec.signing_keys?.length, 1);
});
