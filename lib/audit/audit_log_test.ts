import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { configureLog } from "../base/log.ts";
import { AuditLog, CLOCK_TOLERANCE_MS } from "./audit_log.ts";
import type { AuditEvent, StoredEvent } from "./events.ts";
import { MemoryLog } from "./memory_log.ts";

configureLog({ level: "off", format: "text" });

const HOST = { kind: "node", hostId: "11111111-2222-4333-8444-555555555555" } as const;
const OTHER = "99999999-2222-4333-8444-555555555555";

function setUp() {
  const sink = new MemoryLog();
  const clock = new FakeClock(Date.UTC(2025, 5, 1));
  const log = new AuditLog({ sink, clock });
  return { sink, clock, log };
}

function exec(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    event: "exec",
    code: "T3002I",
    uid: crypto.randomUUID(),
    user: "joe",
    login: "root",
    server_id: HOST.hostId,
    command: "uptime",
    exitCode: "0",
    ...over,
  };
}

Deno.test("AuditLog stamps its own events with uid, time and index, whatever they say", async () => {
  const { sink, log } = setUp();
  log.emit({
    event: "user.password_change",
    code: "T1005I",
    user: "joe",
    uid: "forged",
    time: "1999-01-01T00:00:00Z",
    reported_by: "forged",
  });
  await log.close();
  const [event] = sink.events as [StoredEvent];
  assert.match(event.uid, /^[0-9a-f-]{36}$/);
  assert.equal(event.time, "2025-06-01T00:00:00.000Z");
  assert.equal(event.ei, 0);
  assert.equal(event.reported_by, undefined);
});

Deno.test("AuditLog.emit() counts what the disk does not take and does not throw", async () => {
  const { sink, log } = setUp();
  sink.write = () => {
    throw new Error("no space left on device");
  };
  log.emit({ event: "user.password_change", code: "T1005I", user: "joe" });
  assert.equal(log.failed, 1);
  await log.close();
});

Deno.test("a host's event is stored with the sender's id from its certificate", async () => {
  const { sink, log } = setUp();
  const event = exec({ time: "2025-05-31T23:59:00Z", ei: 3, reported_by: OTHER });
  assert.deepEqual(await log.emitFromHost(HOST, [event]), { rejected: [] });
  assert.deepEqual(sink.events, [{
    ...event,
    time: "2025-05-31T23:59:00.000Z",
    reported_by: HOST.hostId,
  }] as never);
  await log.close();
});

Deno.test("a node cannot forge events of other hosts, other services or of no known kind (attack 60)", async () => {
  const { sink, log } = setUp();
  const forged: unknown[] = [
    exec({ server_id: OTHER }),
    exec({ server_id: undefined }),
    { event: "user.login", code: "T1000I", uid: crypto.randomUUID(), user: "joe", success: true },
    exec({ event: "user.delete" }),
    exec({ event: "made.up" }),
    exec({ code: "T1000I" }),
    exec({ uid: "../../x" }),
    exec({ uid: undefined }),
    exec({ user: 5 }),
    exec({ exitCode: 0 }),
    null,
    "exec",
    [],
  ];
  const { rejected } = await log.emitFromHost(HOST, forged);
  assert.deepEqual(rejected.map((r) => r.index), forged.map((_, i) => i));
  assert.ok(rejected.every((r) => r.reason.length > 0));
  assert.deepEqual(sink.events, []);
  await log.close();
});

Deno.test("a proxy reports what it saw itself, not in a node's name and not what auth does", async () => {
  const { log } = setUp();
  const proxy = { kind: "proxy", hostId: HOST.hostId } as const;
  const { rejected } = await log.emitFromHost(proxy, [
    exec({ server_id: OTHER }),
    exec({ event: "user.login", code: "T1000I", success: true, method: "local" }),
    exec({ event: "session.upload", code: "T2005I", sid: OTHER, url: "file:///x" }),
    exec({ event: "auth", code: "T3007W", success: false, error: "x" }),
    exec(),
  ]);
  assert.deepEqual(rejected.map((r) => r.index), [0, 1, 2]);
  await log.close();
});

Deno.test("one bad event does not keep the others of its batch out", async () => {
  const { sink, log } = setUp();
  const { rejected } = await log.emitFromHost(HOST, [exec(), exec({ code: "?" }), exec()]);
  assert.deepEqual(rejected.map((r) => r.index), [1]);
  assert.equal(sink.events.length, 2);
  await log.close();
});

Deno.test("a time that is far from the auth server's is not believed but kept aside (attack 60)", async () => {
  for (const offset of [CLOCK_TOLERANCE_MS + 1, -CLOCK_TOLERANCE_MS - 1]) {
    const { sink, clock, log } = setUp();
    const time = new Date(clock.now() + offset).toISOString();
    await log.emitFromHost(HOST, [exec({ time })]);
    const [event] = sink.events as [StoredEvent];
    assert.equal(event.time, "2025-06-01T00:00:00.000Z");
    assert.equal(event.reported_time, time);
    await log.close();
  }
});

Deno.test("an event that is delivered twice is stored once, also after a restart", async () => {
  const { sink, clock, log } = setUp();
  const events = [exec(), exec()];
  await log.emitFromHost(HOST, [...events, events[0]]);
  await log.emitFromHost(HOST, events);
  assert.equal(sink.events.length, 2);
  await log.close();

  const restarted = new AuditLog({ sink, clock });
  await restarted.emitFromHost(HOST, events);
  assert.equal(sink.events.length, 2);
  // Another host's event with the same uid is another event.
  await restarted.emitFromHost({ kind: "node", hostId: OTHER }, [
    { ...events[0], server_id: OTHER },
  ]);
  assert.equal(sink.events.length, 3);
  await restarted.close();
});

Deno.test("when the disk is full a batch fails, and its second delivery stores each event once", async () => {
  const { sink, log } = setUp();
  const events = [exec(), exec(), exec()];
  const write = sink.write.bind(sink);
  let room = 1;
  sink.write = (e) => {
    if (room-- <= 0) throw new Error("no space left on device");
    write(e);
  };
  await assert.rejects(log.emitFromHost(HOST, events));
  room = 10;
  assert.deepEqual(await log.emitFromHost(HOST, events), { rejected: [] });
  assert.deepEqual(sink.events.map((e) => e.uid), events.map((e) => e.uid));
  await log.close();
});

Deno.test("a command of any length is logged, cut", async () => {
  const { sink, log } = setUp();
  const { rejected } = await log.emitFromHost(HOST, [exec({ command: "x".repeat(1_000_000) })]);
  assert.deepEqual(rejected, []);
  assert.equal((sink.events[0] as AuditEvent & { command: string }).command.length, 16 * 1024 + 1);
  await log.close();
});

Deno.test("unknown fields of a newer host are dropped", async () => {
  const { sink, log } = setUp();
  await log.emitFromHost(HOST, [exec({ novelty: 1 })]);
  assert.equal("novelty" in sink.events[0]!, false);
  await log.close();
});
