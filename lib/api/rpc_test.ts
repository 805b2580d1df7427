import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  AccessDenied,
  AlreadyExists,
  BadParameter,
  ConnectionProblem,
  InternalError,
  LimitExceeded,
  NotFound,
} from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { ApiClient } from "./client.ts";
import type { MethodName } from "./contract.ts";
import { encodeFrame } from "./frames.ts";
import { CONNECTION_LIMITS, RateLimit } from "./limits.ts";
import { serveApi, type ServeOptions } from "./server.ts";
import type { ApiService, CallContext } from "./service.ts";
import { streamPair } from "./test_streams.ts";
import type { Caller, WatchEvent } from "./types.ts";

configureLog({ level: "off", format: "text" });

const ADMIN: Caller = { kind: "admin", name: "root" };
const NODE = { kind: "node", hostId: "n1", cluster: "c", roles: ["Node"] } as unknown as Caller;

type Handlers = Partial<Record<MethodName, (params: never, context: CallContext) => unknown>>;

function connect(handlers: Handlers, options: Partial<ServeOptions> = {}) {
  const [near, far] = streamPair();
  const service = handlers as unknown as ApiService;
  const connection = serveApi(far, { caller: ADMIN, service, ...options });
  return { client: ApiClient.over(near), connection, near, far };
}

Deno.test("a call answers with what the handler returns, defaults filled in", async () => {
  const { client } = connect({ "nodes.list": (p: { limit: number }) => ({ nodes: [p.limit] }) });
  assert.deepEqual(await client.call("nodes.list", {}), { nodes: [1000] });
  client.close();
});

Deno.test("calls run side by side and find their own answers", async () => {
  const first = Promise.withResolvers<void>();
  const { client } = connect({
    "users.reset": async ({ name }: { name: string }) => {
      if (name === "slow") await first.promise;
      return { user: name };
    },
  });
  const slow = client.call("users.reset", { name: "slow" });
  assert.equal((await client.call("users.reset", { name: "fast" })).user, "fast");
  first.resolve();
  assert.equal((await slow).user, "slow");
  client.close();
});

Deno.test("an error keeps its class and message on the way", async () => {
  const { client } = connect({
    "users.delete": () => {
      throw new AlreadyExists('user "joe" already exists');
    },
  });
  await assert.rejects(client.call("users.delete", { name: "joe" }), (e: Error) => {
    assert.ok(e instanceof AlreadyExists);
    assert.equal(e.message, 'user "joe" already exists');
    return true;
  });
  client.close();
});

Deno.test("an internal error tells its details to administrators only (attack 53)", async () => {
  const handlers = {
    ping: () => {
      throw new TypeError("secret path /var/lib/x");
    },
  };
  const admin = connect(handlers).client;
  await assert.rejects(admin.call("ping", {}), /secret path/);
  const node = connect(handlers, { caller: NODE }).client;
  await assert.rejects(node.call("ping", {}), (e: Error) => {
    assert.ok(e instanceof InternalError);
    assert.match(
      e.message,
      /^internal error, see the auth server's log \(reference [0-9a-f]{8}\)$/,
    );
    return true;
  });
  admin.close();
  node.close();
});

Deno.test("a kind of caller that is not listed is refused before its parameters are read", async () => {
  const { client } = connect({
    "users.list": () => assert.fail("must not be called"),
  }, { caller: NODE });
  await assert.rejects(
    client.call("users.list", { nonsense: 1 } as never),
    (e: Error) => e instanceof AccessDenied && /node "n1" may not call users.list/.test(e.message),
  );
  client.close();
});

Deno.test("unknown methods, inherited names and unknown or oversized parameters are refused", async () => {
  const { client } = connect({});
  const call = client.call.bind(client) as (m: string, p: unknown) => Promise<unknown>;
  await assert.rejects(call("users.hack", {}), NotFound);
  await assert.rejects(call("constructor", {}), NotFound);
  await assert.rejects(call("__proto__", {}), NotFound);
  await assert.rejects(call("users.delete", { name: "a", extra: 1 }), BadParameter);
  await assert.rejects(call("users.delete", { name: "a".repeat(256) }), /"name"/);
  await assert.rejects(call("users.delete", { name: 5 }), BadParameter);
  client.close();
});

Deno.test("bytes that are no request end the connection", async () => {
  for (const message of [[1, 2], { jsonrpc: "1.0", id: 1, method: "ping" }, "ping", null]) {
    const { client, connection, near } = connect({});
    near.write(encodeFrame(message));
    await connection.closed;
    await client.closed;
  }
});

Deno.test("a frame over the caller's limit ends the connection", async () => {
  const { client, connection, near } = connect({}, {
    caller: { kind: "joining" } as unknown as Caller,
  });
  near.write(Buffer.from([0, 1, 0, 1]));
  await connection.closed;
  await client.closed;
});

Deno.test("calls beyond the rate are answered with limit_exceeded", async () => {
  const { client } = connect({ ping: () => ({}) }, {
    limits: { ...CONNECTION_LIMITS.node, callsPerSecond: 0, burst: 3 },
  });
  for (let i = 0; i < 3; i++) await client.call("ping", {});
  await assert.rejects(client.call("ping", {}), LimitExceeded);
  client.close();
});

Deno.test("no more calls than allowed run at one time; the others wait their turn", async () => {
  let running = 0;
  let most = 0;
  const { client } = connect({
    ping: async () => {
      most = Math.max(most, ++running);
      await new Promise((r) => setTimeout(r, 1));
      running--;
      return {};
    },
  }, { limits: { ...CONNECTION_LIMITS.admin, concurrentCalls: 3 } });
  await Promise.all(Array.from({ length: 20 }, () => client.call("ping", {})));
  assert.equal(most, 3);
  client.close();
});

Deno.test("RateLimit gives the burst at once, then the average, and survives a clock step back", () => {
  let now = 1000;
  const limit = new RateLimit(2, 3, () => now);
  assert.deepEqual([1, 2, 3, 4].map(() => limit.take()), [true, true, true, false]);
  now += 500;
  assert.deepEqual([limit.take(), limit.take()], [true, false]);
  now -= 10_000;
  assert.equal(limit.take(), false);
  now += 500;
  assert.equal(limit.take(), true);
});

Deno.test("when the connection breaks, open calls fail with ConnectionProblem", async () => {
  const { client, connection } = connect({ ping: () => new Promise(() => {}) });
  const open = client.call("ping", {});
  connection.close();
  await assert.rejects(open, ConnectionProblem);
  await client.closed;
  await assert.rejects(client.call("ping", {}), ConnectionProblem);
});

Deno.test("a call ends by its timeout and by its signal", async () => {
  const { client } = connect({ ping: () => new Promise(() => {}) });
  await assert.rejects(client.call("ping", {}, { timeoutMs: 1 }), /no answer to ping/);
  const abort = new AbortController();
  const open = client.call("ping", {}, { signal: abort.signal });
  abort.abort();
  await assert.rejects(open, /cancelled/);
  client.close();
});

Deno.test("a handler learns that its caller is gone", async () => {
  const gone = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const { client } = connect({
    ping: (_p: never, { signal }: CallContext) => {
      signal.addEventListener("abort", () => gone.resolve());
      started.resolve();
      return new Promise(() => {});
    },
  });
  client.call("ping", {}).catch(() => {});
  await started.promise;
  client.close();
  await gone.promise;
});

const put = (name: string): WatchEvent =>
  ({ type: "put", resource: { kind: "role", metadata: { name } } }) as unknown as WatchEvent;

async function* untilAborted(batches: WatchEvent[][], signal: AbortSignal) {
  yield* batches;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
}

Deno.test("a watch gives all events in order and stops at the server when the reader leaves", async () => {
  const stopped = Promise.withResolvers<void>();
  const { client } = connect({
    watch: (kinds: never, { signal }: CallContext) => {
      assert.deepEqual(kinds, ["role"]);
      signal.addEventListener("abort", () => stopped.resolve());
      return untilAborted([[put("a"), put("b")], [{ type: "init" }], [put("c")]], signal);
    },
  });
  const seen: string[] = [];
  for await (const event of client.watch(["role"])) {
    seen.push(event.type === "put" ? event.resource.metadata.name : event.type);
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen, ["a", "b", "init", "c"]);
  await stopped.promise;
  client.close();
});

Deno.test("a watch ends quietly when its signal is aborted", async () => {
  const { client } = connect({
    watch: (_: never, { signal }: CallContext) => untilAborted([[{ type: "init" }]], signal),
  });
  const abort = new AbortController();
  for await (const _event of client.watch(["role"], { signal: abort.signal })) abort.abort();
  client.close();
});

Deno.test("a watch fails with the server's error and when the connection breaks", async () => {
  const broken = connect({
    // deno-lint-ignore require-yield
    watch: async function* () {
      throw new LimitExceeded("watcher is too slow");
    },
  });
  await assert.rejects(async () => {
    for await (const _ of broken.client.watch(["role"]));
  }, LimitExceeded);
  broken.client.close();

  const lost = connect({
    watch: (_: never, { signal }: CallContext) => untilAborted([[{ type: "init" }]], signal),
  });
  await assert.rejects(async () => {
    for await (const _ of lost.client.watch(["role"])) lost.connection.close();
  }, ConnectionProblem);
});

Deno.test("a watcher that reads nothing is dropped and holds no one else up", async () => {
  const ended = Promise.withResolvers<void>();
  const big = Array.from({ length: 200 }, (_, i) => put(`${i}-${"x".repeat(1000)}`));
  const [near, far] = streamPair();
  const service = {
    watch: async function* () {
      try {
        for (;;) yield big;
      } finally {
        ended.resolve();
      }
    },
  } as unknown as ApiService;
  const connection = serveApi(far, { caller: ADMIN, service, watchStallMs: 5 });
  near.write(
    encodeFrame({ jsonrpc: "2.0", id: 1, method: "watch", params: { kinds: ["role"] } }),
  );
  await ended.promise;
  connection.close();
  near.destroy();
});

Deno.test("a connection has a limited number of watches", async () => {
  const { client } = connect({
    watch: (_: never, { signal }: CallContext) => untilAborted([], signal),
  }, { limits: { ...CONNECTION_LIMITS.admin, watches: 1 } });
  await client.call("watch", { kinds: ["role"] });
  await assert.rejects(client.call("watch", { kinds: ["role"] }), LimitExceeded);
  client.close();
});
