import assert from "node:assert/strict";
import fc from "fast-check";
import type { Labels, Role, Traits } from "../resources/types.ts";
import { adminRole } from "../resources/roles.ts";
import { role } from "./testing.ts";
import { allowedLogins, decideNodeAccess, NodeAccess } from "./node_access.ts";

interface Case {
  name: string;
  roles: Role[];
  traits?: Traits;
  login?: string;
  labels?: Labels;
  allowed: boolean;
  reason?: RegExp;
}

const prod = { env: "prod", os: "linux" };

const cases: Case[] = [
  { name: "nobody gets in without roles", roles: [], allowed: false, reason: /no roles/ },
  {
    name: "a role with logins and no labels allows every node",
    roles: [role("a", "{allow: {logins: [root]}}")],
    allowed: true,
    reason: /role "a" allows login "root"/,
  },
  {
    name: "a role with logins and no labels allows a node without labels",
    roles: [role("a", "{allow: {logins: [root]}}")],
    labels: {},
    allowed: true,
  },
  {
    name: "an empty selector that was written allows no node",
    roles: [role("a", "{allow: {logins: [root], node_labels: {}}}")],
    allowed: false,
    reason: /role "a" does not match the node's labels/,
  },
  {
    name: "a login that is not listed is refused",
    roles: [role("a", "{allow: {logins: [joe]}}")],
    allowed: false,
    reason: /role "a" does not allow login "root"/,
  },
  {
    name: "a login must match whole",
    roles: [role("a", "{allow: {logins: [roo, rootx]}}")],
    allowed: false,
  },
  {
    name: "a literal label matches",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: prod}}}")],
    allowed: true,
  },
  {
    name: "a literal label must match whole",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: pro}}}")],
    allowed: false,
  },
  {
    name: "labels are told apart by case",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: Prod}}}")],
    allowed: false,
  },
  {
    name: "every key must be there",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: prod, team: '*'}}}")],
    allowed: false,
  },
  {
    name: "of the values of a key one is enough",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: [test, prod]}}}")],
    allowed: true,
  },
  {
    name: "a value of * needs the key, whatever its value",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '*'}}}")],
    allowed: true,
  },
  {
    name: "*:* beside other keys matches everything",
    roles: [role("a", "{allow: {logins: [root], node_labels: {'*': '*', env: nowhere}}}")],
    allowed: true,
  },
  {
    name: "a glob matches",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: 'p*d'}}}")],
    allowed: true,
  },
  {
    name: "a glob is anchored at both ends",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: 'r*d'}}}")],
    allowed: false,
  },
  {
    name: "a dot in a glob is a dot",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: 'p.od*'}}}")],
    allowed: false,
  },
  {
    name: "a regular expression matches",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '^pr.d$'}}}")],
    allowed: true,
  },
  {
    name: "a regular expression that does not match refuses",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '^dev|test$'}}}")],
    allowed: false,
  },
  {
    name: "what only begins with ^ is no regular expression",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '^prod'}}}")],
    allowed: false,
  },
  {
    name: "regexp.match matches",
    roles: [
      role("a", `{allow: {logins: [root], node_labels: {env: '{{regexp.match("^pr")}}'}}}`),
    ],
    allowed: true,
  },
  {
    name: "regexp.not_match matches what the expression does not",
    roles: [
      role("a", `{allow: {logins: [root], node_labels: {env: '{{regexp.not_match("^dev")}}'}}}`),
    ],
    allowed: true,
  },
  {
    name: "regexp.not_match refuses what the expression matches",
    roles: [
      role("a", `{allow: {logins: [root], node_labels: {env: '{{regexp.not_match("^pr")}}'}}}`),
    ],
    allowed: false,
  },
  {
    name: "regexp.not_match needs the key",
    roles: [
      role("a", `{allow: {logins: [root], node_labels: {team: '{{regexp.not_match("^dev")}}'}}}`),
    ],
    allowed: false,
  },
  {
    name: "an expression that RE2 refuses allows nothing",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '^(?=p)$'}}}")],
    allowed: false,
    reason: /cannot be evaluated/,
  },
  {
    name: "an expression that RE2 refuses in a denial denies",
    roles: [role("a", "{allow: {logins: [root]}, deny: {node_labels: {env: '^(?=p)$'}}}")],
    allowed: false,
    reason: /cannot be evaluated, so it denies/,
  },
  {
    name: "login of one role and labels of another are not mixed",
    roles: [
      role("a", "{allow: {logins: [root], node_labels: {env: dev}}}"),
      role("b", "{allow: {logins: [joe], node_labels: {env: prod}}}"),
    ],
    allowed: false,
    reason: /role "a" does not match the node's labels; role "b" does not allow login "root"/,
  },
  {
    name: "the second role can allow what the first does not",
    roles: [
      role("a", "{allow: {logins: [joe]}}"),
      role("b", "{allow: {logins: [root], node_labels: {env: prod}}}"),
    ],
    allowed: true,
    reason: /role "b"/,
  },
  {
    name: "a denied login wins over an allowed one of the same role",
    roles: [role("a", "{allow: {logins: [root]}, deny: {logins: [root]}}")],
    allowed: false,
    reason: /role "a" denies login "root"/,
  },
  {
    name: "a denied login wins over an allowed one of an earlier role",
    roles: [role("a", "{allow: {logins: [root]}}"), role("b", "{deny: {logins: [root]}}")],
    allowed: false,
  },
  {
    name: "a denied label wins, whatever the login",
    roles: [
      role("a", "{allow: {logins: [root]}}"),
      role("b", "{deny: {logins: [nobody], node_labels: {env: prod}}}"),
    ],
    allowed: false,
    reason: /role "b" denies nodes with these labels/,
  },
  {
    name: "a denied label of another value does not matter",
    roles: [
      role("a", "{allow: {logins: [root]}}"),
      role("b", "{deny: {node_labels: {env: dev}}}"),
    ],
    allowed: true,
  },
  {
    name: "denied logins without labels deny no other login",
    roles: [role("a", "{allow: {logins: [root]}, deny: {logins: [joe]}}")],
    allowed: true,
  },
  {
    name: "internal.logins gives the user's logins",
    roles: [adminRole()],
    traits: { logins: ["joe", "root"] },
    allowed: true,
  },
  {
    name: "a trait that is missing gives no login",
    roles: [adminRole()],
    traits: {},
    allowed: false,
  },
  {
    name: "a trait named like a method of objects gives no login",
    roles: [role("a", "{allow: {logins: ['{{external.constructor}}']}}")],
    traits: {},
    login: "Object",
    allowed: false,
  },
  {
    name: "external traits have a prefix and a suffix",
    roles: [role("a", "{allow: {logins: ['svc-{{external.team}}-x']}}")],
    traits: { team: ["web"] },
    login: "svc-web-x",
    allowed: true,
  },
  {
    name: "external traits can be named in brackets",
    roles: [role("a", `{allow: {logins: ['{{external["the team"]}}']}}`)],
    traits: { "the team": ["web"] },
    login: "web",
    allowed: true,
  },
  {
    name: "email.local gives what stands before the @",
    roles: [role("a", "{allow: {logins: ['{{email.local(external.email)}}']}}")],
    traits: { email: ["alice@example.com"] },
    login: "alice",
    allowed: true,
  },
  {
    name: "email.local of something else gives nothing",
    roles: [role("a", "{allow: {logins: ['{{email.local(external.email)}}']}}")],
    traits: { email: ["alice", "@x", "a b@x", "a@b@c"] },
    login: "alice",
    allowed: false,
  },
  {
    name: "a trait in a label selector is matched",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '{{external.envs}}'}}}")],
    traits: { envs: ["dev", "prod"] },
    allowed: true,
  },
  {
    name: "a trait missing in a label selector matches nothing",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '{{external.envs}}'}}}")],
    allowed: false,
  },
  {
    name: "a trait cannot smuggle in a template",
    roles: [role("a", "{allow: {logins: [root], node_labels: {env: '{{external.envs}}'}}}")],
    traits: { envs: ['{{regexp.match(".")}}'] },
    allowed: false,
  },
  {
    name: "a trait in a denial denies",
    roles: [
      role("a", "{allow: {logins: [root]}, deny: {node_labels: {env: '{{external.banned}}'}}}"),
    ],
    traits: { banned: ["prod"] },
    allowed: false,
  },
  {
    name: "a namespace of a role that has none allows nothing",
    roles: [role("a", "{allow: {logins: [root], namespaces: []}}")],
    allowed: false,
    reason: /no access to namespace/,
  },
  {
    name: "a denial without namespaces denies nothing",
    roles: [role("a", "{allow: {logins: [root]}, deny: {logins: [root], namespaces: []}}")],
    allowed: true,
  },
  {
    name: "a label named like a method of objects is not there",
    roles: [role("a", "{allow: {logins: [root], node_labels: {constructor: '*'}}}")],
    allowed: false,
  },
];

for (const { name, roles, traits = {}, login = "root", labels = prod, allowed, reason } of cases) {
  Deno.test(`decideNodeAccess(): ${name}`, () => {
    const decision = decideNodeAccess({ roles, traits, login, labels });
    assert.equal(decision.allowed, allowed, decision.reason);
    assert.match(decision.reason, reason ?? /./);
  });
}

Deno.test("allowedLogins() leaves out what is denied, unusable or double", () => {
  const roles = [
    role("a", "{allow: {logins: [joe, root, '{{external.unix}}']}}"),
    role("b", "{allow: {logins: [joe]}, deny: {logins: [root]}}"),
  ];
  const unix = ["ci", "*", "a,b", "-oProxyCommand", "with space", "", "x\ny", "joe"];
  assert.deepEqual(allowedLogins(roles, { unix }), ["joe", "ci"]);
});

Deno.test("NodeAccess.loginsOn() gives the logins of the roles that match the labels", () => {
  const access = new NodeAccess([
    role("a", "{allow: {logins: [joe], node_labels: {env: dev}}}"),
    role("b", "{allow: {logins: [root], node_labels: {env: prod}}}"),
  ], {});
  assert.deepEqual(access.loginsOn(prod), ["root"]);
  assert.deepEqual(access.loginsOn({ env: "test" }), []);
});

Deno.test("a reason has no control characters of what was asked for", () => {
  const login = "\u001b[31mroot";
  const { reason } = decideNodeAccess({ roles: [adminRole()], traits: {}, login, labels: {} });
  assert.match(reason, /\\x1b\[31mroot/);
});

/** Roles over a small world, so that they often meet. */
const someRole: fc.Arbitrary<Role> = fc.record({
  allowed: conditions(),
  denied: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, conditions()),
}).map(({ allowed, denied }) => {
  const made = adminRole();
  made.spec.allow = { ...made.spec.allow, ...allowed };
  if (denied) made.spec.deny = { ...made.spec.deny, ...denied };
  return made;
});

function conditions() {
  const pattern = fc.constantFrom("*", "prod", "p*", "^pr.*$", "^(?=bad)$", "{{external.env}}");
  return fc.record({
    logins: fc.subarray(["root", "joe", "{{internal.logins}}"]),
    node_labels: fc.dictionary(
      fc.constantFrom("env", "os"),
      fc.array(pattern, { minLength: 1, maxLength: 2 }),
      { maxKeys: 2 },
    ),
  });
}

const someRequest = fc.record({
  traits: fc.record({
    logins: fc.subarray(["joe", "ann"]),
    env: fc.subarray(["prod", "test"]),
  }),
  login: fc.constantFrom("root", "joe", "ann"),
  labels: fc.dictionary(fc.constantFrom("env", "os"), fc.constantFrom("prod", "test", "linux")),
});

const someRoles = fc.array(someRole, { maxLength: 4 });

Deno.test("a role that denies always wins, wherever it stands", () => {
  fc.assert(fc.property(someRoles, fc.nat(4), someRequest, (roles, position, request) => {
    const denying = role("no", `{deny: {logins: [${request.login}]}}`);
    assert.equal(
      decideNodeAccess({ ...request, roles: roles.toSpliced(position, 0, denying) }).allowed,
      false,
    );
  }));
});

Deno.test("another role that only allows never takes access away", () => {
  fc.assert(fc.property(someRoles, someRole, someRequest, (roles, other, request) => {
    const allowing = structuredClone(other);
    allowing.spec.deny = { logins: [], namespaces: ["default"], node_labels: {}, rules: [] };
    const before = decideNodeAccess({ ...request, roles }).allowed;
    const after = decideNodeAccess({ ...request, roles: [...roles, allowing] }).allowed;
    assert.ok(!before || after);
  }));
});

Deno.test("the order of the roles does not matter", () => {
  fc.assert(fc.property(someRoles, someRequest, (roles, request) => {
    assert.equal(
      decideNodeAccess({ ...request, roles }).allowed,
      decideNodeAccess({ ...request, roles: roles.toReversed() }).allowed,
    );
  }));
});

Deno.test("who may log in has the login in the certificate, and one role that allows it alone", () => {
  fc.assert(fc.property(someRoles, someRequest, (roles, request) => {
    if (!decideNodeAccess({ ...request, roles }).allowed) return;
    assert.ok(allowedLogins(roles, request.traits).includes(request.login));
    assert.ok(roles.some((each) => decideNodeAccess({ ...request, roles: [each] }).allowed));
  }));
});
