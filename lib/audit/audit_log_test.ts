import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { BadParameter, ConnectionProblem } from "../base/errors.ts";
import { timeUuid } from "../base/ids.ts";
import { configureLog } from "../base/log.ts";
import { sessionEndUid } from "./session_end.ts";
import type { EventHistory, HistoryAnswer, HistoryQuestion } from "./history.ts";
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

Deno.test("a host's event is stored with what the auth server knows of the host (attack 60)", async () => {
  const { sink, log } = setUp();
  const said = exec({ time: "2025-05-31T23:59:00Z", ei: 3 });
  const claims = {
    namespace: "other",
    server_hostname: "bank",
    server_addr: "192.0.2.1:22",
    server_labels: { env: "prod" },
    reported_by: OTHER,
    reported_service: "proxy",
    reported_hostname: "bank",
  };
  const stamped = {
    ...said,
    namespace: "default",
    time: "2025-05-31T23:59:00.000Z",
    reported_by: HOST.hostId,
    reported_service: "node",
  };
  assert.deepEqual(await log.emitFromHost(HOST, [{ ...said, ...claims }]), { rejected: [] });
  assert.deepEqual(sink.events.at(-1), {
    ...stamped,
    reported_hostname: "bank",
    reported_addr: "192.0.2.1:22",
  } as never);
  const asked: unknown[] = [];
  log.describeHosts((host) => {
    asked.push(host);
    return { hostname: "db-1", addr: "198.51.100.7:3022", labels: { env: "dev" } };
  });
  const uid = crypto.randomUUID();
  await log.emitFromHost(HOST, [{ ...said, ...claims, uid }]);
  assert.deepEqual(sink.events.at(-1), {
    ...stamped,
    uid,
    server_hostname: "db-1",
    server_addr: "198.51.100.7:3022",
    server_labels: { env: "dev" },
  } as never);
  assert.deepEqual(asked, [HOST]);
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

const SID = "77777777-2222-4333-8444-555555555555";

function sessionEnd(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    event: "session.end",
    code: "T2004I",
    uid: crypto.randomUUID(),
    sid: SID,
    user: "joe",
    login: "root",
    server_id: HOST.hostId,
    enhanced_recording: false,
    interactive: true,
    participants: ["joe"],
    session_start: "2025-05-31T23:00:00Z",
    session_stop: "2025-05-31T23:59:00Z",
    ...over,
  };
}

/** Answers as an index of all that was stored would, from a log that keeps it. */
class TestHistory implements EventHistory {
  readonly asked: HistoryQuestion[] = [];
  away = false;
  sinceMs = Date.UTC(2025, 0, 1);

  constructor(private readonly sink: MemoryLog) {}

  wrote(): void {}

  lookUp(question: HistoryQuestion): Promise<HistoryAnswer> {
    this.asked.push(question);
    if (this.away) return Promise.reject(new ConnectionProblem("being made"));
    const all = this.sink.events;
    return Promise.resolve({
      sinceMs: this.sinceMs,
      events: all.filter(({ uid }) => question.uids.includes(uid))
        .map(({ uid, event, reported_by: host }) => ({ uid, event, ...(host ? { host } : {}) })),
      owners: question.sids.flatMap((sid) => {
        return (["node", "proxy"] as const).flatMap((service) => {
          const first = all.find((e) =>
            "sid" in e && e.sid === sid && e.reported_service === service
          );
          return first ? [{ sid, service, host: first.reported_by! }] : [];
        });
      }),
      streams: question.streams.flatMap(({ host, stream }) => {
        const last = Math.max(
          ...all.filter((e) => e.reported_by === host && e.reported_stream === stream)
            .map((e) => e.reported_seq!),
        );
        return Number.isFinite(last) ? [{ host, stream, last }] : [];
      }),
    });
  }
}

/** A log whose memory of what it stored is lost, as at a restart after very many other events. */
function withHistory() {
  const sink = new MemoryLog();
  sink.recent = () => [];
  const history = new TestHistory(sink);
  const clock = new FakeClock(Date.UTC(2025, 5, 1));
  const restart = () => new AuditLog({ sink, clock, history });
  return { sink, history, clock, restart };
}

/** Events of one spool with these numbers. */
function numbered(stream: string, ...numbers: number[]): Record<string, unknown>[] {
  return numbers.map((reported_seq) => exec({ reported_stream: stream, reported_seq }));
}

const gapsOf = ({ events }: MemoryLog) =>
  events.flatMap((e) => e.event === "audit.gap" ? [[e.first_missing, e.last_missing]] : []);

Deno.test("an event that comes again after a restart is found in the index", async () => {
  const { sink, restart } = withHistory();
  const stream = timeUuid(Date.UTC(2025, 4, 1));
  const old = [exec(), exec()];
  const batch = [...numbered(stream, 1, 2), ...old, sessionEnd()];
  await restart().emitFromHost(HOST, batch);
  await restart().emitFromHost(HOST, batch);
  const again = restart();
  await again.emitFromHost(HOST, [...batch, ...numbered(stream, 3)]);
  assert.equal(sink.events.length, batch.length + 1);
  assert.deepEqual(gapsOf(sink), []);
  await again.close();
});

Deno.test("an event with a new number need not be looked up", async () => {
  const { history, restart } = withHistory();
  const log = restart();
  const stream = timeUuid(Date.UTC(2025, 4, 1));
  await log.emitFromHost(HOST, numbered(stream, 1));
  history.asked.length = 0;
  await log.emitFromHost(HOST, numbered(stream, 2, 3));
  assert.deepEqual(history.asked, []);
  await log.close();
});

Deno.test("while the index is being made a host is told to come again", async () => {
  const { sink, history, restart } = withHistory();
  const log = restart();
  history.away = true;
  await assert.rejects(log.emitFromHost(HOST, [exec()]), ConnectionProblem);
  assert.deepEqual(sink.events, []);
  history.away = false;
  await log.emitFromHost(HOST, [exec()]);
  assert.equal(sink.events.length, 1);
  await log.close();
});

Deno.test("session.end is stored once, whoever says it and whatever uid it has", async () => {
  const { sink, restart } = withHistory();
  const proxy = { kind: "proxy", hostId: OTHER } as const;
  const log = restart();
  await log.emitFromHost(HOST, [sessionEnd(), sessionEnd()]);
  await log.emitFromHost(proxy, [sessionEnd({ server_id: OTHER })]);
  log.emit(sessionEnd() as never);
  await log.close();
  const restarted = restart();
  restarted.emit(sessionEnd() as never);
  await restarted.emitFromHost(proxy, [sessionEnd({ server_id: OTHER })]);
  await restarted.close();
  assert.deepEqual(sink.events.map((e) => e.uid), [sessionEndUid(SID)]);
  const another = restart();
  another.emit(sessionEnd({ sid: OTHER }) as never);
  await another.close();
  assert.deepEqual(sink.events.map((e) => e.uid), [sessionEndUid(SID), sessionEndUid(OTHER)]);
});

Deno.test("a node cannot end, or speak of, another node's session (attack 60)", async () => {
  const { sink, restart } = withHistory();
  const evil = { kind: "node", hostId: OTHER } as const;
  const start = exec({ event: "session.start", code: "T2000I", sid: SID });
  await restart().emitFromHost(HOST, [start]);
  const log = restart();
  const { rejected } = await log.emitFromHost(evil, [
    sessionEnd({ server_id: OTHER }),
    exec({ sid: SID, server_id: OTHER }),
    exec({ server_id: OTHER }),
  ]);
  assert.deepEqual(rejected.map((r) => r.index), [0, 1]);
  await log.emitFromHost(HOST, [sessionEnd()]);
  assert.equal(sink.events.filter((e) => e.event === "session.end").length, 1);
  await log.close();
});

Deno.test("a node cannot end a session that a proxy reports, but adds to it (attack 60)", async () => {
  const { sink, restart } = withHistory();
  const proxy = { kind: "proxy", hostId: OTHER } as const;
  const start = exec({ event: "session.start", code: "T2000I", sid: SID, server_id: OTHER });
  await restart().emitFromHost(proxy, [start]);
  for (const log of [restart(), restart()]) {
    const { rejected } = await log.emitFromHost(HOST, [sessionEnd()]);
    assert.deepEqual(rejected.map((r) => r.reason), ["the session is another host's"]);
    assert.deepEqual(await log.emitFromHost(HOST, [exec({ sid: SID })]), { rejected: [] });
    await log.close();
  }
  const log = restart();
  assert.deepEqual(await log.emitFromHost(proxy, [sessionEnd({ server_id: OTHER })]), {
    rejected: [],
  });
  assert.equal(sink.events.filter((e) => e.event === "session.end").length, 1);
  await log.close();
});

Deno.test("numbers that are missing are reported once: between, before and after a restart", async () => {
  const { sink, restart } = withHistory();
  const stream = timeUuid(Date.UTC(2025, 4, 1));
  const first = restart();
  await first.emitFromHost(HOST, numbered(stream, 2, 3, 7, 8));
  assert.deepEqual(gapsOf(sink), [[1, 1], [4, 6]]);
  await first.emitFromHost(HOST, numbered(stream, 7, 8, 9));
  await first.close();
  const restarted = restart();
  await restarted.emitFromHost(HOST, numbered(stream, 9, 10));
  assert.equal(gapsOf(sink).length, 2);
  await restarted.emitFromHost(HOST, numbered(stream, 13));
  assert.deepEqual(gapsOf(sink).slice(2), [[11, 12]]);
  const gap = sink.events.find((e) => e.event === "audit.gap")!;
  assert.deepEqual({ ...gap, uid: "", time: "" }, {
    event: "audit.gap",
    code: "TA001W",
    server_id: HOST.hostId,
    service: "node",
    stream,
    first_missing: 1,
    last_missing: 1,
    uid: "",
    time: "",
    ei: 0,
  });
  await restarted.close();
});

Deno.test("no gap is reported without a loss: repeats, refusals, other hosts, a new spool, an old log", async () => {
  const { sink, history, restart } = withHistory();
  const stream = timeUuid(Date.UTC(2025, 4, 1));
  const log = restart();
  await log.emitFromHost(HOST, numbered(stream, 1, 2, 3));
  await log.emitFromHost(HOST, numbered(stream, 2, 3, 4));
  // The fifth is refused, but it came.
  await log.emitFromHost(HOST, [
    exec({ code: "?", reported_stream: stream, reported_seq: 5 }),
    ...numbered(stream, 6),
  ]);
  // Of the node's proxy, and of another host, with the same stream.
  await log.emitFromHost({ kind: "proxy", hostId: HOST.hostId }, numbered(timeUuid(1e12), 1));
  await log.emitFromHost({ kind: "node", hostId: OTHER }, [
    exec({ server_id: OTHER, reported_stream: stream, reported_seq: 1 }),
  ]);
  // The data directory was wiped.
  await log.emitFromHost(HOST, numbered(timeUuid(Date.UTC(2025, 4, 2)), 1, 2));
  // A host without numbers, and one whose beginning was before the log's.
  await log.emitFromHost(HOST, [exec()]);
  history.sinceMs = Date.UTC(2025, 4, 10);
  await log.emitFromHost(HOST, numbered(timeUuid(Date.UTC(2025, 4, 3)), 900, 901));
  assert.deepEqual(gapsOf(sink), []);
  await log.close();
});

Deno.test("the end of a session that auth reports waits until it is known whether it was said", async () => {
  const { sink, history, restart } = withHistory();
  await restart().emitFromHost(HOST, [sessionEnd()]);
  history.away = true;
  const log = restart();
  log.emit(sessionEnd() as never);
  log.emit({ event: "session.upload", code: "T2005I", sid: SID, url: "file:///x" });
  assert.deepEqual(sink.events.map(({ event, ei }) => [event, ei]), [
    ["session.end", 0],
    ["session.upload", 2 ** 31 - 1],
  ]);
  // What nobody can tell at the end of the daemon is said rather than lost.
  log.emit(sessionEnd({ sid: OTHER }) as never);
  await log.close();
  assert.equal(sink.events.filter((e) => e.event === "session.end").length, 3);
});

Deno.test("a proxy's word for where a session leads is replaced where a node is meant", async () => {
  const { sink, log } = setUp();
  log.describeHosts(({ kind, hostId }) =>
    kind === "node" && hostId === OTHER
      ? { hostname: "db-1", addr: "198.51.100.7:3022", labels: {} }
      : undefined
  );
  const claims = { target_hostname: "bank", target_addr: "192.0.2.1:22" };
  await log.emitFromHost({ kind: "proxy", hostId: HOST.hostId }, [
    exec({ ...claims, target_id: OTHER }),
    exec(claims),
  ]);
  const targets = sink.events.map((e) => {
    const { target_hostname, target_addr } = e as {
      target_hostname?: string;
      target_addr?: string;
    };
    return [target_hostname, target_addr];
  });
  assert.deepEqual(targets, [["db-1", "198.51.100.7:3022"], ["bank", "192.0.2.1:22"]]);
  await log.close();
});

Deno.test("a batch of very many spools is refused before it costs anything", async () => {
  const { sink, history, restart } = withHistory();
  const log = restart();
  const batch = Array.from({ length: 500 }, (_, i) => numbered(timeUuid(i), 1)).flat();
  await assert.rejects(log.emitFromHost(HOST, batch), BadParameter);
  assert.deepEqual([sink.events, history.asked], [[], []]);
  await log.close();
});
