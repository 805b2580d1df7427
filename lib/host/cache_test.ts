import assert from "node:assert/strict";
import type { WatchEvent } from "../api/types.ts";
import { Backoff } from "../base/backoff.ts";
import { ConnectionProblem } from "../base/errors.ts";
import { adminRole } from "../resources/roles.ts";
import type { Role } from "../resources/types.ts";
import { type CacheEvent, ClusterCache } from "./cache.ts";
import { readTextIfExists } from "../base/files.ts";
import { TestCluster } from "./test_cluster.ts";

const quick = () => new Backoff({ minMs: 1, maxMs: 2 });

function role(name: string): Role {
  const base = adminRole();
  return { ...base, metadata: { ...base.metadata, name } };
}

const put = (resource: Role): WatchEvent => ({ type: "put", resource });
const gone = (name: string): WatchEvent => ({ type: "delete", kind: "role", name });
const INIT: WatchEvent = { type: "init" };

/** An auth service whose watch a test feeds by hand. */
class Feed {
  #events: (WatchEvent | Error)[] = [];
  #wake = Promise.withResolvers<void>();
  watches = 0;

  push(...events: (WatchEvent | Error)[]): void {
    this.#events.push(...events);
    this.#wake.resolve();
  }

  readonly api = () =>
    Promise.resolve({
      watch: (_kinds: unknown, o: { signal?: AbortSignal } = {}) => this.#watch(o.signal),
    });

  async *#watch(signal?: AbortSignal): AsyncGenerator<WatchEvent, void, undefined> {
    this.watches++;
    signal?.addEventListener("abort", () => this.#wake.resolve());
    while (!signal?.aborted) {
      const event = this.#events.shift();
      if (event instanceof Error) throw event;
      if (event) yield event;
      else {
        this.#wake = Promise.withResolvers();
        await this.#wake.promise;
      }
    }
  }
}

/** Resolves when the cache has told of so many events. */
function told(cache: ClusterCache, count: number): Promise<string[]> {
  const seen: string[] = [];
  return new Promise((resolve) => {
    cache.subscribe(({ type, resource }: CacheEvent) => {
      seen.push(`${type} ${resource.metadata.name}`);
      if (seen.length === count) resolve(seen);
    });
  });
}

const names = (cache: ClusterCache) => cache.list("role").map((r) => r.metadata.name).sort();

Deno.test("ClusterCache is ready with the whole state, then follows the changes", async () => {
  const feed = new Feed();
  const cache = new ClusterCache({ api: feed.api, kinds: ["role"], backoff: quick() });
  feed.push(put(role("a")), put(role("b")), INIT);
  await cache.ready;
  assert.deepEqual(names(cache), ["a", "b"]);
  assert.equal(cache.live, true);
  const changes = told(cache, 2);
  feed.push(put(role("c")), gone("a"));
  assert.deepEqual(await changes, ["put c", "delete a"]);
  assert.deepEqual(names(cache), ["b", "c"]);
  assert.equal(cache.get("role", "c")?.metadata.name, "c");
  assert.equal(cache.get("role", "a"), undefined);
  await cache.close();
});

Deno.test("nobody sees a state that is half there", async () => {
  const feed = new Feed();
  const cache = new ClusterCache({ api: feed.api, kinds: ["role"], backoff: quick() });
  feed.push(put(role("a")), put(role("b")), INIT);
  await cache.ready;
  feed.push(new ConnectionProblem("lost"), put(role("b")));
  while (feed.watches < 2) await new Promise((r) => setTimeout(r, 1));
  assert.deepEqual(names(cache), ["a", "b"]);
  assert.equal(cache.live, false);
  const changes = told(cache, 2);
  feed.push(put(role("c")), INIT);
  await changes;
  await new Promise((r) => setTimeout(r, 1));
  assert.deepEqual(names(cache), ["b", "c"]);
  await cache.close();
});

Deno.test("what disappeared while the watch was broken is told as deleted", async () => {
  const feed = new Feed();
  const cache = new ClusterCache({ api: feed.api, kinds: ["role"], backoff: quick() });
  feed.push(put(role("a")), INIT);
  await cache.ready;
  const changes = told(cache, 1);
  feed.push(new ConnectionProblem("lost"), INIT);
  assert.deepEqual(await changes, ["delete a"]);
  await cache.close();
});

Deno.test("a cache on disk makes a daemon ready while auth is away", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/node.json`;
  try {
    const cluster = await TestCluster.create();
    const feed = new Feed();
    const first = new ClusterCache({ api: feed.api, kinds: ["role"], path, backoff: quick() });
    feed.push(
      put(role("a")),
      ...cluster.authorities.map((resource) => ({ type: "put" as const, resource })),
      INIT,
    );
    await first.ready;
    await first.close();
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    const away = () =>
      new Promise<never>((_, reject) => setTimeout(() => reject(new ConnectionProblem("away")), 1));
    const second = new ClusterCache({ api: away, kinds: ["role"], path, backoff: quick() });
    await second.ready;
    assert.deepEqual(names(second), ["a"]);
    assert.equal(second.authorities("user")[0]?.cluster, "main");
    assert.equal(second.authorities("host").length, 1);
    assert.equal(second.live, false);
    await second.close();
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a heartbeat without news is not written to disk", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/proxy.json`;
  try {
    const feed = new Feed();
    const cache = new ClusterCache({ api: feed.api, kinds: ["role"], path, backoff: quick() });
    const until = (expires: string) => {
      const base = role("a");
      return put({ ...base, metadata: { ...base.metadata, expires } });
    };
    feed.push(until("2026-01-01T00:00:00Z"), INIT);
    await cache.ready;
    while (await readTextIfExists(path) === undefined) await new Promise((r) => setTimeout(r, 20));
    const change = told(cache, 1);
    feed.push(until("2026-01-01T00:05:00Z"));
    await change;
    assert.equal(cache.get("role", "a")?.metadata.expires, "2026-01-01T00:05:00Z");
    await cache.close();
    assert.match(await Deno.readTextFile(path), /2026-01-01T00:00:00Z/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

for (
  const content of ["", "{", '{"version":1,"resources":[{"kind":"nonsense"}]}', '{"version":99}']
) {
  Deno.test(`an unusable cache file ${JSON.stringify(content).slice(0, 30)} is fetched anew`, async () => {
    const path = await Deno.makeTempFile();
    try {
      await Deno.writeTextFile(path, content);
      const feed = new Feed();
      const cache = new ClusterCache({ api: feed.api, kinds: ["role"], path, backoff: quick() });
      feed.push(put(role("a")), INIT);
      await cache.ready;
      assert.deepEqual(names(cache), ["a"]);
      await cache.close();
    } finally {
      await Deno.remove(path);
    }
  });
}

Deno.test("the identity's authorities are trusted until the first state has come", async () => {
  const cluster = await TestCluster.create();
  const feed = new Feed();
  const cache = new ClusterCache({
    api: feed.api,
    kinds: ["cert_authority"],
    authorities: cluster.authorities,
    backoff: quick(),
  });
  assert.equal(cache.authorities("user").length, 1);
  const [user] = cluster.authorities;
  feed.push({ type: "put", resource: user! }, INIT);
  await cache.ready;
  assert.equal(cache.authorities("host").length, 0);
  await cache.close();
});

Deno.test("a rotated authority is trusted with its new keys at once", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  const feed = new Feed();
  const cache = new ClusterCache({
    api: feed.api,
    kinds: ["cert_authority"],
    authorities: cluster.authorities,
    backoff: quick(),
  });
  const before = cache.authorities("user")[0]!.keys;
  const changes = told(cache, 2);
  feed.push(...other.authorities.map((resource) => ({ type: "put" as const, resource })), INIT);
  await changes;
  assert.notDeepEqual(cache.authorities("user")[0]!.keys[0]!.blob, before[0]!.blob);
  await cache.close();
});

Deno.test("close() before anything has come rejects `ready`", async () => {
  const cache = new ClusterCache({ api: new Feed().api, kinds: ["role"] });
  await cache.close();
  await assert.rejects(cache.ready, /closed/);
});
