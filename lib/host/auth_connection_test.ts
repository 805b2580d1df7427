import assert from "node:assert/strict";
import { Backoff } from "../base/backoff.ts";
import { ConnectionProblem } from "../base/errors.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import { AuthConnection, type AuthState } from "./auth_connection.ts";
import { TestAuth, TestCluster } from "./test_cluster.ts";

const quick = () => new Backoff({ minMs: 1, maxMs: 5 });

const PING = {
  cluster_name: "main",
  server_version: "0",
  caller: { kind: "node" as const, name: "n" },
  second_factor: "off" as const,
};

async function connect(
  cluster: TestCluster,
  authServers: string[],
): Promise<AuthConnection & AsyncDisposable> {
  const identity = await cluster.identity("Node");
  const connection = new AuthConnection({
    authServers,
    identity: () => identity,
    authorities: () => cluster.trusted("host"),
    backoff: quick(),
  });
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

/** Resolves when the connection is in this state. */
function reached(connection: AuthConnection, status: AuthState["status"]): Promise<AuthState> {
  if (connection.state.status === status) return Promise.resolve(connection.state);
  return new Promise((resolve) => {
    const stop = connection.onState((state) => {
      if (state.status !== status) return;
      stop();
      resolve(state);
    });
  });
}

Deno.test("AuthConnection calls the API as the host it has the certificate of", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, { ping: () => PING });
  await using connection = await connect(cluster, [auth.address]);
  assert.deepEqual(await connection.call("ping", {}), PING);
  assert.equal(auth.calls[0]?.caller.kind, "node");
});

Deno.test("AuthConnection comes back by itself after the auth server was restarted", async () => {
  const cluster = await TestCluster.create();
  const first = new TestAuth(cluster, { ping: () => PING });
  const { port } = first;
  await using connection = await connect(cluster, [first.address]);
  await connection.call("ping", {});
  await first[Symbol.asyncDispose]();
  await reached(connection, "away");
  await using _second = new TestAuth(cluster, { ping: () => PING }, { port });
  await reached(connection, "connected");
  assert.deepEqual(await connection.call("ping", {}), PING);
});

Deno.test("AuthConnection takes the next server when one is gone", async () => {
  const cluster = await TestCluster.create();
  const first = new TestAuth(cluster, { ping: () => PING });
  await using second = new TestAuth(cluster, { ping: () => PING });
  await using connection = await connect(cluster, [first.address, second.address]);
  await connection.call("ping", {});
  assert.equal(second.calls.length, 0);
  await first[Symbol.asyncDispose]();
  await reached(connection, "away");
  await reached(connection, "connected");
  await connection.call("ping", {});
  assert.equal(second.calls.length, 1);
});

Deno.test("AuthConnection does not speak to a server of another cluster", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  await using impostor = new TestAuth(other, { ping: () => PING });
  await using connection = await connect(cluster, [impostor.address]);
  const state = await reached(connection, "away");
  assert.match(state.status === "away" ? state.error : "", /unknown authority/);
  assert.deepEqual(impostor.calls, []);
});

Deno.test("AuthConnection does not take a node of its own cluster for the auth server", async () => {
  const cluster = await TestCluster.create();
  const key = generatePrivateKey();
  const hostKey = { key, certificate: cluster.hostCertificate(key.publicKey, "Node") };
  await using impostor = new TestAuth(cluster, { ping: () => PING }, { hostKey });
  await using connection = await connect(cluster, [impostor.address]);
  await reached(connection, "away");
  assert.deepEqual(impostor.calls, []);
});

Deno.test("a call while auth is away fails with what is wrong, and does not wait for ever", async () => {
  const cluster = await TestCluster.create();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  listener.close();
  await using connection = await connect(cluster, [address]);
  await assert.rejects(connection.api({ waitMs: 30 }), (error: unknown) => {
    assert.ok(error instanceof ConnectionProblem);
    assert.match(error.message, /the auth service is away/);
    return true;
  });
});

Deno.test("a call does not wait out the pause between attempts: it makes the next one come soon", async () => {
  const cluster = await TestCluster.create();
  const auth = new TestAuth(cluster, { ping: () => PING });
  const { port, address } = auth;
  const identity = await cluster.identity("Node");
  const connection = new AuthConnection({
    authServers: [address],
    identity: () => identity,
    authorities: () => cluster.trusted("host"),
    backoff: new Backoff({ minMs: 3_600_000, maxMs: 3_600_000 }),
  });
  await connection.call("ping", {});
  await auth[Symbol.asyncDispose]();
  await reached(connection, "away");
  await assert.rejects(connection.call("ping", {}), /the auth service is away/);
  await using _back = new TestAuth(cluster, { ping: () => PING }, { port });
  assert.deepEqual(await connection.call("ping", {}), PING);
  await connection.close();
});

Deno.test("close() ends what waits", async () => {
  const cluster = await TestCluster.create();
  const connection = await connect(cluster, ["127.0.0.1:1"]);
  const waiting = assert.rejects(connection.api({ waitMs: Infinity }), ConnectionProblem);
  await connection.close();
  await waiting;
});

Deno.test("an aborted wait ends with the signal's reason", async () => {
  const cluster = await TestCluster.create();
  await using connection = await connect(cluster, ["127.0.0.1:1"]);
  const controller = new AbortController();
  const waiting = connection.api({ waitMs: Infinity, signal: controller.signal });
  const refused = assert.rejects(waiting, /enough/);
  controller.abort(new Error("enough"));
  await refused;
});
