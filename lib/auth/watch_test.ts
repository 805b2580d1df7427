import assert from "node:assert/strict";
import type { WatchEvent } from "../api/types.ts";
import { LimitExceeded } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { PREFIXES, ResourceStore } from "./store.ts";
import { testNode, testRole } from "./testing.ts";
import { ResourceHub } from "./watch.ts";

configureLog({ level: "off", format: "text" });

const MAX_WAITING = 500;

async function withHub(
  body: (hub: ResourceHub, store: ResourceStore, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const backend = new MemoryBackend();
  const hub = new ResourceHub(backend, MAX_WAITING);
  const stop = new AbortController();
  try {
    await hub.ready;
    await body(hub, new ResourceStore(backend), stop.signal);
  } finally {
    stop.abort();
    await hub.close();
    await backend.close();
  }
}

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

function shown(event: WatchEvent): string {
  switch (event.type) {
    case "put":
      return `put ${event.resource.kind} ${event.resource.metadata.name}`;
    case "delete":
      return `delete ${event.kind} ${event.name}`;
    case "init":
      return "init";
  }
}

async function read(
  watch: AsyncGenerator<WatchEvent[], void, undefined>,
  count: number,
): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) {
    const { value } = await watch.next();
    seen.push(...(value ?? []).map(shown));
  }
  return seen;
}

Deno.test("a watcher gets the present state, init, then the changes of its kinds", () =>
  withHub(async (hub, store, signal) => {
    await store.create(testRole("a"));
    await store.create(testNode(id(1)));
    const early = hub.watch(["role"], signal);
    await read(early, 2);
    const watch = hub.watch(["role", "node"], signal);
    assert.deepEqual((await read(watch, 3)).sort(), ["init", `put node ${id(1)}`, "put role a"]);
    await store.put(testRole("b"));
    await store.delete("role", "a");
    await store.delete("node", id(1));
    assert.deepEqual((await read(watch, 3)).sort(), [
      "delete node " + id(1),
      "delete role a",
      "put role b",
    ]);
    assert.deepEqual(await read(early, 2), ["put role b", "delete role a"]);
  }));

Deno.test("a change that comes while the present state is told is told after it", () =>
  withHub(async (hub, store, signal) => {
    const early = hub.watch(["node"], signal);
    await read(early, 1);
    for (let i = 0; i < 300; i++) await store.create(testNode(id(i)));
    await read(early, 300);
    const watch = hub.watch(["node"], signal);
    const seen = await read(watch, 1);
    await store.delete("node", id(0));
    seen.push(...await read(watch, 102));
    assert.equal(seen[300], "init");
    assert.equal(seen[301], `delete node ${id(0)}`);
  }));

Deno.test("a watcher that does not keep up is dropped with an error, the others go on", () =>
  withHub(async (hub, store, signal) => {
    const slow = hub.watch(["role"], signal);
    const other = hub.watch(["node"], signal);
    await read(slow, 1);
    await read(other, 1);
    const quick = hub.watch(["role"], signal);
    await read(quick, 1);
    for (let i = 0; i <= MAX_WAITING; i++) {
      await store.put(testRole("a"));
      await read(quick, 1);
    }
    await store.put(testNode(id(1)));
    assert.deepEqual(await read(other, 1), [`put node ${id(1)}`]);
    await assert.rejects(async () => {
      for await (const _ of slow);
    }, LimitExceeded);
  }));

Deno.test("a stored value that cannot be read is left out and harms nobody", () =>
  withHub(async (hub, store, signal) => {
    await store.backend.put(`${PREFIXES.role}bad`, '{"kind":"role"}');
    await store.backend.put(`${PREFIXES.role}worse`, "not json");
    await store.create(testRole("good"));
    const watch = hub.watch(["role"], signal);
    const seen = await read(watch, 1);
    if (!seen.includes("put role good")) seen.push(...await read(watch, 1));
    assert.ok(seen.includes("put role good"));
    assert.equal(hub.get("role", "bad"), undefined);
  }));

Deno.test("nodes() follows what hosts announce, ordered by id", () =>
  withHub(async (hub, store, signal) => {
    const watch = hub.watch(["node"], signal);
    await read(watch, 1);
    for (const n of [3, 1, 2]) await store.create(testNode(id(n)));
    await read(watch, 3);
    assert.deepEqual(hub.nodes().map(({ metadata }) => metadata.name), [id(1), id(2), id(3)]);
    await store.delete("node", id(2));
    await read(watch, 1);
    assert.equal(hub.nodes().length, 2);
  }));

Deno.test("closing the hub and aborting the signal both end a watch", () =>
  withHub(async (hub, _store, signal) => {
    const abort = new AbortController();
    const first = hub.watch(["role"], abort.signal);
    const second = hub.watch(["role"], signal);
    await read(first, 1);
    await read(second, 1);
    const ends = [first.next(), second.next()];
    abort.abort();
    await hub.close();
    assert.deepEqual((await Promise.all(ends)).map(({ done }) => done), [true, true]);
  }));
