import assert from "node:assert/strict";
import type { JoinMode } from "../resources/types.ts";
import { decideJoin } from "./join.ts";
import { role } from "./testing.ts";

const alice = { user: "alice", roleNames: ["dev", "prod-access"] };

interface Case {
  name: string;
  user?: string;
  /** Specs. */
  roles: string[];
  mode?: JoinMode;
  allowed: boolean;
  reason?: RegExp;
}

const rule = (roles: string, modes: string, more = "") =>
  `join_sessions: [{name: x, roles: [${roles}], modes: [${modes}]${more}}]`;

const cases: Case[] = [
  { name: "nobody joins without a role", roles: [], allowed: false, reason: /no role allows/ },
  { name: "a role that says nothing of it allows nothing", roles: ["{}"], allowed: false },
  { name: "one's own session is joined without any role", user: "alice", roles: [], allowed: true },
  {
    name: "one's own session is joined whatever is denied for others'",
    user: "alice",
    roles: [`{deny: {${rule("'*'", "'*'")}}}`],
    allowed: true,
  },
  {
    name: "a rule allows the mode it names, for owners with the role it names",
    roles: [`{allow: {${rule("dev", "peer")}}}`],
    allowed: true,
    reason: /role "r0" allows to join sessions of "alice" as peer/,
  },
  {
    name: "a rule allows no other mode",
    roles: [`{allow: {${rule("dev", "observer, moderator")}}}`],
    allowed: false,
  },
  {
    name: "a glob matches the owner's roles",
    roles: [`{allow: {${rule("'prod-*'", "peer")}}}`],
    allowed: true,
  },
  {
    name: "a role's name is matched whole",
    roles: [`{allow: {${rule("de, prod", "peer")}}}`],
    allowed: false,
  },
  {
    name: "it is the owner's roles that count, not those of who joins",
    roles: [`{allow: {${rule("r0", "peer")}}}`],
    allowed: false,
  },
  { name: "every mode", roles: [`{allow: {${rule("dev", "'*'")}}}`], allowed: true },
  {
    name: "a rule for other kinds of sessions allows nothing",
    roles: [`{allow: {${rule("'*'", "'*'", ", kinds: [k8s]")}}}`],
    allowed: false,
  },
  {
    name: "a rule that names this kind among others counts",
    roles: [`{allow: {${rule("'*'", "'*'", ", kinds: [k8s, ssh]")}}}`],
    allowed: true,
  },
  {
    name: "another role's denial wins",
    roles: [`{allow: {${rule("'*'", "'*'")}}}`, `{deny: {${rule("prod-access", "peer")}}}`],
    allowed: false,
    reason: /role "r1" denies/,
  },
  {
    name: "a denial of another mode does not matter",
    roles: [`{allow: {${rule("'*'", "'*'")}}, deny: {${rule("'*'", "moderator")}}}`],
    allowed: true,
  },
  {
    name: "roles and modes of two rules are not mixed",
    roles: [
      "{allow: {join_sessions: [{name: a, roles: [dev], modes: [observer]}, " +
      "{name: b, roles: [ops], modes: [peer]}]}}",
    ],
    allowed: false,
  },
];

for (const { name, user = "bob", roles, mode = "peer", allowed, reason } of cases) {
  Deno.test(`decideJoin(): ${name}`, () => {
    const joiner = { user, roles: roles.map((spec, i) => role(`r${i}`, spec)) };
    const decision = decideJoin(joiner, alice, mode);
    assert.equal(decision.allowed, allowed, decision.reason);
    assert.match(decision.reason, reason ?? /./);
  });
}

for (
  const [spec, wanted] of [
    ["{name: x, roles: [a], modes: [typist]}", /way to join a session/],
    ["{name: x, roles: [a], modes: []}", /modes/],
    ["{name: x, roles: [], modes: [peer]}", /roles/],
    ["{name: x, roles: [a], modes: [peer], kinds: [desktop]}", /use one of ssh, k8s/],
    ["{roles: [a], modes: [peer]}", /missing key .*name/],
    ["{name: x, roles: [a], modes: [peer], on_leave: terminate}", /unknown key .*on_leave/],
  ] as const
) {
  Deno.test(`a role with join_sessions: [${spec}] is refused`, () => {
    assert.throws(() => role("r", `{allow: {join_sessions: [${spec}]}}`), wanted);
  });
}
