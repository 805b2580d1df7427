import assert from "node:assert/strict";
import type { ActiveSession, Caller, WatchEvent } from "../api/types.ts";
import { AccessDenied, BadParameter, ConnectionProblem, NotFound } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import type { JoinRule } from "../resources/types.ts";
import { SESSIONS_TTL_MS } from "./sessions.ts";
import {
  ADMIN,
  NODE_ID,
  nodeCaller,
  OTHER_ID,
  PROXY,
  PROXY_ID,
  type TestAuth,
  testNode,
  testRole,
  userCaller,
  withAuth,
} from "./testing.ts";

configureLog({ level: "off", format: "text" });

const sid = (n: number) => `5e551011-0000-4000-8000-00000000000${n}`;

function session(n: number, over: Partial<ActiveSession> = {}): ActiveSession {
  return {
    sid: sid(n),
    user: "alice",
    roles: ["dev"],
    login: "root",
    server_id: NODE_ID,
    server_hostname: "claimed",
    server_addr: "claimed:1",
    started: `2025-01-06T12:00:0${n}.000Z`,
    cols: 80,
    rows: 25,
    interactive: true,
    parties: [{ user: "alice", mode: "peer", joined: `2025-01-06T12:00:0${n}.000Z` }],
    recording: "node",
    ...over,
  };
}

async function listed(auth: TestAuth, caller: Caller = ADMIN): Promise<ActiveSession[]> {
  return (await auth.call(caller, "sessions.list", {})).sessions;
}

/** The caller that a user with these roles is. */
async function caller(auth: TestAuth, name: string, roles: string[]): Promise<Caller> {
  const person = await auth.enrol(name, roles);
  return userCaller(auth, (await person.login()).cert);
}

async function nextOf(watch: AsyncIterator<WatchEvent[]>): Promise<WatchEvent[]> {
  return (await watch.next()).value as WatchEvent[];
}

Deno.test("what hosts report is listed, the oldest first, under their announced names", () =>
  withAuth(async (auth) => {
    await auth.call(nodeCaller(), "nodes.heartbeat", { node: testNode(NODE_ID) });
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(2), session(1)] });
    const other = session(3, { server_id: OTHER_ID });
    await auth.call(nodeCaller(OTHER_ID), "sessions.heartbeat", { sessions: [other] });
    const sessions = await listed(auth);
    assert.deepEqual(sessions.map(({ sid }) => sid), [sid(1), sid(2), sid(3)]);
    assert.deepEqual(sessions.map(({ server_hostname }) => server_hostname), [
      "db-1",
      "db-1",
      "claimed",
    ]);
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(2)] });
    assert.deepEqual((await listed(auth)).map(({ sid }) => sid), [sid(2), sid(3)]);
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [] });
    assert.deepEqual((await listed(auth)).map(({ sid }) => sid), [sid(3)]);
  }));

Deno.test("sessions of a host that has gone silent are forgotten after half a minute", () =>
  withAuth(async (auth) => {
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(1)] });
    auth.clock.advance(SESSIONS_TTL_MS - 1);
    assert.equal((await listed(auth)).length, 1);
    auth.clock.advance(1);
    assert.deepEqual(await listed(auth), []);
    await assert.rejects(auth.call(ADMIN, "sessions.kill", { sid: sid(1) }), NotFound);
  }));

Deno.test("a node reports its own sessions only (attack 60)", () =>
  withAuth(async (auth) => {
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(1)] });
    // Of another node.
    await assert.rejects(
      async () =>
        await auth.call(nodeCaller(OTHER_ID), "sessions.heartbeat", {
          sessions: [session(2, { server_id: OTHER_ID }), session(1)],
        }),
      AccessDenied,
    );
    // With another node's id, to draw those who join, or to hide it.
    await auth.call(nodeCaller(OTHER_ID), "sessions.heartbeat", {
      sessions: [session(1, { server_id: OTHER_ID }), session(3, { server_id: OTHER_ID })],
    });
    const sessions = await listed(auth);
    assert.deepEqual(sessions.map(({ sid, server_id }) => [sid, server_id]), [
      [sid(1), NODE_ID],
      [sid(3), OTHER_ID],
    ]);
  }));

Deno.test("a user sees own sessions, and those that may be joined, with how (attacks 53, 58)", () =>
  withAuth(async (auth) => {
    await auth.call(nodeCaller(), "nodes.heartbeat", { node: testNode(NODE_ID, {}, { env: "a" }) });
    const role = (name: string, rules: JoinRule[], label = "a", denied: JoinRule[] = []) =>
      auth.call(ADMIN, "resources.create", {
        resource: testRole(name, ({ spec }) => {
          spec.allow.logins = ["root"];
          spec.allow.node_labels = { env: [label] };
          spec.allow.join_sessions = rules;
          spec.deny.join_sessions = denied;
        }),
      });
    const watchDev: JoinRule = { name: "x", roles: ["d*"], kinds: ["ssh"], modes: ["observer"] };
    await role("dev", []);
    await role("watcher", [watchDev]);
    await role("elsewhere", [watchDev], "b");
    await role("never", [], "a", [{ ...watchDev, roles: ["*"], modes: ["*"] }]);
    const sessions = [
      session(1),
      session(2, { user: "bob", roles: ["admin"] }),
      session(3, { interactive: false, command: "make" }),
      session(4, { login: "postgres" }),
    ];
    const seenBy = async (name: string, roles: string[]) => {
      const user = await caller(auth, name, roles);
      await auth.call(nodeCaller(), "sessions.heartbeat", { sessions });
      return (await listed(auth, user)).map(({ sid: id, join_modes }) => [id, join_modes]);
    };
    const all = ["peer", "observer", "moderator"];
    assert.deepEqual(await seenBy("carol", ["dev"]), []);
    assert.deepEqual(await seenBy("alice", ["dev"]), [[sid(1), all], [sid(3), []], [sid(4), []]]);
    assert.deepEqual(await seenBy("dan", ["watcher"]), [[sid(1), ["observer"]]]);
    assert.deepEqual(await seenBy("erin", ["elsewhere"]), []);
    assert.deepEqual(await seenBy("fred", ["watcher", "never"]), []);
  }, { secondFactor: "off" }));

Deno.test("a session that a proxy records is its node's, whoever reports it first", () =>
  withAuth(async (auth) => {
    const atProxy = session(1, { server_id: PROXY_ID, interactive: false, command: "shell" });
    const reports = [
      () => auth.call(PROXY, "sessions.heartbeat", { sessions: [atProxy] }),
      () => auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(1)] }),
    ];
    for (const order of [reports, reports.toReversed()]) {
      for (const report of order) await report();
      const sessions = await listed(auth);
      assert.deepEqual(sessions.map(({ server_id }) => server_id), [NODE_ID]);
      await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [] });
      assert.deepEqual((await listed(auth)).map(({ server_id }) => server_id), [PROXY_ID]);
      await auth.call(PROXY, "sessions.heartbeat", { sessions: [] });
    }
    // Whichever of the two can be told, ends it.
    for (const report of reports) await report();
    const stop = new AbortController();
    const watch = auth.service.api.watch(["session"], { caller: PROXY, signal: stop.signal })
      [Symbol.asyncIterator]();
    await nextOf(watch);
    await auth.call(ADMIN, "sessions.kill", { sid: sid(1) });
    assert.equal((await nextOf(watch)).length, 1);
    stop.abort();
    await watch.next();
  }));

Deno.test("an order to end a session reaches its host alone, and says whose it is", () =>
  withAuth(async (auth) => {
    const stop = new AbortController();
    const watch = (hostId: string) =>
      auth.service.api.watch(["session"], { caller: nodeCaller(hostId), signal: stop.signal })
        [Symbol.asyncIterator]();
    await auth.call(nodeCaller(), "sessions.heartbeat", { sessions: [session(1)] });
    await assert.rejects(
      async () => await auth.call(ADMIN, "sessions.kill", { sid: sid(1) }),
      ConnectionProblem,
    );
    const [own, other] = [watch(NODE_ID), watch(OTHER_ID)];
    assert.deepEqual([await nextOf(own), await nextOf(other)], [[{ type: "init" }], [{
      type: "init",
    }]]);
    const [first, second] = [nextOf(own), other.next()];
    await auth.call(ADMIN, "sessions.kill", { sid: sid(1), reason: "at noon" });
    assert.deepEqual(await first, [
      { type: "delete", kind: "session", name: sid(1), by: "builtin-Admin", reason: "at noon" },
    ]);
    stop.abort();
    assert.equal((await second).done, true);
    assert.equal((await own.next()).done, true);
  }));

Deno.test("orders are for hosts, and watched by themselves", () =>
  withAuth((auth) => {
    const { signal } = new AbortController();
    const { api } = auth.service;
    assert.throws(() => api.watch(["session"], { caller: ADMIN, signal }), AccessDenied);
    assert.throws(
      () => api.watch(["session", "role"], { caller: nodeCaller(), signal }),
      BadParameter,
    );
    return Promise.resolve();
  }));
