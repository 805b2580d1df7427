/** The contract of `Backend`, against every implementation. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { FakeClock } from "../base/clock.ts";
import { AlreadyExists, BadParameter, CompareFailed, NotFound } from "../base/errors.ts";
import {
  type Backend,
  type BackendEvent,
  compareKeys,
  type Item,
  prefixEnd,
  WatchExpired,
} from "./backend.ts";
import { follow, type FollowEvent } from "./follow.ts";
import { openLibsql } from "./libsql.ts";
import { MemoryBackend } from "./memory.ts";

const changeLogSize = 50;
const watchQueueSize = 100;

interface Fixture {
  backend: Backend;
  clock: FakeClock;
}

const implementations: Record<string, (run: (f: Fixture) => Promise<void>) => Promise<void>> = {
  memory: async (run) => {
    const clock = new FakeClock();
    await useBackend(new MemoryBackend({ clock, changeLogSize, watchQueueSize }), clock, run);
  },
  libSQL: async (run) => {
    const directory = await Deno.makeTempDir();
    const clock = new FakeClock();
    try {
      const url = `file:${directory}/backend/test.db`;
      await useBackend(
        await openLibsql({ url, clock, changeLogSize, watchQueueSize, pollMs: 20 }),
        clock,
        run,
      );
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
};

async function useBackend(
  backend: Backend,
  clock: FakeClock,
  run: (f: Fixture) => Promise<void>,
): Promise<void> {
  try {
    await run({ backend, clock });
  } finally {
    await backend.close();
  }
}

function contract(behaviour: string, run: (f: Fixture) => Promise<void>): void {
  for (const [name, withBackend] of Object.entries(implementations)) {
    Deno.test(`${name} backend: ${behaviour}`, () => withBackend(run));
  }
}

contract("get() gives undefined for what is not there", async ({ backend }) => {
  assert.equal(await backend.get("/a"), undefined);
  assert.equal(await backend.revision(), 0);
});

contract("put() writes, writes over, and every write has the next revision", async (f) => {
  assert.equal(await f.backend.put("/a", "1"), 1);
  assert.equal(await f.backend.put("/b", "2"), 2);
  assert.equal(await f.backend.put("/a", "3"), 3);
  assert.deepEqual(await f.backend.get("/a"), { key: "/a", value: "3", revision: 3 });
  assert.equal(await f.backend.revision(), 3);
});

contract("values and keys come back as they were, in any script", async ({ backend }) => {
  const value = JSON.stringify({ text: "\u0000 ' \" % _ \u{1f512} é \ud800", n: 1 });
  await backend.put("/naïve/\u{1f512}/'%_", value);
  assert.equal((await backend.get("/naïve/\u{1f512}/'%_"))?.value, value);
  await backend.put("/empty", "");
  assert.equal((await backend.get("/empty"))?.value, "");
});

contract("a key without leading slash or with control characters is refused", async (f) => {
  for (const key of ["", "a", "/", "/a\u0000b", "/a\nb", `/${"x".repeat(2000)}`]) {
    await assert.rejects(f.backend.put(key, "1"), BadParameter);
    await assert.rejects(f.backend.get(key), BadParameter);
  }
});

contract("create() refuses a key that is there", async ({ backend }) => {
  assert.equal(await backend.create("/a", "1"), 1);
  await assert.rejects(backend.create("/a", "2"), AlreadyExists);
  assert.equal((await backend.get("/a"))?.value, "1");
  assert.equal(await backend.revision(), 1);
});

contract("compareAndSwap() writes only over the expected revision", async ({ backend }) => {
  const first = await backend.put("/a", "1");
  const second = await backend.compareAndSwap("/a", { revision: first }, "2");
  await assert.rejects(backend.compareAndSwap("/a", { revision: first }, "3"), CompareFailed);
  await assert.rejects(backend.compareAndSwap("/b", { revision: 1 }, "3"), NotFound);
  assert.deepEqual(await backend.get("/a"), { key: "/a", value: "2", revision: second });
});

contract("of many compareAndSwap() at once exactly one wins", async ({ backend }) => {
  const revision = await backend.put("/a", "0");
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => backend.compareAndSwap("/a", { revision }, `${i}`)),
  );
  assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 1);
  for (const each of tries) {
    if (each.status === "rejected") assert.ok(each.reason instanceof CompareFailed);
  }
});

contract("of many create() at once exactly one wins", async ({ backend }) => {
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => backend.create("/a", `${i}`)),
  );
  assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 1);
});

contract("delete() deletes, and says when there is nothing or another revision", async (f) => {
  const first = await f.backend.put("/a", "1");
  const second = await f.backend.put("/a", "2");
  await assert.rejects(f.backend.delete("/a", { revision: first }), CompareFailed);
  await f.backend.delete("/a", { revision: second });
  assert.equal(await f.backend.get("/a"), undefined);
  await assert.rejects(f.backend.delete("/a"), NotFound);
  await assert.rejects(f.backend.delete("/a", { revision: second }), NotFound);
  assert.equal(await f.backend.revision(), 3);
  assert.equal(await f.backend.create("/a", "3"), 4);
});

contract("range() gives the keys of a prefix in order, and no others", async ({ backend }) => {
  for (const key of ["/b/2", "/a", "/b/10", "/b/1", "/b", "/c", "/b/%", "/b0", "/b/1/x"]) {
    await backend.put(key, key);
  }
  assert.deepEqual(await keys(backend, "/b/"), ["/b/%", "/b/1", "/b/1/x", "/b/10", "/b/2"]);
  assert.deepEqual(await keys(backend, "/%"), []);
  assert.deepEqual(await keys(backend, "/_"), []);
  assert.equal((await backend.range("/")).length, 9);
});

contract("range() orders keys by their UTF-8 bytes", async ({ backend }) => {
  const wanted = ["/a", "/z", "/é", "/\u{d7ff}", "/\u{e000}", "/\u{ffff}", "/\u{10000}"];
  for (const key of wanted.toReversed()) await backend.put(key, "");
  assert.deepEqual(await keys(backend, "/"), wanted);
  assert.deepEqual(await keys(backend, "/\u{d7ff}"), ["/\u{d7ff}"]);
  assert.deepEqual(await keys(backend, "/\u{10000}"), ["/\u{10000}"]);
});

contract("range() pages: limit, and after the last key", async ({ backend }) => {
  for (let i = 0; i < 7; i++) await backend.put(`/n/${i}`, "");
  const pages: string[][] = [];
  let after: string | undefined;
  do {
    const page = await backend.range("/n/", { limit: 3, ...(after ? { after } : {}) });
    pages.push(page.map(({ key }) => key));
    after = page.length < 3 ? undefined : page.at(-1)?.key;
  } while (after);
  assert.deepEqual(pages, [["/n/0", "/n/1", "/n/2"], ["/n/3", "/n/4", "/n/5"], ["/n/6"]]);
});

contract("deleteRange() deletes a prefix and says how many", async ({ backend }) => {
  for (const key of ["/a/1", "/a/2", "/b/1", "/a"]) await backend.put(key, "");
  assert.equal(await backend.deleteRange("/a/"), 2);
  assert.deepEqual(await keys(backend, "/"), ["/a", "/b/1"]);
  assert.equal(await backend.deleteRange("/a/"), 0);
  assert.equal(await backend.revision(), 6);
});

contract("an item is gone when its time has come", async ({ backend, clock }) => {
  const expiresMs = clock.now() + 1000;
  await backend.put("/a", "1", { expiresMs });
  await backend.put("/b", "1");
  assert.equal((await backend.get("/a"))?.expiresMs, expiresMs);
  clock.advance(999);
  assert.deepEqual(await keys(backend, "/"), ["/a", "/b"]);
  clock.advance(1);
  assert.equal(await backend.get("/a"), undefined);
  assert.deepEqual(await keys(backend, "/"), ["/b"]);
  await assert.rejects(backend.delete("/a"), NotFound);
  await assert.rejects(backend.compareAndSwap("/a", { revision: 1 }, "2"), NotFound);
});

contract("create() takes the place of what has expired", async ({ backend, clock }) => {
  await backend.create("/a", "1", { expiresMs: clock.now() + 1000 });
  clock.advance(1000);
  await backend.create("/a", "2");
  assert.equal((await backend.get("/a"))?.value, "2");
  assert.equal((await backend.get("/a"))?.expiresMs, undefined);
});

contract("a write replaces the expiry", async ({ backend, clock }) => {
  await backend.put("/a", "1", { expiresMs: clock.now() + 1000 });
  const revision = await backend.put("/a", "2", { expiresMs: clock.now() + 5000 });
  clock.advance(2000);
  await backend.compareAndSwap("/a", { revision }, "3");
  clock.advance(10_000);
  assert.equal((await backend.get("/a"))?.value, "3");
});

contract("purgeExpired() deletes what has expired, once", async ({ backend, clock }) => {
  await backend.put("/a", "1", { expiresMs: clock.now() + 1000 });
  await backend.put("/b", "1", { expiresMs: clock.now() + 9000 });
  assert.equal(await backend.purgeExpired(), 0);
  clock.advance(1000);
  assert.equal(await backend.purgeExpired(), 1);
  assert.equal(await backend.purgeExpired(), 0);
  assert.equal(await backend.revision(), 3);
});

contract("watch() tells the changes of a prefix from the call on, in order", async (f) => {
  await f.backend.put("/a/0", "before");
  const events = watching(f.backend, "/a/");
  await f.backend.put("/a/1", "1");
  await f.backend.put("/b/1", "other");
  await f.backend.put("/a/1", "2");
  await f.backend.delete("/a/1");
  await f.backend.put("/a/2", "3", { expiresMs: f.clock.now() + 1000 });
  assert.deepEqual(await events.take(4), [
    put("/a/1", "1", 2),
    put("/a/1", "2", 4),
    { type: "delete", key: "/a/1", revision: 5 },
    { type: "put", item: item("/a/2", "3", 6, f.clock.now() + 1000) },
  ]);
  await events.stop();
});

contract("watch() tells what has expired as deleted", async ({ backend, clock }) => {
  await backend.put("/a", "1", { expiresMs: clock.now() + 1000 });
  const events = watching(backend, "/");
  clock.advance(1000);
  await backend.purgeExpired();
  assert.deepEqual(await events.take(1), [{ type: "delete", key: "/a", revision: 2 }]);
  await events.stop();
});

contract("watch() resumes after a revision, each change once", async ({ backend }) => {
  for (let i = 1; i <= 5; i++) await backend.put(`/a/${i}`, "");
  const other = watching(backend, "/");
  const events = watching(backend, "/a/", { after: 2 });
  await backend.put("/a/6", "");
  await backend.put("/b", "");
  await backend.put("/a/8", "");
  assert.deepEqual((await events.take(5)).map(revision), [3, 4, 5, 6, 8]);
  assert.deepEqual((await other.take(3)).map(revision), [6, 7, 8]);
  await events.stop();
  await other.stop();
});

contract("watch() of a revision that the change log has no more is expired", async (f) => {
  await f.backend.put("/a", "0");
  for (let i = 0; i < 3 * changeLogSize; i++) await f.backend.put("/a", `${i}`);
  await assert.rejects(watching(f.backend, "/", { after: 1 }).take(1), WatchExpired);
  const now = await f.backend.revision();
  const events = watching(f.backend, "/", { after: now - changeLogSize / 2 });
  assert.equal((await events.take(changeLogSize / 2)).length, changeLogSize / 2);
  await events.stop();
});

contract("watch() of a revision yet to come is expired: the store is an older one", async (f) => {
  await f.backend.put("/a", "0");
  await assert.rejects(watching(f.backend, "/", { after: 100 }).take(1), WatchExpired);
});

contract("watch() ends when it is aborted, and when the backend is closed", async (f) => {
  const abort = new AbortController();
  const aborted = f.backend.watch("/", { signal: abort.signal })[Symbol.asyncIterator]();
  const pending = aborted.next();
  abort.abort();
  assert.equal((await pending).done, true);
  const late = f.backend.watch("/", { signal: abort.signal })[Symbol.asyncIterator]();
  assert.equal((await late.next()).done, true);

  const open = f.backend.watch("/")[Symbol.asyncIterator]();
  const waiting = open.next();
  await f.backend.close();
  assert.equal((await waiting).done, true);
});

contract("a watcher that does not read is expired, and does not disturb others", async (f) => {
  const slow = watching(f.backend, "/");
  const other = watching(f.backend, "/last");
  for (let i = 0; i <= watchQueueSize; i++) await f.backend.put(`/${i}`, "");
  await f.backend.put("/last", "");
  assert.equal((await other.take(1)).length, 1);
  await assert.rejects(slow.take(1), WatchExpired);
  await other.stop();
});

contract("follow() lists, says init, and goes on with the changes", async ({ backend }) => {
  await backend.put("/a/1", "1");
  await backend.put("/a/2", "2");
  await backend.put("/b", "other");
  const abort = new AbortController();
  const seen: FollowEvent[] = [];
  for await (const event of follow(backend, "/a/", { signal: abort.signal })) {
    seen.push(event);
    if (event.type === "init") await backend.delete("/a/1");
    if (event.type === "delete") abort.abort();
  }
  assert.deepEqual(seen, [
    put("/a/1", "1", 1),
    put("/a/2", "2", 2),
    { type: "init" },
    { type: "delete", key: "/a/1", revision: 4 },
  ]);
});

contract("follow() lists anew after falling behind, and tells what has gone", async (f) => {
  await f.backend.put("/a/1", "1");
  await f.backend.put("/a/2", "2");
  const flaky = Object.create(f.backend) as Backend;
  let broken = true;
  flaky.watch = (prefix, options) => {
    if (!broken) return f.backend.watch(prefix, options);
    broken = false;
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await f.backend.delete("/a/1");
          await f.backend.put("/a/3", "3");
          throw new WatchExpired("behind");
        },
      }),
    };
  };
  for (const name of ["revision", "range"] as const) {
    // The methods use private fields, which a derived object does not have.
    (flaky as unknown as Record<string, unknown>)[name] = f.backend[name].bind(f.backend);
  }
  const abort = new AbortController();
  const seen: string[] = [];
  for await (const event of follow(flaky, "/a/", { signal: abort.signal })) {
    seen.push(event.type === "put" ? `put ${event.item.key}` : event.type);
    if (event.type === "delete") abort.abort();
  }
  assert.deepEqual(seen, ["put /a/1", "put /a/2", "init", "put /a/2", "put /a/3", "delete"]);
});

contract("any sequence of writes gives what a simple model gives", async ({ backend }) => {
  const key = fc.constantFrom("/p/a", "/p/b", "/p/b/c", "/q/\u{1f512}", "/q/\uffff");
  const step = fc.oneof(
    fc.record({ op: fc.constant("put" as const), key, value: fc.string() }),
    fc.record({ op: fc.constant("create" as const), key, value: fc.string() }),
    fc.record({ op: fc.constant("delete" as const), key, value: fc.constant("") }),
    fc.record({
      op: fc.constant("deleteRange" as const),
      key: fc.constantFrom("/p/", "/q/"),
      value: fc.constant(""),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      await backend.deleteRange("/");
      const model = new Map<string, string>();
      for (const { op, key, value } of steps) {
        // A raw NUL ends SQLite's text; JSON has none.
        const json = JSON.stringify(value);
        const done = await apply(backend, op, key, json);
        assert.equal(done, applyToModel(model, op, key, json), `${op} ${key}`);
      }
      const wanted = [...model].sort(([a], [b]) => compareKeys(a, b));
      assert.deepEqual(
        (await backend.range("/")).map(({ key, value }) => [key, value]),
        wanted,
      );
    }),
    { numRuns: 20 },
  );
});

type Operation = "put" | "create" | "delete" | "deleteRange";

async function apply(backend: Backend, op: Operation, key: string, value: string) {
  try {
    if (op === "put") await backend.put(key, value);
    else if (op === "create") await backend.create(key, value);
    else if (op === "delete") await backend.delete(key);
    else return await backend.deleteRange(key);
    return true;
  } catch (e) {
    if (e instanceof AlreadyExists || e instanceof NotFound) return false;
    throw e;
  }
}

function applyToModel(model: Map<string, string>, op: Operation, key: string, value: string) {
  if (op === "deleteRange") {
    return [...model.keys()].filter((each) => each.startsWith(key) && model.delete(each)).length;
  }
  if (op === "delete") return model.delete(key);
  if (op === "create" && model.has(key)) return false;
  model.set(key, value);
  return true;
}

Deno.test("prefixEnd() bounds exactly the strings with the prefix", () => {
  const text = fc.string({ unit: "binary", maxLength: 4 });
  fc.assert(fc.property(text, text, (prefix, other) => {
    const end = prefixEnd(prefix);
    const inside = compareKeys(other, prefix) >= 0 &&
      (end === undefined || compareKeys(other, end) < 0);
    assert.equal(inside, other.startsWith(prefix));
  }));
  assert.equal(prefixEnd("/a"), "/b");
  assert.equal(prefixEnd("/\ud7ff"), "/\ue000");
  assert.equal(prefixEnd("\u{10ffff}"), undefined);
});

Deno.test("compareKeys() orders as UTF-8 bytes do", () => {
  const text = fc.string({ unit: "binary", maxLength: 6 });
  fc.assert(fc.property(text, text, (a, b) => {
    const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
    assert.equal(Math.sign(compareKeys(a, b)), bytes);
  }));
});

/** Collects the events of a watch that begins now. */
function watching(backend: Backend, prefix: string, options: { after?: number } = {}) {
  const iterator = backend.watch(prefix, options)[Symbol.asyncIterator]();
  return {
    async take(count: number): Promise<BackendEvent[]> {
      const events: BackendEvent[] = [];
      while (events.length < count) {
        const { done, value } = await iterator.next();
        assert.ok(!done, "the watch ended");
        events.push(value);
      }
      return events;
    },
    stop: async () => {
      await iterator.return?.();
    },
  };
}

async function keys(backend: Backend, prefix: string): Promise<string[]> {
  return (await backend.range(prefix)).map(({ key }) => key);
}

function item(key: string, value: string, revision: number, expiresMs?: number): Item {
  return { key, value, revision, ...(expiresMs === undefined ? {} : { expiresMs }) };
}

function put(key: string, value: string, revision: number): BackendEvent {
  return { type: "put", item: item(key, value, revision) };
}

function revision(event: BackendEvent): number {
  return event.type === "put" ? event.item.revision : event.revision;
}
