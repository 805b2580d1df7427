import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { formatResources, parseResource, parseResourceOf, parseResources } from "./codec.ts";
import { adminRole, implicitRole } from "./roles.ts";
import type { AnyResource, CertAuthority, Node, Role, User } from "./types.ts";

function refused(text: string, wanted: RegExp): void {
  assert.throws(() => parseResources(text), (e) => {
    assert.ok(e instanceof BadParameter, String(e));
    assert.match(e.message, wanted);
    return true;
  });
}

/** A document whose `spec` stands from line 4 on. */
function document(kind: string, spec: string, version = kind === "role" ? "v3" : "v2"): string {
  return `kind: ${kind}\nversion: ${version}\nmetadata: {name: x}\nspec:\n${spec}`;
}

Deno.test("a user as Teleport writes one is read", () => {
  const [user] = parseResources(`
kind: user
version: v2
metadata: {name: joe, id: 1573490405, expires: "2030-01-02T03:04:05+02:00"}
spec:
  roles: [admin]
  traits: {logins: [joe, root], kubernetes_groups: null, kubernetes_users: [joe]}
  status: {is_locked: false, lock_expires: "0001-01-01T00:00:00Z", locked_time: "0001-01-01T00:00:00Z"}
  created_by: {time: "2020-01-01T00:00:00Z", user: {name: builtin-Admin}}
  expires: "0001-01-01T00:00:00Z"
  oidc_identities: []
  saml_identities: null
`);
  assert.deepEqual(user, {
    kind: "user",
    version: "v2",
    metadata: {
      name: "joe",
      namespace: "default",
      labels: {},
      expires: "2030-01-02T01:04:05.000Z",
    },
    spec: {
      roles: ["admin"],
      traits: { logins: ["joe", "root"], kubernetes_groups: [], kubernetes_users: ["joe"] },
      status: { is_locked: false },
      created_by: { time: "2020-01-01T00:00:00.000Z", user: { name: "builtin-Admin" } },
    },
  });
});

Deno.test("a role as Teleport writes one is read", () => {
  const [role] = parseResources(`
kind: role
version: v3
metadata: {name: dev}
spec:
  options:
    max_session_ttl: 8h
    forward_agent: true
    port_forwarding: no
    permit_x11_forwarding: false
    cert_format: standard
    client_idle_timeout: never
    disconnect_expired_cert: no
    max_connections: 2
    max_sessions: 10
    request_access: optional
  allow:
    logins: [root, '{{internal.logins}}', '{{external.unix}}', '{{email.local(external.email)}}']
    namespaces: [default]
    node_labels: {env: ['test','staging'], 'region': '^us-.*$', version: 1.10}
    kubernetes_groups: [a]
    rules:
    - resources: [session, event]
      verbs: [list, read]
  deny: {}
`);
  assert.deepEqual(role, {
    kind: "role",
    version: "v3",
    metadata: { name: "dev", namespace: "default", labels: {} },
    spec: {
      options: {
        max_session_ttl: "8h0m0s",
        forward_agent: true,
        port_forwarding: false,
        permit_x11_forwarding: false,
        cert_format: "standard",
        client_idle_timeout: "never",
        disconnect_expired_cert: false,
        max_connections: 2,
        max_sessions: 10,
      },
      allow: {
        logins: [
          "root",
          "{{internal.logins}}",
          "{{external.unix}}",
          "{{email.local(external.email)}}",
        ],
        namespaces: ["default"],
        node_labels: { env: ["test", "staging"], region: ["^us-.*$"], version: ["1.10"] },
        kubernetes_groups: ["a"],
        rules: [{ resources: ["session", "event"], verbs: ["list", "read"] }],
      },
      deny: { logins: [], namespaces: ["default"], node_labels: {}, rules: [] },
    },
  });
});

Deno.test("labels that are left out match every node only where there are logins", () => {
  const labels = (allow: string) =>
    (parseResources(document("role", `  allow: ${allow}\n`))[0] as Role).spec.allow.node_labels;
  assert.deepEqual(labels("{logins: [root]}"), { "*": ["*"] });
  assert.deepEqual(labels("{logins: [root], node_labels: null}"), { "*": ["*"] });
  assert.deepEqual(labels("{logins: [root], node_labels: {}}"), {});
  assert.deepEqual(labels("{logins: []}"), {});
  assert.deepEqual(labels("{}"), {});
});

Deno.test("labels that are left out of a denial deny nothing", () => {
  const role = parseResources(document("role", "  deny: {logins: [root]}\n"))[0] as Role;
  assert.deepEqual(role.spec.deny.node_labels, {});
});

const roleRefusals: [spec: string, wanted: RegExp][] = [
  [
    "  allow:\n    # what\n    loginz: [root]\n",
    /^unknown key 'spec\.allow\.loginz' at line 7, did you mean 'logins'\?$/,
  ],
  ["  alow: {}\n", /unknown key 'spec\.alow' at line 5, did you mean 'allow'\?/],
  ["  allow:\n    rules:\n    - resources: [node]\n      verb: [list]\n", /at line 8, .*'verbs'/],
  ["  allow: {logins: ['*']}\n", /'spec\.allow\.logins\[0\]' at line 5 .*'\*' is not allowed/],
  ["  allow:\n    logins:\n    - root\n    - a,b\n", /'spec\.allow\.logins\[1\]' at line 8 /],
  ["  deny: {logins: ['*']}\n", /'\*' is not allowed/],
  ["  allow: {logins: ['-oProxyCommand=x']}\n", /cannot be a principal/],
  ['  allow: {logins: ["a\\nb"]}\n', /cannot be a principal/],
  ["  allow: {logins: ['{{external.}}']}\n", /is no template/],
  ["  allow: {logins: ['{{internal.logins']}\n", /is no template/],
  ["  allow: {logins: ['{{a}}{{b}}']}\n", /is no template/],
  ["  allow: {logins: ['{{regexp.match(\"a\")}}']}\n", /are for labels only/],
  ["  allow: {logins: root}\n", /'spec\.allow\.logins' at line 5 must be a list/],
  ["  allow: {node_labels: {'*': prod}}\n", /label '\*' takes only the value '\*'/],
  ["  allow: {node_labels: {'{{external.x}}': prod}}\n", /templates are for the values/],
  ["  allow: {node_labels: {env: ['{{bad']}}\n", /node_labels\.env\[0\]' at line 5 .*no template/],
  ["  allow: {node_labels: {env: [[a]]}}\n", /must be text/],
  ["  allow: {namespaces: [prod]}\n", /namespaces\[0\]' at line 5 must be default or \*/],
  ["  allow: {rules: [{resources: [sesion], verbs: [read]}]}\n", /did you mean 'session'\?/],
  ["  allow: {rules: [{resources: [node], verbs: [connect]}]}\n", /is no verb that is known/],
  ["  allow: {rules: [{resources: [], verbs: [read]}]}\n", /must not be empty/],
  [
    "  allow:\n    rules:\n    - resources: [session]\n      verbs: [read]\n      where: 'a'\n",
    /'spec\.allow\.rules\[0\]\.where' at line 9 is not supported by this version: 'where'/,
  ],
  ["  allow: {rules: [{resources: [node], verbs: [read], actions: [x]}]}\n", /'actions' in rules/],
  ["  allow: {request: {roles: [dba]}}\n", /not supported by this version: access requests/],
  ["  options: {request_access: always}\n", /not supported by this version: access requests/],
  ["  options: {enhanced_recording: [network]}\n", /not supported by this version: enhanced/],
  ["  options: {max_session_ttl: 30}\n", /max_session_ttl' at line 5 .*as a duration/],
  ["  options: {max_session_ttl: never}\n", /must be at least 1m0s/],
  ["  options: {cert_format: new}\n", /must be standard or oldssh/],
  ["  options: {max_connections: -1}\n", /must be a whole number from 0/],
  ["  options: {forward_agent: [yes]}\n", /must be yes or no/],
  ["  options: {forward_agent: maybe}\n", /must be yes or no/],
];

for (const [spec, wanted] of roleRefusals) {
  Deno.test(`a role is refused: ${JSON.stringify(spec.trim())}`, () => {
    refused(document("role", spec), wanted);
  });
}

const refusals: [name: string, text: string, wanted: RegExp][] = [
  ["no kind", "version: v2\n", /missing key 'kind' at line 1/],
  ["an unknown kind", "kind: usr\n", /"usr" is no kind of resource, did you mean 'user'\?/],
  ["a kind of later", "kind: trusted_cluster\n", /'trusted_cluster' are not supported by this/],
  [
    "an alias of a kind",
    "kind: users\nversion: v2\n",
    /'kind' at line 1 must be written as 'user'/,
  ],
  [
    "another version",
    document("role", "  {}\n", "v4"),
    /'version' at line 2 must be v3 for a role/,
  ],
  ["no spec", "kind: user\nversion: v2\nmetadata: {name: a}\n", /missing key 'spec' at line 1/],
  ["a list in place of a resource", "[5]", /A resource at line 1 must be a mapping/],
  ["nothing", "# only a comment\n", /There is no resource in this text/],
  [
    "an unknown key on top",
    `${document("user", "  roles: [a]\n")}specs: 1\n`,
    /'specs' at line 6, did/,
  ],
  [
    "a bad name",
    "kind: user\nversion: v2\nmetadata: {name: 'a/b'}\nspec: {roles: [a]}\n",
    /'metadata\.name' at line 3 .*cannot be a name/,
  ],
  [
    "another namespace",
    "kind: user\nversion: v2\nmetadata: {name: a, namespace: b}\nspec: {roles: [a]}\n",
    /'metadata\.namespace' at line 3 is not supported by this version/,
  ],
  [
    "a user without roles",
    document("user", "  roles: []\n"),
    /'spec\.roles' at line 5 must not be/,
  ],
  [
    "single sign-on",
    document("user", "  roles: [a]\n  github_identities: [a]\n"),
    /single sign-on/,
  ],
  ["a bad time", document("user", "  roles: [a]\n  expires: tomorrow\n"), /must be a time such as/],
  ["a token for auth", document("token", "  roles: [auth]\n"), /'auth' are not supported by this/],
  ["a token for nothing", document("token", "  roles: [x]\n"), /"x" is no role to join with/],
  [
    "an authority that is not PEM",
    document(
      "cert_authority",
      "  {type: user, cluster_name: x, checking_keys: [a], signing_keys: [b]}\n",
    ),
    /signing_keys\[0\]' at line 5 must be a private key in PEM/,
  ],
  ["a sub_kind", `sub_kind: b\n${document("user", "  roles: [a]\n")}`, /'sub_kind' at line 1 must/],
];

for (const [name, text, wanted] of refusals) {
  Deno.test(`a resource is refused: ${name}`, () => refused(text, wanted));
}

Deno.test("the line is that of the document it stands in", () => {
  const good = document("user", "  roles: [a]\n");
  refused(`${good}---\n${good}  rolez: [b]\n`, /unknown key 'spec\.rolez' at line 12/);
});

Deno.test("JSON is read as well, with lines, tabs and escapes", () => {
  const [user] = parseResources(
    '{\n\t"kind": "user", "version": "v2",\n\t"metadata": {"name": "joe"},\n' +
      '\t"spec": {"roles": ["a"], "traits": {"x": ["\\u00e9\\/\\n".trim()]}}\n}'.replace(
        '\\n".trim()',
        '"',
      ),
  );
  assert.deepEqual((user as User).spec.traits, { x: ["é/"] });
  refused(
    '{"kind": "user",\n"version": "v2",\n"metadata": {"nam": "joe"}}',
    /'metadata\.nam' at line 3/,
  );
});

Deno.test("a list of resources is read, as --format=json prints one", () => {
  const list: AnyResource[] = [adminRole(), implicitRole()];
  assert.deepEqual(parseResources(JSON.stringify(list)), list);
  refused(
    `[${JSON.stringify(adminRole())},\n{"kind": "role", "version": "v3", "spek": {}}]`,
    /unknown key 'spek' at line 2/,
  );
});

Deno.test("__proto__ is refused as a key, in text and in values", () => {
  refused("kind: user\n__proto__: {a: b}\n", /Line 2: '__proto__' is not allowed as a key/);
  const json = '{"kind":"user","version":"v2","metadata":{"name":"a","labels":{"__proto__":"x"}},' +
    '"spec":{"roles":["a"]}}';
  refused(json, /'__proto__' is not allowed/);
  assert.throws(() => parseResource(JSON.parse(json)), /'metadata\.labels\.__proto__' is not allo/);
  assert.equal(({} as Record<string, unknown>).a, undefined);
});

Deno.test("parseResourceOf() refuses a resource of another kind", () => {
  assert.deepEqual(parseResourceOf("role", adminRole()), adminRole());
  assert.throws(() => parseResourceOf("user", adminRole()), /kind 'user', not 'role'/);
});

Deno.test("the built-in roles are what the schema makes of them", () => {
  for (const role of [adminRole(), implicitRole()]) assert.deepEqual(parseResource(role), role);
});

Deno.test("formatResources() gives the same text whatever the order of keys", () => {
  const user: User = {
    kind: "user",
    version: "v2",
    metadata: { name: "joe", namespace: "default", labels: { b: "2", a: "no" } },
    spec: { roles: ["admin"], traits: { z: ["1.10"], a: [] }, status: { is_locked: false } },
  };
  const shuffled = JSON.parse(JSON.stringify({
    spec: { traits: { a: [], z: ["1.10"] }, status: { is_locked: false }, roles: ["admin"] },
    metadata: { labels: { a: "no", b: "2" }, namespace: "default", name: "joe" },
    version: "v2",
    kind: "user",
  }));
  const yaml = formatResources([user], "yaml");
  assert.equal(formatResources([shuffled], "yaml"), yaml);
  assert.equal(formatResources([shuffled], "json"), formatResources([user], "json"));
  assert.equal(
    yaml,
    `kind: user
version: v2
metadata:
  name: joe
  labels:
    a: "no"
    b: "2"
  namespace: default
spec:
  roles:
    - admin
  status:
    is_locked: false
  traits:
    a: []
    z:
      - "1.10"
`,
  );
});

const name = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9_.@+-]{0,20}$/);
const text = fc.string({ unit: "grapheme", maxLength: 12 })
  // deno-lint-ignore no-control-regex
  .filter((s) => !/[\x00-\x1f\x7f-\x9f\u2028\u2029]|[\ud800-\udfff]/u.test(s));
const labels = fc.dictionary(fc.stringMatching(/^[a-zA-Z0-9_.:/-]{1,12}$/), text, {
  maxKeys: 4,
  noNullPrototype: true,
})
  .filter((made) => !Object.hasOwn(made, "__proto__"));

const someUser = fc.record({ name, labels, roles: fc.array(name, { minLength: 1 }), values: text })
  .map(({ name, labels, roles, values }): User => ({
    kind: "user",
    version: "v2",
    metadata: { name, namespace: "default", labels },
    spec: {
      roles,
      traits: { logins: values === "" ? [] : [values] },
      status: { is_locked: values.length > 5 },
    },
  }));

const someNode = fc.record({ name, labels, hostname: name, result: text })
  .map(({ name, labels, hostname, result }): Node => ({
    kind: "node",
    version: "v2",
    metadata: { name, namespace: "default", labels },
    spec: {
      addr: "10.0.0.1:3022",
      hostname,
      cmd_labels: { kernel: { period: "1h0m0s", command: ["uname", "-r"], result } },
      use_tunnel: false,
      version: "1.0.0",
    },
  }));

Deno.test("what formatResources() writes is read back unchanged, as YAML and as JSON", () => {
  const resources = fc.array(fc.oneof(someUser, someNode), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(resources, fc.constantFrom("yaml" as const, "json" as const), (list, as) => {
      assert.deepEqual(parseResources(formatResources(list, as)), list);
    }),
  );
});

Deno.test("keys and certificates in PEM survive YAML", () => {
  const pem =
    "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB==\n-----END OPENSSH PRIVATE KEY-----\n";
  const authority: CertAuthority = {
    kind: "cert_authority",
    version: "v2",
    metadata: { name: "main", namespace: "default", labels: {} },
    spec: {
      type: "user",
      cluster_name: "main",
      checking_keys: ["ssh-ed25519 AAAA comment"],
      signing_keys: [pem],
      tls_key_pairs: [{ cert: pem.replaceAll("OPENSSH PRIVATE KEY", "CERTIFICATE"), key: pem }],
    },
  };
  for (const format of ["yaml", "json"] as const) {
    assert.deepEqual(parseResources(formatResources([authority], format)), [authority]);
  }
});

Deno.test("any text is either read or refused with BadParameter", () => {
  const piece = fc.constantFrom(
    "kind: user\n",
    "version: v2\n",
    "metadata: {name: a}\n",
    "spec: {roles: [a]}\n",
    "---\n",
    "- ",
    "&a ",
    "*a",
    "<<: *a\n",
    "? [a]\n",
    "!!set {a}\n",
    "%YAML 1.1\n",
    "{",
    "}",
    "[",
    "\t",
    "|\n ",
    "'",
    '"',
    "\u0000",
    "\ufeff",
  );
  const input = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary", maxLength: 60 }),
  );
  fc.assert(
    fc.property(input, (text) => {
      try {
        parseResources(text);
      } catch (e) {
        assert.ok(e instanceof BadParameter, `${e}`);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("any JSON value is either a resource or refused with BadParameter", () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.record({
      kind: fc.constantFrom("user", "role", "node", "cert_authority"),
      version: fc.constantFrom("v2", "v3"),
      metadata: fc.oneof(fc.record({ name: fc.constant("a") }), fc.jsonValue()),
      spec: fc.jsonValue(),
    }),
  );
  fc.assert(
    fc.property(value, (value) => {
      try {
        parseResource(value);
      } catch (e) {
        assert.ok(e instanceof BadParameter, `${e}`);
      }
    }),
    { numRuns: 500 },
  );
});
