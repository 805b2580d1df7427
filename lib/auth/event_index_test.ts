import assert from "node:assert/strict";
import type { StoredEvent } from "../audit/events.ts";
import { FileLog } from "../audit/file_log.ts";
import { FakeClock } from "../base/clock.ts";
import { BadParameter } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { EventIndex } from "./event_index.ts";
import { EventIndexFile } from "./event_index_file.ts";
import type { EventQuery } from "./event_search.ts";

configureLog({ level: "off", format: "text" });

const AUTH = "11111111-2222-4333-8444-555555555555";
const NODE = "22222222-2222-4333-8444-555555555555";
const OTHER = "33333333-2222-4333-8444-555555555555";
const STREAM = "01939b1e-0000-7000-8000-000000000000";
const START = Date.UTC(2025, 2, 9, 12);
const MINUTE = 60_000;

interface Setting {
  directory: string;
  clock: FakeClock;
  log: FileLog;
  path: string;
}

async function inDirectory(body: (setting: Setting) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  const clock = new FakeClock(START);
  const log = new FileLog({ directory, serverId: AUTH, clock });
  try {
    await body({ directory, clock, log, path: `${directory}/index.db` });
  } finally {
    log.close();
    await Deno.remove(directory, { recursive: true });
  }
}

/** The n-th event of a test: a minute after the one before. */
function exec(n: number, over: Record<string, unknown> = {}): StoredEvent {
  return {
    event: "exec",
    code: "T3002I",
    user: n % 2 ? "joe" : "ann",
    login: "root",
    server_id: NODE,
    server_hostname: "db-1",
    command: `command ${n}`,
    uid: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
    time: new Date(START + n * MINUTE).toISOString(),
    ei: 0,
    reported_by: NODE,
    reported_service: "node",
    reported_stream: STREAM,
    reported_seq: n + 1,
    ...over,
  } as StoredEvent;
}

const several = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => exec(from + i));

async function indexed({ directory, path }: Setting): Promise<EventIndexFile> {
  const index = await EventIndexFile.open({ path, logs: directory });
  while (await index.advance());
  return index;
}

async function commands(index: EventIndexFile, query: Partial<EventQuery>): Promise<string[]> {
  const { lines } = await index.search({ order: "asc", limit: 100, ...query });
  return lines.map((line) => JSON.parse(line).command ?? JSON.parse(line).event);
}

const nobody = { uids: [], sids: [], streams: [] };

Deno.test("the index finds events by time, type, user, session, host and text", () =>
  inDirectory(async (setting) => {
    const sid = crypto.randomUUID();
    setting.log.write([
      exec(0),
      exec(1, { sid }),
      exec(2, { server_id: OTHER, server_hostname: "web-1" }),
      exec(3, { command: 'grep "Änderung" /etc' }),
      exec(4, { event: "user.login", command: undefined, server_id: undefined }),
    ]);
    const index = await indexed(setting);
    const at = (n: number) => START + n * MINUTE;
    assert.deepEqual(await commands(index, { fromMs: at(1), toMs: at(3) }), [
      "command 1",
      "command 2",
    ]);
    assert.deepEqual(await commands(index, { types: ["user.login", "resize"] }), ["user.login"]);
    assert.deepEqual(await commands(index, { user: "joe" }), ["command 1", 'grep "Änderung" /etc']);
    assert.deepEqual(await commands(index, { sid }), ["command 1"]);
    assert.deepEqual(await commands(index, { server: OTHER }), ["command 2"]);
    assert.deepEqual(await commands(index, { server: "web-1" }), ["command 2"]);
    assert.deepEqual(await commands(index, { text: "COMMAND 0" }), ["command 0"]);
    assert.deepEqual(await commands(index, { text: "änderung" }), ['grep "Änderung" /etc']);
    assert.deepEqual(await commands(index, { user: "joe'; DROP TABLE events; --" }), []);
    await index.close();
  }));

Deno.test("pages of a search join without a hole or a repetition, in both orders", () =>
  inDirectory(async (setting) => {
    // Many at one moment: the time alone does not order them.
    setting.log.write(several(50).map((e, i) => ({ ...e, time: exec(Math.floor(i / 10)).time })));
    const index = await indexed(setting);
    for (const order of ["asc", "desc"] as const) {
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await index.search({ order, limit: 7, cursor });
        assert.ok(page.lines.length <= 7);
        seen.push(...page.lines.map((line) => JSON.parse(line).command));
        cursor = page.next;
      } while (cursor !== undefined);
      const all = several(50).map((e) => (e as unknown as { command: string }).command);
      assert.deepEqual(seen, order === "asc" ? all : all.reverse());
    }
    for (const cursor of ["x", "1", "1.2.3", "end;", "-1"]) {
      await assert.rejects(index.search({ order: "asc", limit: 1, cursor }), BadParameter);
    }
    await index.close();
  }));

Deno.test("order arrival follows the log: late events of an earlier time come last", () =>
  inDirectory(async (setting) => {
    setting.log.write(several(3, 10));
    const index = await indexed(setting);
    const start = await index.search({ order: "arrival", limit: 10, cursor: "end" });
    assert.deepEqual(start.lines, []);
    setting.log.write([exec(20), exec(1)]);
    while (await index.advance());
    const page = await index.search({ order: "arrival", limit: 10, cursor: start.next });
    assert.deepEqual(page.lines.map((l) => JSON.parse(l).command), ["command 20", "command 1"]);
    const end = await index.search({ order: "arrival", limit: 10, cursor: page.next });
    assert.deepEqual(end, { lines: [], next: page.next! });
    await index.close();
  }));

Deno.test("a text is looked for in a bounded number of events at once, and found by going on", () =>
  inDirectory(async (setting) => {
    setting.log.write(several(25_000, 1));
    setting.log.write([exec(0, { command: "the needle" })]);
    const index = await indexed(setting);
    const found: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const page = await index.search({ order: "desc", limit: 5, text: "NEEDLE", cursor });
      found.push(...page.lines);
      cursor = page.next;
      pages++;
    } while (cursor !== undefined);
    assert.equal(found.length, 1);
    assert.equal(pages, 2);
    await index.close();
  }));

Deno.test("opening goes on where the index was, over days, and leaves out what is no event", () =>
  inDirectory(async (setting) => {
    const { log, clock, directory } = setting;
    log.write(several(3));
    await (await indexed(setting)).close();
    const own = `${directory}/${AUTH}`;
    const torn = [...Deno.readDirSync(own)][0]!.name;
    Deno.writeTextFileSync(`${own}/${torn}`, '{"event":"exe\n[]\nnull\n{"event":"x","uid":"y"}\n', {
      append: true,
    });
    clock.advance(86_400_000);
    log.write(several(2, 3));
    Deno.writeTextFileSync(`${own}/2025-03-11.00:00:00.log`, `${JSON.stringify(exec(5))}\n{"half`);
    const index = await indexed(setting);
    const all = several(6).map((e) => (e as unknown as { command: string }).command);
    assert.deepEqual(await commands(index, {}), all);
    // The rest of the half line arrives.
    Deno.writeTextFileSync(
      `${own}/2025-03-11.00:00:00.log`,
      `":1}\n${JSON.stringify(exec(6))}\n`,
      { append: true },
    );
    while (await index.advance());
    assert.equal((await commands(index, {})).length, 7);
    await index.close();
  }));

Deno.test("a file that was removed, or is another one, leads nowhere after the next opening", () =>
  inDirectory(async (setting) => {
    const { log, clock, directory } = setting;
    log.write(several(3));
    clock.advance(86_400_000);
    log.write(several(3, 3));
    await (await indexed(setting)).close();
    Deno.removeSync(`${directory}/${AUTH}/2025-03-09.00:00:00.log`);
    Deno.writeTextFileSync(
      `${directory}/${AUTH}/2025-03-10.00:00:00.log`,
      `${JSON.stringify(exec(9))}\n`,
    );
    const index = await indexed(setting);
    assert.deepEqual(await commands(index, {}), ["command 9"]);
    await index.close();
  }));

Deno.test("the index knows uids, who spoke of a session first, and how far a spool went", () =>
  inDirectory(async (setting) => {
    const sid = crypto.randomUUID();
    setting.log.write([
      exec(0, { sid, server_id: AUTH, reported_by: AUTH, reported_service: "proxy" }),
      exec(1, { sid }),
      exec(3, { sid, server_id: OTHER, reported_by: OTHER }),
      exec(2, {
        event: "audit.gap",
        server_id: OTHER,
        stream: STREAM,
        first_missing: 3,
        last_missing: 40,
        reported_by: undefined,
      }),
    ]);
    const index = await indexed(setting);
    const answer = await index.lookUp({
      uids: [exec(1).uid, exec(7).uid],
      sids: [sid, crypto.randomUUID()],
      streams: [NODE, OTHER, AUTH].map((host) => ({ host, stream: STREAM })),
    });
    assert.deepEqual(answer.events, [{ uid: exec(1).uid, event: "exec", host: NODE }]);
    assert.deepEqual(answer.owners, [
      { sid, service: "node", host: NODE },
      { sid, service: "proxy", host: AUTH },
    ]);
    assert.deepEqual(answer.streams, [
      { host: NODE, stream: STREAM, last: 2 },
      { host: OTHER, stream: STREAM, last: 40 },
      { host: AUTH, stream: STREAM, last: 1 },
    ]);
    assert.ok(Math.abs(Date.now() - answer.sinceMs) < 60_000);
    assert.deepEqual((await index.lookUp(nobody)).events, []);
    await index.close();
  }));

Deno.test("EventIndex answers once it has caught up, and follows the log", () =>
  inDirectory(async ({ directory, path, log }) => {
    log.write(several(2_000));
    const index = new EventIndex({ path, logs: directory });
    const { lines } = await index.search({ order: "asc", limit: 5_000 });
    assert.equal(lines.length, 2_000);
    log.write(several(1, 2_000));
    index.wrote();
    const follow = async (): Promise<string[]> => {
      const page = await index.search({ order: "desc", limit: 1 });
      const last = page.lines.map((line) => JSON.parse(line).command);
      return last[0] === "command 2000" ? last : await follow();
    };
    assert.deepEqual(await follow(), ["command 2000"]);
    await assert.rejects(index.search({ order: "asc", limit: 1, cursor: "?" }), BadParameter);
    index.close();
    await assert.rejects(index.search({ order: "asc", limit: 1 }), /is closed/);
  }));

for (
  const [what, damaged] of [
    ["is no database", () => new TextEncoder().encode("garbage".repeat(1000))],
    ["has lost its middle", (bytes: Uint8Array) => bytes.fill(0xff, 4096, bytes.length - 4096)],
    ["was cut off", (bytes: Uint8Array) => bytes.subarray(0, 5000)],
    ["is empty", () => new Uint8Array()],
    ["is of another version", (bytes: Uint8Array) => bytes.fill(99, 63, 64)],
  ] as const
) {
  Deno.test(`an index that ${what} is made anew`, () =>
    inDirectory(async (setting) => {
      const { directory, path, log } = setting;
      log.write(several(500));
      await (await indexed(setting)).close();
      const bytes = Deno.readFileSync(path);
      assert.ok(bytes.length > 50_000);
      EventIndexFile.remove(path);
      Deno.writeFileSync(path, damaged(bytes));
      const index = new EventIndex({ path, logs: directory });
      const search = async (): Promise<number> => {
        try {
          return (await index.search({ order: "asc", limit: 1_000, user: "joe" })).lines.length;
        } catch (e) {
          assert.equal((e as { code?: string }).code, "connection_problem", String(e));
          return await search();
        }
      };
      assert.equal(await search(), 250);
      index.close();
    }));
}

Deno.test("an index that cannot be used does not stop the log: it knows nothing", () =>
  inDirectory(async ({ directory, path }) => {
    await Deno.mkdir(path);
    const index = new EventIndex({ path, logs: directory, patienceMs: 20 });
    const ask = async (): Promise<unknown> => {
      try {
        return await index.lookUp(nobody);
      } catch (e) {
        assert.equal((e as { code?: string }).code, "connection_problem", String(e));
        return await ask();
      }
    };
    assert.equal(await ask(), undefined);
    await assert.rejects(index.search({ order: "asc", limit: 1 }), /cannot be used/);
    await index.close();
  }));
