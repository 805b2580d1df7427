import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/events.ts";
import { concat } from "../base/bytes.ts";
import { AccessDenied, ConnectionProblem } from "../base/errors.ts";
import { checkCertificate } from "../cert/check.ts";
import { TestCluster } from "../host/test_cluster.ts";
import {
  type ClientChannel,
  type ClientCredential,
  connectSsh,
  type SshClient,
} from "../ssh/client.ts";
import { type PeerAddress, SshServer } from "../ssh/server.ts";
import { dialTcp, readAll } from "../ssh/stream.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import type { DialTarget } from "./dialer.ts";
import { NodeIndex } from "./node_index.ts";
import { Router } from "./route.ts";
import { SshFront } from "./ssh_front.ts";
import { node } from "./test_nodes.ts";

/** A TCP service that reads each connection to its end and sends it back; it keeps what it got. */
class Echo implements AsyncDisposable {
  readonly received: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done = this.#serve();

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) this.#answer(conn);
  }

  async #answer(conn: Deno.Conn): Promise<void> {
    let all = new Uint8Array(0);
    const buffer = new Uint8Array(65_536);
    for (let n; (n = await conn.read(buffer)) !== null;) all = concat(all, buffer.subarray(0, n));
    const data = new TextDecoder().decode(all);
    this.received.push(data);
    const answer = new TextEncoder().encode(data.replace(/^Teleport-Proxy.*?\0/s, ""));
    for (let at = 0; at < answer.length;) at += await conn.write(answer.subarray(at));
    conn.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}

interface Setting extends AsyncDisposable {
  cluster: TestCluster;
  index: NodeIndex;
  events: AuditEvent[];
  address: { host: string; port: number };
  connect(o?: Parameters<typeof credential>[1] & { username?: string }): Promise<SshClient>;
  connectWith(credential: ClientCredential, username?: string): Promise<SshClient>;
}

function credential(
  cluster: TestCluster,
  o: Parameters<TestCluster["userCertificate"]>[1] = {},
): ClientCredential {
  const key = generatePrivateKey();
  return { key, certificate: cluster.userCertificate(key.publicKey, o) };
}

async function setUp(
  o: { targets?: string[]; authServers?: string[]; dial?: DialTarget } = {},
): Promise<Setting> {
  const cluster = await TestCluster.create();
  const identity = await cluster.identity("Proxy");
  const index = new NodeIndex("main");
  const events: AuditEvent[] = [];
  const front = new SshFront({
    cluster: "main",
    identity: () => identity,
    userAuthorities: () => cluster.trusted("user"),
    router: new Router({
      cluster: "main",
      index,
      targets: o.targets ?? ["*:22", "*:3022"],
      resolve: (name) => Promise.resolve(name === "localhost" ? ["127.0.0.1"] : []),
    }),
    authServers: o.authServers ?? [],
    clusterStatus: () => ({ online: true, lastSeenMs: Date.UTC(2026, 0, 1) }),
    audit: { emit: (event) => void events.push(event) },
    ...(o.dial ? { dial: o.dial } : {}),
  });
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = front.server.serve(listener);
  const { port } = listener.addr as Deno.NetAddr;
  const address = { host: "127.0.0.1", port };
  const clients: SshClient[] = [];
  const connectWith = async (credential: ClientCredential, username = "joe") => {
    const client = await connectSsh({
      stream: await dialTcp(address),
      username,
      credentials: [credential],
      verifyHost: ({ certificate }) => {
        checkCertificate(certificate!, {
          type: "host",
          authorities: cluster.trusted("host"),
          principal: "127.0.0.1",
          nowMs: Date.now(),
        });
      },
    });
    clients.push(client);
    return client;
  };
  return {
    cluster,
    index,
    events,
    address,
    connectWith,
    connect: (given = {}) => connectWith(credential(cluster, given), given.username),
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      await front.server.close();
      await serving;
    },
  };
}

async function outcome(
  channel: ClientChannel,
  input = "",
): Promise<{ stdout: string; stderr: string; code: number | undefined }> {
  channel.stream.end(input);
  const [stdout, stderr, status] = await Promise.all([
    readAll(channel.stream),
    readAll(channel.stderr),
    channel.exited,
  ]);
  const code = "code" in status ? status.code : undefined;
  return { stdout: stdout.toString(), stderr: stderr.toString(), code };
}

Deno.test("a node is told the client's address first, then both directions flow to their ends", async () => {
  await using echo = new Echo();
  await using set = await setUp();
  set.index.put(node("node-1", { addr: `127.0.0.1:${echo.port}` }));
  const client = await set.connect();
  const result = await outcome(await client.subsystem("proxy:node-1:0"), "hello");
  assert.deepEqual(result, { stdout: "hello", stderr: "", code: 0 });
  assert.match(
    echo.received[0] ?? "",
    /^Teleport-Proxy\{"clientAddr":"127\.0\.0\.1:\d+"\}\0hello$/,
  );
  assert.deepEqual(set.events.map(({ event, code }) => [event, code]), [["subsystem", "T3001I"]]);
});

Deno.test("direct-tcpip leads to a node as the subsystem does", async () => {
  await using echo = new Echo();
  await using set = await setUp();
  set.index.put(node("node-1", { addr: `127.0.0.1:${echo.port}` }));
  const client = await set.connect();
  const stream = await client.directTcpip("node-1.main", 3022);
  stream.end("jump");
  assert.equal((await readAll(stream)).toString(), "jump");
  await assert.rejects(client.directTcpip("nowhere", 22));
  assert.deepEqual(
    set.events.map((e) => [e.event, e.code, e.event === "port" && e.addr]),
    [["port", "T3003I", "node-1.main:3022"], ["port", "T3003E", "nowhere:22"]],
  );
  assert.match(echo.received[0] ?? "", /^Teleport-Proxy/);
});

Deno.test("eight megabytes, four windows, go through unharmed in both directions", async () => {
  await using echo = new Echo();
  await using set = await setUp();
  set.index.put(node("node-1", { addr: `127.0.0.1:${echo.port}` }));
  const client = await set.connect();
  const data = "0123456789abcdef".repeat(524_288);
  const { stdout } = await outcome(await client.subsystem("proxy:node-1:0"), data);
  assert.equal(stdout.length, data.length);
  assert.ok(stdout === data);
});

Deno.test("SSH inside of SSH: the node sees the client's own address and the proxy sees nothing", async () => {
  await using set = await setUp();
  const seen: { remote: PeerAddress; relayedBy?: PeerAddress | undefined }[] = [];
  const hostKey = generatePrivateKey();
  const inner = new SshServer<string>({
    hostKeys: () => [{ key: hostKey }],
    authenticate: ({ username }) => username,
    clientAddressFrom: () => true,
    onConnection: (connection) => {
      seen.push({ remote: connection.remote, relayedBy: connection.relayedBy });
      connection.handle({
        session: () => ({
          start: (request, channel) => {
            channel.stream.write(`did ${request.kind === "exec" ? request.command : request.kind}`);
            channel.exit(7);
          },
        }),
      });
    },
  });
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = inner.serve(listener);
  const { port } = listener.addr as Deno.NetAddr;
  set.index.put(node("node-1", { addr: `127.0.0.1:${port}` }));
  const user = credential(set.cluster);
  const outer = await set.connectWith(user);
  const way = await outer.subsystem("proxy:node-1:0");
  const client = await connectSsh({
    stream: way.stream,
    username: "root",
    credentials: [user],
    verifyHost: ({ key }) => assert.deepEqual(key.blob, hostKey.publicKey.blob),
  });
  const result = await outcome(await client.exec("true"));
  assert.deepEqual([result.stdout, result.code], ["did true", 7]);
  assert.equal(seen[0]?.remote.host, "127.0.0.1");
  assert.notEqual(seen[0]?.remote.port, seen[0]?.relayedBy?.port);
  client.close();
  await inner.close();
  await serving;
});

Deno.test("a foreign host is dialled where that is allowed, and is told nothing", async () => {
  await using echo = new Echo();
  await using set = await setUp({ targets: [`127.0.0.0/8:${echo.port}`] });
  const client = await set.connect();
  const channel = await client.subsystem(`proxy:localhost:${echo.port}`);
  assert.equal((await outcome(channel, "plain")).stdout, "plain");
  assert.deepEqual(echo.received, ["plain"]);
});

Deno.test("proxy:@cluster leads to the first auth server that answers", async () => {
  await using echo = new Echo();
  await using set = await setUp({ authServers: ["127.0.0.1:1", `127.0.0.1:${echo.port}`] });
  const client = await set.connect();
  for (const name of ["proxy:@main", "proxy:@"]) {
    assert.equal((await outcome(await client.subsystem(name), "api")).stdout, "api");
  }
  assert.deepEqual(echo.received, ["api", "api"]);
});

Deno.test("proxysites lists the cluster as JSON", async () => {
  await using set = await setUp();
  const client = await set.connect();
  const { stdout, code } = await outcome(await client.subsystem("proxysites"));
  assert.deepEqual(JSON.parse(stdout), [
    { name: "main", status: "online", lastconnected: "2026-01-01T00:00:00.000Z" },
  ]);
  assert.equal(code, 0);
});

const FAILURES: [string, RegExp][] = [
  ["proxy:nowhere:0", /^error: no node "nowhere" in cluster "main".*tsh ls/],
  ["proxy:twin:0", /^error: ambiguous host could match multiple nodes/],
  ["proxy:node-1:0@leaf", /^error: invalid format for proxy request: unknown cluster "leaf"\n$/],
  ["proxy:@leaf", /unknown cluster "leaf"/],
  ["proxy:127.0.0.1:22", /not allowed by this proxy \(proxy_service\.unregistered_targets\)/],
  ["proxy:localhost:3025", /not allowed/],
  [
    "proxy:44444444-4444-4444-8444-444444444444:0",
    /unable to locate node matching uuid-like target/,
  ],
  ["proxy:dead:0", /^error: cannot reach node "dead": .*127\.0\.0\.1:1: /],
  ["proxy:@main", /the cluster's auth service is away/],
  ["proxy:a:b:c:d", /invalid format for proxy request/],
];

for (const [name, message] of FAILURES) {
  Deno.test(`${name} fails with one clear line on stderr and status 1`, async () => {
    await using set = await setUp({ authServers: ["127.0.0.1:1"] });
    for (const addr of ["10.0.0.1:3022", "10.0.0.2:3022"]) set.index.put(node("twin", { addr }));
    set.index.put(node("dead", { addr: "127.0.0.1:1" }));
    const client = await set.connect();
    const result = await outcome(await client.subsystem(name));
    assert.match(result.stderr, message);
    assert.equal(result.stdout, "");
    assert.equal(result.code, 1);
    assert.deepEqual(set.events.map(({ code }) => code), ["T3001E"]);
  });
}

Deno.test("an ambiguous name shows the candidates with their ids", async () => {
  await using set = await setUp();
  for (const addr of ["10.0.0.1:3022", "10.0.0.2:3022"]) set.index.put(node("twin", { addr }));
  const client = await set.connect();
  const { stderr } = await outcome(await client.subsystem("proxy:twin:0"));
  assert.equal(stderr.match(/[0-9a-f]{8}-[0-9a-f-]{27}/g)?.length, 2);
  assert.match(stderr, /10\.0\.0\.1:3022/);
});

Deno.test("attack 44: a node's name cannot write escape sequences to the user's terminal", async () => {
  await using set = await setUp();
  for (const addr of ["10.0.0.1:3022", "10.0.0.2:3022"]) {
    set.index.put(node("evil\x1b]0;owned\x07", { addr, labels: { role: "db", x: "\x1b[2J" } }));
  }
  const client = await set.connect();
  const { stderr } = await outcome(await client.subsystem("proxy:role=db:0"));
  assert.match(stderr, /ambiguous/);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stderr, /[\x00-\x09\x0b-\x1f\x7f]/);
});

Deno.test("attack 36: the proxy runs no shell, no command and no other subsystem", async () => {
  await using set = await setUp();
  const client = await set.connect();
  for (const channel of [await client.shell(), await client.exec("id")]) {
    const { stdout, stderr, code } = await outcome(channel, "id\n");
    assert.deepEqual([stdout, code], ["", 255]);
    assert.match(stderr, /this is a proxy: it runs no commands/);
  }
  for (const name of ["sftp", "auth-api", "proxysites2", "Proxy:node-1:0", ""]) {
    await assert.rejects(client.subsystem(name), AccessDenied, name);
  }
});

for (
  const [host, port] of [
    ["127.0.0.1", 22],
    ["localhost", 3025],
    ["::1", 22],
    ["0.0.0.0", 22],
    ["169.254.169.254", 80],
    ["2130706433", 22],
    ["/run/docker.sock", 0],
  ] as const
) {
  Deno.test(`attack 37: direct-tcpip to ${host} port ${port} is refused`, async () => {
    await using set = await setUp({
      dial: () => Promise.reject(new Error("nothing may be dialled here")),
    });
    const client = await set.connect();
    await assert.rejects(client.directTcpip(host, port), (error: unknown) => {
      assert.doesNotMatch(String(error), /may be dialled/);
      return true;
    });
  });
}

Deno.test("the reason reaches a ProxyJump client in the channel's refusal", async () => {
  await using set = await setUp();
  for (const addr of ["10.0.0.1:3022", "10.0.0.2:3022"]) set.index.put(node("twin", { addr }));
  const client = await set.connect();
  await assert.rejects(client.directTcpip("nowhere", 22), /no node "nowhere"/);
  await assert.rejects(client.directTcpip("twin", 22), /ambiguous.*[0-9a-f]{8}-[0-9a-f-]{27}/);
});

Deno.test("an error that is our own fault is told without detail", async () => {
  await using set = await setUp({
    dial: () => {
      throw new TypeError("secret detail");
    },
  });
  set.index.put(node("node-1"));
  const client = await set.connect();
  const { stderr } = await outcome(await client.subsystem("proxy:node-1:0"));
  assert.match(stderr, /^error: cannot reach node "node-1"/);
});

const REFUSED: [string, (c: TestCluster, other: TestCluster) => ClientCredential, string][] = [
  ["a bare key", () => ({ key: generatePrivateKey() }), "joe"],
  ["a certificate of another cluster", (_c, other) => credential(other), "joe"],
  ["an expired certificate", (c) => {
    const now = Date.now();
    return credential(c, { validAfterMs: now - 7_200_000, validBeforeMs: now - 3_600_000 });
  }, "joe"],
  ["a login that is not among the principals", (c) => credential(c), "admin"],
  ["a certificate signed by the host authority", (c) => credential(c, { ca: c.hostCa }), "joe"],
  ["a host certificate", (c) => {
    const key = generatePrivateKey();
    return { key, certificate: c.hostCertificate(key.publicKey, "Node", undefined, ["joe"]) };
  }, "joe"],
  [
    "a certificate bound to another address",
    (c) => credential(c, { criticalOptions: { "source-address": "192.0.2.0/24" } }),
    "joe",
  ],
];

for (const [what, make, username] of REFUSED) {
  Deno.test(`the SSH front refuses ${what}`, async () => {
    await using set = await setUp();
    const offered = make(set.cluster, await TestCluster.create());
    await assert.rejects(set.connectWith(offered, username), AccessDenied);
    const expected = offered.certificate ? [["auth", "T3007W"]] : [];
    assert.deepEqual(set.events.map(({ event, code }) => [event, code]), expected);
  });
}

Deno.test("every principal is a user name at the proxy, whatever the roles are", async () => {
  await using set = await setUp();
  for (const username of ["joe", "root"]) {
    const client = await set.connect({ username });
    assert.equal((await outcome(await client.subsystem("proxysites"))).code, 0);
  }
});

Deno.test("a certificate with a forced command passes: the node enforces it", async () => {
  await using set = await setUp();
  const client = await set.connect({ criticalOptions: { "force-command": "true" } });
  assert.equal((await outcome(await client.subsystem("proxysites"))).code, 0);
});

Deno.test("a certificate that routes to another cluster is not quietly kept in this one", async () => {
  await using set = await setUp();
  set.index.put(node("node-1"));
  const client = await set.connect({ routeToCluster: "leaf" });
  const { stderr } = await outcome(await client.subsystem("proxy:node-1:0"));
  assert.match(stderr, /unknown cluster "leaf"/);
});

Deno.test("a client that goes away while the node is dialled ends the dialling", async () => {
  const dialling = Promise.withResolvers<AbortSignal>();
  await using set = await setUp({
    dial: (_address, { signal }) => {
      dialling.resolve(signal!);
      return new Promise((_, reject) =>
        signal!.addEventListener("abort", () => reject(new ConnectionProblem("aborted")))
      );
    },
  });
  set.index.put(node("node-1"));
  const client = await set.connect();
  const opened = client.subsystem("proxy:node-1:0");
  const signal = await dialling.promise;
  const aborted = new Promise<void>((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
  await opened;
  client.close();
  await aborted;
});

Deno.test("a client that goes away in the middle closes the connection to the node", async () => {
  await using set = await setUp();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  set.index.put(node("node-1", { addr: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}` }));
  const client = await set.connect();
  await client.subsystem("proxy:node-1:0");
  const conn = await listener.accept();
  client.close();
  const buffer = new Uint8Array(4096);
  // The address line comes, then the end, or a reset.
  while (await conn.read(buffer).catch(() => null) !== null);
  conn.close();
  listener.close();
});
