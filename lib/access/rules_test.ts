import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import { adminRole } from "../resources/roles.ts";
import type { Role, RuleVerb } from "../resources/types.ts";
import { checkRole } from "./check_role.ts";
import { decideRule } from "./rules.ts";
import { role } from "./testing.ts";

const reader = role("reader", "{allow: {rules: [{resources: [user], verbs: [list, read]}]}}");
const noSecrets = role(
  "nosecrets",
  "{allow: {rules: [{resources: [cert_authority], verbs: [readnosecrets]}]}}",
);
const all = role("all", "{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}");
const noUsers = role("nousers", "{deny: {rules: [{resources: [user, role], verbs: ['*']}]}}");
const noRead = role("noread", "{deny: {rules: [{resources: [user], verbs: [read]}]}}");
const noPeek = role("nopeek", "{deny: {rules: [{resources: ['*'], verbs: [readnosecrets]}]}}");

const cases: [name: string, roles: Role[], resource: string, verb: RuleVerb, boolean, RegExp][] = [
  ["a verb of a rule", [reader], "user", "list", true, /role "reader" allows list/],
  ["a verb that no rule has", [reader], "user", "delete", false, /no role allows delete/],
  ["a resource that no rule has", [reader], "role", "read", false, /no role allows/],
  ["read implies readnosecrets", [reader], "user", "readnosecrets", true, /reader/],
  ["readnosecrets does not imply read", [noSecrets], "cert_authority", "read", false, /no role/],
  ["stars", [all], "token", "rotate", true, /role "all"/],
  ["a denial before everything", [all, noUsers], "user", "read", false, /"nousers" denies read/],
  ["a denial wherever it stands", [noUsers, all], "role", "create", false, /nousers/],
  ["a denial of other resources", [all, noUsers], "token", "read", true, /"all"/],
  ["a denied read denies readnosecrets", [all, noRead], "user", "readnosecrets", false, /noread/],
  ["a denied read leaves list", [all, noRead], "user", "list", true, /"all"/],
  ["a denied readnosecrets denies read", [all, noPeek], "user", "read", false, /nopeek/],
  ["nodes for everybody", [], "node", "list", true, /default-implicit-role/],
  ["public keys of authorities for everybody", [], "cert_authority", "readnosecrets", true, /impl/],
  ["secrets of authorities for nobody", [], "cert_authority", "read", false, /no role/],
  ["users not for everybody", [], "user", "list", false, /no role/],
  ["admin: roles", [adminRole()], "role", "create", true, /"admin"/],
  ["admin: events read only", [adminRole()], "event", "delete", false, /no role/],
  ["the most specific rule is named", [all, reader], "user", "read", true, /"reader"/],
];

for (const [name, roles, resource, verb, allowed, reason] of cases) {
  Deno.test(`decideRule(): ${name}`, () => {
    const decision = decideRule(roles, { resource, verb });
    assert.equal(decision.allowed, allowed, decision.reason);
    assert.match(decision.reason, reason);
  });
}

Deno.test("checkRole() refuses expressions that are none of RE2, naming the label", () => {
  for (const pattern of ["^(?=a)$", "^($", '{{regexp.match("(")}}']) {
    const bad = role("a", `{allow: {logins: [root], node_labels: {env: ['x', '${pattern}']}}}`);
    assert.throws(() => checkRole(bad), (e) => {
      assert.ok(e instanceof BadParameter);
      assert.match(e.message, /^'spec\.allow\.node_labels\.env': .* is no regular expression/);
      return true;
    });
  }
  assert.throws(() => checkRole(role("a", "{deny: {node_labels: {env: '^($'}}}")), /spec\.deny/);
  checkRole(
    role("a", "{allow: {logins: [a], node_labels: {env: ['(', '^a$', '{{external.x}}']}}}"),
  );
  checkRole(adminRole());
});
