import assert from "node:assert/strict";
import type { ApiService } from "../api/service.ts";
import type { WatchEvent } from "../api/types.ts";
import { Backoff } from "../base/backoff.ts";
import { AccessDenied } from "../base/errors.ts";
import { loadConfig } from "../config/mod.ts";
import { AuthConnection } from "../host/auth_connection.ts";
import { TestAuth, TestCluster } from "../host/test_cluster.ts";
import { connectSsh } from "../ssh/client.ts";
import { dialTcp, readAll } from "../ssh/stream.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import { type ProxyService, startProxy } from "./service.ts";
import { node } from "./test_nodes.ts";

const NODE = node("node-1", { addr: "10.0.0.1:3022" });

function handlers(cluster: TestCluster): Partial<ApiService> {
  return {
    async *watch(kinds, { signal }) {
      const authorities = cluster.authorities.map((resource): WatchEvent => ({
        type: "put",
        resource,
      }));
      if (kinds.includes("session")) {
        yield [{ type: "init" }];
      } else {
        assert.ok(kinds.includes("node"));
        yield [...authorities, { type: "put", resource: NODE }, { type: "init" }];
      }
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    ping: () => ({
      cluster_name: "main",
      server_version: "0",
      caller: { kind: "proxy", name: "p" },
      second_factor: "off",
    }),
    "proxies.heartbeat": () => ({ expires: "2030-01-01T00:00:00Z" }),
    "audit.emit": () => ({ rejected: [] }),
    "auth.login": () => {
      throw new AccessDenied("invalid username, password or second factor");
    },
  };
}

interface Running extends AsyncDisposable {
  proxy: ProxyService;
  dataDir: string;
  /** HTTPS client that trusts the cluster's authority and nobody else. */
  get(path: string, init?: RequestInit): Promise<Response>;
}

async function start(
  cluster: TestCluster,
  authServer: string,
  o: { dataDir?: string; proxy?: string } = {},
): Promise<Running> {
  const dataDir = o.dataDir ?? await Deno.makeTempDir();
  const config = await loadConfig({
    configString: btoa(
      `teleport: {nodename: proxy-1, data_dir: ${dataDir}, auth_servers: ["${authServer}"]}
proxy_service:
  listen_addr: 127.0.0.1:0
  web_listen_addr: 127.0.0.1:0
  public_addr: proxy.example.com
  ${o.proxy ?? ""}
auth_service: {enabled: no}
ssh_service: {enabled: no}
`,
    ),
  });
  const identity = await cluster.identity("Proxy");
  const auth = new AuthConnection({
    authServers: [authServer],
    identity: () => identity,
    authorities: () => cluster.trusted("host"),
    backoff: new Backoff({ minMs: 1, maxMs: 5 }),
  });
  const proxy = await startProxy({ config, identity: () => identity, auth }).catch(
    async (error) => {
      await auth.close();
      await Deno.remove(dataDir, { recursive: true });
      throw error;
    },
  );
  const client = Deno.createHttpClient({ caCerts: [cluster.tlsCa.certPem] });
  return {
    proxy,
    dataDir,
    get: (path, init = {}) =>
      fetch(`https://localhost:${proxy.webAddr.port}${path}`, { ...init, client }),
    [Symbol.asyncDispose]: async () => {
      client.close();
      await proxy.close({ drainMs: 100 });
      await auth.close();
      if (!o.dataDir) await Deno.remove(dataDir, { recursive: true });
    },
  };
}

async function sites(cluster: TestCluster, proxy: ProxyService): Promise<string> {
  const key = generatePrivateKey();
  const client = await connectSsh({
    stream: await dialTcp({ host: "127.0.0.1", port: proxy.sshAddr.port }),
    username: "joe",
    credentials: [{ key, certificate: cluster.userCertificate(key.publicKey) }],
    verifyHost: () => {},
  });
  const channel = await client.subsystem("proxysites");
  const text = (await readAll(channel.stream)).toString();
  client.close();
  return text;
}

Deno.test("startProxy() serves SSH, and HTTPS with a certificate of the cluster's authority", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, handlers(cluster));
  await using running = await start(cluster, auth.address);
  await running.proxy.ready;
  const ping = await (await running.get("/webapi/ping")).json();
  assert.equal(ping.auth.second_factor, "off");
  assert.equal(ping.cluster_name, "main");
  assert.equal(ping.proxy.ssh.public_addr, "proxy.example.com:3080");
  assert.equal(ping.proxy.ssh.listen_addr, `127.0.0.1:${running.proxy.sshAddr.port}`);
  assert.match(await sites(cluster, running.proxy), /"status":"online"/);
});

Deno.test("the proxy announces itself with its public address", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, handlers(cluster));
  await using running = await start(cluster, auth.address);
  await running.proxy.ready;
  const call = auth.calls.find(({ method }) => method === "proxies.heartbeat");
  const { proxy } = call?.params as { proxy: { spec: Record<string, unknown> } };
  assert.equal(proxy.spec.public_addr, "proxy.example.com:3080");
  assert.equal(proxy.spec.addr, `127.0.0.1:${running.proxy.sshAddr.port}`);
  assert.equal(proxy.spec.hostname, "proxy-1");
});

Deno.test("a login goes to the auth service as the proxy's call, with the client's address", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, handlers(cluster));
  await using running = await start(cluster, auth.address);
  const response = await running.get("/webapi/ssh/certs", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user: "joe", password: "x", pub_key: btoa("ssh-ed25519 AAAA"), ttl: 0 }),
  });
  assert.equal(response.status, 403);
  assert.deepEqual(await response.json(), {
    error: { code: "access_denied", message: "invalid username, password or second factor" },
  });
  const call = auth.calls.find(({ method }) => method === "auth.login");
  assert.equal(call?.caller.kind, "proxy");
  assert.match((call?.params as { client_addr: string }).client_addr, /^127\.0\.0\.1:\d+$/);
});

Deno.test("a proxy that starts while auth is away serves from what it knew", async () => {
  const cluster = await TestCluster.create();
  const dataDir = await Deno.makeTempDir();
  try {
    const auth = new TestAuth(cluster, handlers(cluster));
    {
      await using running = await start(cluster, auth.address, { dataDir });
      await running.proxy.ready;
    }
    const { address } = auth;
    await auth[Symbol.asyncDispose]();
    await using running = await start(cluster, address, { dataDir });
    await running.proxy.ready;
    assert.match(await sites(cluster, running.proxy), /"status":"offline"/);
    const login = await running.get("/webapi/ssh/certs", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ user: "joe", password: "x", pub_key: btoa("ssh-ed25519 AAAA") }),
    });
    assert.equal(login.status, 502);
    assert.match((await login.json()).error.message, /auth service is away/);
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
});

Deno.test("https_key_file and https_cert_file take the place of the cluster's certificate", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create("other");
  const directory = await Deno.makeTempDir();
  try {
    const { tls } = await other.identity("Proxy");
    await Deno.writeTextFile(`${directory}/key.pem`, tls!.keyPem);
    await Deno.writeTextFile(`${directory}/cert.pem`, tls!.certPem);
    await using auth = new TestAuth(cluster, handlers(cluster));
    const files = `https_key_file: ${directory}/key.pem\n  https_cert_file: ${directory}/cert.pem`;
    await using running = await start(cluster, auth.address, { proxy: files });
    await assert.rejects(running.get("/webapi/find"), TypeError);
    using client = Deno.createHttpClient({ caCerts: [other.tlsCa.certPem] });
    const url = `https://localhost:${running.proxy.webAddr.port}/webapi/find`;
    assert.equal((await (await fetch(url, { client })).json()).cluster_name, "main");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

for (
  const [what, files, message] of [
    [
      "a missing file",
      "https_key_file: /nonexistent/k\n  https_cert_file: /nonexistent/c",
      /https_key_file/,
    ],
    [
      "a file that is no PEM",
      "https_key_file: /etc/hostname\n  https_cert_file: /etc/hostname",
      /PEM/,
    ],
  ] as const
) {
  Deno.test(`${what} for HTTPS keeps the proxy from starting, and is named`, async () => {
    const cluster = await TestCluster.create();
    await using auth = new TestAuth(cluster, handlers(cluster));
    await assert.rejects(start(cluster, auth.address, { proxy: files }), message);
  });
}
