import assert from "node:assert/strict";
import { AccessDenied, BadParameter, LimitExceeded } from "../../base/errors.ts";
import { configureLog } from "../../base/log.ts";
import { RunningSessions } from "../../host/running_sessions.ts";
import type { Role } from "../../resources/types.ts";
import { type JoinContext, JoinRequest } from "./join_request.ts";
import { MAX_PARTIES } from "./live_session.ts";
import { live, SID } from "./test_live.ts";
import { role } from "./test_node.ts";

configureLog({ level: "off", format: "text" });

const OTHER = "5e551011-0000-4000-8000-000000000002";

interface Who {
  user?: string;
  roles?: string[];
  login?: string;
}

function helper(change: (role: Role) => void = () => {}): Role {
  return role("helper", (made) => {
    made.spec.allow.join_sessions = [
      { name: "x", roles: ["dev"], kinds: ["ssh"], modes: ["peer", "observer"] },
    ];
    change(made);
  });
}

/** What find() gives to who asks for a session with these variables. */
function find(variables: Record<string, string>, who: Who = {}, sessions = new RunningSessions()) {
  const request = new JoinRequest();
  for (const [name, value] of Object.entries(variables)) assert.ok(request.take(name, value));
  const roles = [helper(), role("dev", (made) => delete made.spec.allow.join_sessions)];
  return request.find({
    connection: {
      username: who.login ?? "root",
      identity: { identity: { user: who.user ?? "bob", roles: who.roles ?? ["helper"] } },
    },
    sessions,
    cache: {
      get: (_: "role", name: string) => roles.find(({ metadata }) => metadata.name === name),
    },
  } as unknown as JoinContext);
}

function denial(
  variables: Record<string, string>,
  who: Who,
  sessions: RunningSessions,
): string {
  try {
    find(variables, who, sessions);
  } catch (error) {
    assert.ok(error instanceof AccessDenied);
    return error.message;
  }
  assert.fail("it was found");
}

Deno.test("JoinRequest takes the variables of joining and no others", () => {
  const request = new JoinRequest();
  assert.equal(request.take("LANG", "C"), false);
  assert.equal(request.take("TELEPORT_SESSION_JOIN_MODE", "observer"), true);
  assert.equal(request.isThere, false);
  assert.equal(request.take("TELEPORT_SESSION", SID), true);
  assert.deepEqual([request.isThere, request.mode], [true, "observer"]);
  request.take("TELEPORT_SESSION_JOIN_MODE", "\x1b[2J");
  assert.throws(
    () => request.mode,
    (e) => e instanceof BadParameter && /\\x1b\[2J/.test(e.message),
  );
});

Deno.test("JoinRequest.find() lets in whom the roles let, and answers all others alike", async () => {
  const it = live();
  const sessions = new RunningSessions();
  sessions.add(it.session);
  const asked = { TELEPORT_SESSION: SID };
  assert.equal(find(asked, {}, sessions), it.session);
  assert.equal(find(asked, { user: "alice", roles: [] }, sessions), it.session);
  const wanted = `the session ${SID} is over, or your roles do not let you join it as peer`;
  for (
    const who of [
      { roles: [] },
      { roles: ["dev"] },
      // A role that is not known (any more) might deny.
      { roles: ["helper", "gone"] },
      { roles: ["dev"], login: "nobody" },
    ]
  ) assert.equal(denial(asked, who, sessions), wanted);
  assert.equal(denial({ TELEPORT_SESSION: OTHER }, {}, sessions), wanted.replace(SID, OTHER));
  for (const odd of ["", "x", `${SID}0`, SID.toUpperCase(), "constructor"]) {
    assert.equal(denial({ TELEPORT_SESSION: odd }, {}, sessions), wanted.replace(SID, odd));
  }
  const moderator = { ...asked, TELEPORT_SESSION_JOIN_MODE: "moderator" };
  assert.match(denial(moderator, {}, sessions), /join it as moderator$/);
  await it.end();
});

Deno.test("JoinRequest.find() says more to those who may join", async () => {
  const it = live();
  const sessions = new RunningSessions();
  sessions.add(it.session);
  sessions.add({
    id: OTHER,
    owner: it.session.owner,
    login: "root",
    describe: () => it.session.describe(),
    end: () => {},
  });
  assert.match(
    denial({ TELEPORT_SESSION: SID }, { login: "nobody" }, sessions),
    /^can't switch users from root to nobody for session/,
  );
  assert.match(denial({ TELEPORT_SESSION: OTHER }, {}, sessions), /has no terminal/);
  assert.match(denial({ TELEPORT_SESSION: OTHER }, { roles: ["dev"] }, sessions), /is over, or/);
  await it.end();
});

Deno.test("JoinRequest.find() refuses more people than a session has room for", async () => {
  const it = live();
  const sessions = new RunningSessions();
  sessions.add(it.session);
  for (let i = 1; i < MAX_PARTIES; i++) it.join(`u${i}`);
  const asked = { TELEPORT_SESSION: SID };
  assert.throws(() => find(asked, {}, sessions), LimitExceeded);
  it.session.leave(it.owner.party);
  assert.equal(find(asked, {}, sessions), it.session);
  await it.end();
});
