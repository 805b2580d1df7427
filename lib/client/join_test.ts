import assert from "node:assert/strict";
import type { ActiveSession } from "../api/types.ts";
import { AccessDenied, BadParameter, NotFound } from "../base/errors.ts";
import { chooseMode, findSession, resizeOf, sizeNotice } from "./join.ts";
import { sessionRow } from "./session_rows.ts";

function session(over: Partial<ActiveSession> = {}): ActiveSession {
  return {
    sid: "3f1c0000-0000-4000-8000-000000000000",
    user: "alice",
    roles: ["dev"],
    login: "root",
    server_id: "00000000-0000-4000-8000-000000000001",
    server_hostname: "db-1",
    server_addr: "192.0.2.1:3022",
    started: "2026-01-02T03:04:05.000Z",
    cols: 80,
    rows: 24,
    interactive: true,
    parties: [{ user: "alice", mode: "peer", joined: "2026-01-02T03:04:05.000Z" }],
    recording: "node",
    join_modes: ["peer", "observer", "moderator"],
    ...over,
  };
}

const other = session({ sid: "3f1d0000-0000-4000-8000-000000000000" });

Deno.test("findSession() takes the beginning of an id where only one begins so", () => {
  const all = [session(), other];
  assert.equal(findSession(all, "3f1c", "tsh"), all[0]);
  assert.equal(findSession(all, "3F1D0000-0000", "tsh"), other);
  assert.throws(() => findSession(all, "3f1", "tsh"), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /2 sessions .*"3f1"[\s\S]*3f1c0000[\s\S]*3f1d0000/);
    return true;
  });
  for (const text of ["", "4", "3f1c0000-0000-4000-8000-0000000000001"]) {
    assert.throws(() => findSession(all, text, "tsh"), NotFound);
  }
  assert.throws(() => findSession([], "\x1b[31m", "tctl"), /"\\x1b\[31m".*tctl sessions ls/);
});

Deno.test("chooseMode() takes what was asked for, else what the roles allow", () => {
  assert.equal(chooseMode(session(), undefined), "peer");
  assert.equal(chooseMode(session(), "moderator"), "moderator");
  assert.equal(chooseMode(session({ join_modes: ["observer"] }), undefined), "observer");
  assert.throws(
    () => chooseMode(session({ join_modes: ["observer", "moderator"] }), "peer"),
    (e) => e instanceof AccessDenied && /as observer or moderator, not as peer/.test(e.message),
  );
  assert.throws(
    () => chooseMode(session({ join_modes: [] }), undefined),
    (e) => e instanceof AccessDenied && /log in as root@db-1/.test(e.message),
  );
  assert.throws(() => chooseMode(session(), "owner"), /--mode=owner is not one of peer/);
  assert.throws(
    () => chooseMode(session({ interactive: false, command: "make" }), "peer"),
    /no terminal \(make\)/,
  );
});

Deno.test("sizeNotice() speaks up when lines would be cut", () => {
  const of = (cols: number, rows: number) => ({ cols, rows });
  assert.equal(sizeNotice(of(80, 24), of(80, 24)), undefined);
  assert.equal(sizeNotice(of(80, 24), of(200, 60)), undefined);
  assert.match(
    sizeNotice(of(120, 40), of(120, 39))!,
    /has 120×40 characters, your terminal 120×39/,
  );
  assert.match(sizeNotice(of(120, 40), of(80, 60))!, /lines are cut/);
});

Deno.test("resizeOf() reads a node's word of a new size, and nothing else", () => {
  const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const event = { event: "resize", size: "120:40" };
  assert.deepEqual(resizeOf("x-teleport-event", bytes(event)), { cols: 120, rows: 40 });
  for (
    const [name, payload] of [
      ["keepalive@openssh.com", bytes(event)],
      ["x-teleport-event", bytes({ ...event, event: "session.join" })],
      ["x-teleport-event", bytes({ ...event, size: "120:40\x1b[2J" })],
      ["x-teleport-event", bytes({ ...event, size: { cols: 1 } })],
      ["x-teleport-event", bytes(null)],
      ["x-teleport-event", new Uint8Array([0xff, 0x00])],
      ["x-teleport-event", bytes({ ...event, more: "x".repeat(5000) })],
    ] as const
  ) assert.equal(resizeOf(name, payload), undefined);
});

Deno.test("sessionRow() says who, where, what and with whom", () => {
  const now = Date.parse("2026-01-02T03:05:10.400Z");
  assert.deepEqual(sessionRow(session(), now).slice(1), [
    ...["alice", "root", "db-1", "shell (80×24)", "1m5s", "alice"],
  ]);
  const parties: ActiveSession["parties"] = [
    { user: "bob", mode: "observer", joined: "" },
    { user: "alice", mode: "moderator", joined: "" },
  ];
  assert.equal(sessionRow(session({ parties }), now).at(-1), "bob (observer), alice");
  assert.equal(sessionRow(session({ parties: [] }), now).at(-1), "nobody");
  const command = session({ interactive: false, command: "x".repeat(100), started: "2026-02-01" });
  assert.deepEqual(sessionRow(command, now).slice(4, 6), [`${"x".repeat(40)}…`, "0s"]);
});
