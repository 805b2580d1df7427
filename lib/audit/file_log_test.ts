import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import type { StoredEvent } from "./events.ts";
import { FileLog } from "./file_log.ts";

const SERVER = "11111111-2222-4333-8444-555555555555";

function event(n: number): StoredEvent {
  return {
    event: "user.password_change",
    code: "T1005I",
    user: `u${n}`,
    uid: crypto.randomUUID(),
    time: "2025-01-01T00:00:00.000Z",
    ei: 0,
  };
}

async function inDirectory(body: (directory: string, clock: FakeClock) => Promise<void> | void) {
  const directory = await Deno.makeTempDir();
  try {
    await body(directory, new FakeClock(Date.UTC(2025, 2, 9, 23, 59, 59)));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const day1 = "2025-03-09.00:00:00.log";
const day2 = "2025-03-10.00:00:00.log";

function users(path: string): string[] {
  return Deno.readTextFileSync(path).trimEnd().split("\n").map((l) => JSON.parse(l).user);
}

Deno.test("FileLog writes one JSON line an event into a file a day, readable by its owner only", () =>
  inDirectory(async (directory, clock) => {
    const log = new FileLog({ directory, serverId: SERVER, clock });
    log.write([event(1), event(2)]);
    clock.advance(1000);
    log.write([event(3)]);
    await log.sync();
    log.close();
    assert.deepEqual(users(`${directory}/${SERVER}/${day1}`), ["u1", "u2"]);
    assert.deepEqual(users(`${directory}/${SERVER}/${day2}`), ["u3"]);
    assert.deepEqual(users(`${directory}/events.log`), ["u3"]);
    assert.equal(Deno.readLinkSync(`${directory}/events.log`), `${SERVER}/${day2}`);
    assert.equal(Deno.statSync(`${directory}/${SERVER}/${day1}`).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(`${directory}/${SERVER}`).mode! & 0o777, 0o700);
  }));

Deno.test("FileLog goes on in today's file when the clock steps back over midnight (attack 46)", () =>
  inDirectory((directory, clock) => {
    clock.advance(1000);
    const log = new FileLog({ directory, serverId: SERVER, clock });
    log.write([event(1)]);
    clock.advance(-5000);
    log.write([event(2)]);
    log.close();
    assert.deepEqual(users(`${directory}/${SERVER}/${day2}`), ["u1", "u2"]);
  }));

Deno.test("FileLog begins a new line after one that a crash tore", () =>
  inDirectory((directory, clock) => {
    Deno.mkdirSync(`${directory}/${SERVER}`);
    Deno.writeTextFileSync(
      `${directory}/${SERVER}/${day1}`,
      `${JSON.stringify(event(1))}\n{"event":"user.cre`,
    );
    const log = new FileLog({ directory, serverId: SERVER, clock });
    log.write([event(2)]);
    assert.deepEqual(log.recent(10_000).map((e) => "user" in e && e.user), ["u1", "u2"]);
    log.close();
    const lines = Deno.readTextFileSync(`${directory}/${SERVER}/${day1}`).split("\n");
    assert.equal(lines[1], '{"event":"user.cre');
    assert.equal(JSON.parse(lines[2]!).user, "u2");
  }));

Deno.test("FileLog.recent() reads whole events from the end, over several days, oldest first", () =>
  inDirectory((directory, clock) => {
    const log = new FileLog({ directory, serverId: SERVER, clock });
    log.write(Array.from({ length: 50 }, (_, i) => event(i)));
    clock.advance(1000);
    log.write(Array.from({ length: 50 }, (_, i) => event(50 + i)));
    const all = log.recent(1_000_000).map((e) => "user" in e && e.user);
    assert.deepEqual(all, Array.from({ length: 100 }, (_, i) => `u${i}`));
    const some = log.recent(2000).map((e) => "user" in e && e.user);
    assert.ok(some.length > 5 && some.length < 20);
    assert.deepEqual(some, all.slice(-some.length));
    log.close();
  }));
