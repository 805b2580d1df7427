import assert from "node:assert/strict";
import { BadParameter } from "../../base/errors.ts";
import { describeCertificate } from "../../cert/x509.ts";
import { TestCluster } from "../../host/test_cluster.ts";
import type { WebHandler } from "./app.ts";
import type { GateLimits } from "./gate.ts";
import { WebServer } from "./server.ts";

const ANY_PORT = { host: "127.0.0.1", port: 0 };

const whoAmI: WebHandler = (_request, client) => Promise.resolve(Response.json(client));

async function setUp(
  o: { handler?: WebHandler; limits?: Partial<GateLimits> } = {},
): Promise<{ cluster: TestCluster; server: WebServer; url: string } & AsyncDisposable> {
  const cluster = await TestCluster.create();
  const { tls } = await cluster.identity("Proxy");
  const server = new WebServer(ANY_PORT, tls!, o.handler ?? whoAmI, o.limits);
  return {
    cluster,
    server,
    url: `https://localhost:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.close({ drainMs: 500 }),
  };
}

/** Reads until the other side closes. */
async function ended(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4096);
  while (await conn.read(buffer).catch(() => null) !== null);
  conn.close();
}

Deno.test("WebServer gives the handler the client's own address", async () => {
  await using set = await setUp();
  using client = Deno.createHttpClient({ caCerts: [set.cluster.tlsCa.certPem] });
  const answer = await (await fetch(set.url, { client })).json();
  assert.equal(answer.host, "127.0.0.1");
  assert.notEqual(answer.port, set.server.addr.port);
});

Deno.test("WebServer shows the cluster's authority behind its own certificate", async () => {
  await using set = await setUp();
  using stranger = Deno.createHttpClient({ caCerts: [] });
  await assert.rejects(fetch(set.url, { client: stranger }), TypeError);
  const { tls } = await set.cluster.identity("Proxy");
  const [leaf, ca] = tls!.certPem.split(/(?<=-----END CERTIFICATE-----)\s*/);
  assert.match(describeCertificate(leaf!).issuer, /main host CA/);
  assert.equal(describeCertificate(ca!).subject, describeCertificate(ca!).issuer);
});

Deno.test("a replaced certificate is for new connections, and a request in progress is finished", async () => {
  const arrived = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const handler: WebHandler = async (request) => {
    if (new URL(request.url).pathname === "/slow") {
      arrived.resolve();
      await finish.promise;
    }
    return new Response("done");
  };
  await using set = await setUp({ handler });
  using before = Deno.createHttpClient({ caCerts: [set.cluster.tlsCa.certPem] });
  const slow = fetch(`${set.url}slow`, { client: before });
  await arrived.promise;
  const other = await TestCluster.create("other");
  set.server.replaceCertificate((await other.identity("Proxy")).tls!);
  using after = Deno.createHttpClient({ caCerts: [other.tlsCa.certPem] });
  assert.equal(await (await fetch(set.url, { client: after })).text(), "done");
  finish.resolve();
  assert.equal(await (await slow).text(), "done");
});

Deno.test("a pair that cannot be used is refused, and the old one stays", async () => {
  await using set = await setUp();
  const { tls } = await (await TestCluster.create()).identity("Proxy");
  assert.throws(
    () => set.server.replaceCertificate({ keyPem: "nonsense", certPem: tls!.certPem }),
    BadParameter,
  );
  const { tls: another } = await set.cluster.identity("Proxy");
  assert.throws(
    () => set.server.replaceCertificate({ keyPem: another!.keyPem, certPem: tls!.certPem }),
    BadParameter,
    "the key of another certificate",
  );
  using client = Deno.createHttpClient({ caCerts: [set.cluster.tlsCa.certPem] });
  const response = await fetch(set.url, { client });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.throws(
    () => new WebServer(ANY_PORT, { keyPem: "x", certPem: "y" }, whoAmI),
    BadParameter,
  );
});

Deno.test("a client that never begins TLS is closed", async () => {
  await using set = await setUp({ limits: { handshakeMs: 20 } });
  await ended(await Deno.connect({ hostname: "127.0.0.1", port: set.server.addr.port }));
});

Deno.test("a client that never finishes its request's head is closed, however slowly it sends", async () => {
  await using set = await setUp({ limits: { idleMs: 60 } });
  const conn = await Deno.connectTls({
    hostname: "localhost",
    port: set.server.addr.port,
    caCerts: [set.cluster.tlsCa.certPem],
  });
  const dribble = (async () => {
    await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n"));
    for (;;) {
      await conn.write(new TextEncoder().encode("X: y\r\n"));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })().catch(() => {});
  await ended(conn);
  await dribble;
});

Deno.test("one address holds no more connections than it may, and gets room again", async () => {
  await using set = await setUp({ limits: { perAddress: 2 } });
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port: set.server.addr.port });
  const [first, second] = [await connect(), await connect()];
  await ended(await connect());
  first.close();
  second.close();
  using client = Deno.createHttpClient({ caCerts: [set.cluster.tlsCa.certPem] });
  for (;;) {
    const response = await fetch(set.url, { client }).catch(() => undefined);
    if (response) {
      await response.body?.cancel();
      break;
    }
  }
});
