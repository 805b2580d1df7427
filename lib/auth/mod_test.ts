/** The auth role as a daemon starts it, over TCP and SSH, on a database file. */
import assert from "node:assert/strict";
import { ApiClient } from "../api/client.ts";
import { AUTH_API_SUBSYSTEM, JOIN_USER } from "../api/types.ts";
import { AccessDenied, BadParameter, ConnectionProblem } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { checkCertificate } from "../cert/check.ts";
import { hostIdentityOf, type HostRole } from "../cert/identity.ts";
import { issueHostCertificate, issueUserCertificate } from "../cert/issue.ts";
import type { Config } from "../config/types.ts";
import { connectSsh, type SshClient } from "../ssh/client.ts";
import { dialTcp } from "../ssh/stream.ts";
import { libcryptoGcm } from "../ssh/libcrypto.ts";
import { type Certificate, parseCertificateLine } from "../sshwire/certificate.ts";
import {
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
  type PrivateKey,
} from "../sshwire/keys.ts";
import { type AuthDaemon, startAuth } from "./mod.ts";
import { testNode } from "./testing.ts";

configureLog({ level: "off", format: "text" });

// Loads the library that lib/ssh keeps for the life of the process, before the first test.
libcryptoGcm("aes-128-gcm", new Uint8Array(16), "seal")?.free();

const CLUSTER = "test.example.com";
const AUTH_ID = "11111111-1111-4111-8111-111111111111";
const NODE_ID = "22222222-2222-4222-8222-222222222222";

function configIn(dataDir: string, clusterName = CLUSTER): Config {
  return {
    nodename: "Auth-1",
    dataDir,
    storage: { type: "libsql", path: `${dataDir}/backend/teleport.db` },
    auditEvents: [],
    auth: {
      enabled: true,
      clusterName,
      listenAddr: "127.0.0.1:0",
      publicAddrs: ["auth.example.com:3025"],
      tokens: [{ roles: ["Node"], value: "the-join-token" }],
      secondFactor: "otp",
      clientIdleTimeoutMs: 0,
      disconnectExpiredCert: true,
      keepAliveIntervalMs: 60_000,
      keepAliveCountMax: 3,
      sessionControlTimeoutMs: 120_000,
    },
  } as unknown as Config;
}

interface Credential {
  key: PrivateKey;
  certificate?: Certificate;
}

class Running {
  readonly #clients: SshClient[] = [];

  constructor(readonly dataDir: string, public daemon: AuthDaemon) {}

  /** Connects over SSH; checks that the server is an auth server. */
  async ssh(username: string, credential: Credential): Promise<SshClient> {
    const { hostname, port } = this.daemon.addr;
    const ssh = await connectSsh({
      stream: await dialTcp({ host: hostname, port }),
      username,
      credentials: [credential],
      verifyHost: ({ certificate }) => assert.ok(certificate),
    });
    this.#clients.push(ssh);
    return ssh;
  }

  async api(username: string, credential: Credential): Promise<ApiClient> {
    const channel = await (await this.ssh(username, credential)).subsystem(AUTH_API_SUBSYSTEM);
    return ApiClient.over(channel.stream);
  }

  /** As the daemon makes identities for its own services. */
  async host(role: HostRole, hostId = AUTH_ID): Promise<{ user: string; credential: Credential }> {
    const key = generatePrivateKey();
    const { certificate } = await this.daemon.issueHost({
      role,
      hostId,
      nodeName: "n",
      publicKey: key.publicKey,
      additionalPrincipals: [],
      dnsNames: [],
    });
    const credential = { key, certificate: parseCertificateLine(certificate) };
    return { user: `${hostId}.${CLUSTER}`, credential };
  }

  async admin(): Promise<ApiClient> {
    const { user, credential } = await this.host("Admin");
    return await this.api(user, credential);
  }

  auditEvents(): Record<string, unknown>[] {
    return Deno.readTextFileSync(`${this.dataDir}/log/events.log`).trimEnd().split("\n")
      .filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#clients.map((client) => client.closed));
    await this.daemon.close();
  }
}

async function withDaemon(body: (running: Running) => Promise<void>): Promise<void> {
  const dataDir = await Deno.makeTempDir();
  try {
    const daemon = await startAuth({ config: configIn(dataDir), hostId: AUTH_ID });
    const running = new Running(dataDir, daemon);
    try {
      await body(running);
    } finally {
      await running.close();
    }
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
}

Deno.test("the server's host certificate is that of an auth server of the cluster", () =>
  withDaemon(async (running) => {
    const { user, credential } = await running.host("Admin");
    const ssh = await running.ssh(user, credential);
    const { authorities } = await (await running.admin()).call("authorities", {});
    const keys = authorities.filter(({ spec }) => spec.type === "host")
      .flatMap(({ spec }) => spec.checking_keys.map((line) => parseAuthorizedKey(line).key));
    for (const principal of ["auth.example.com", "auth-1", "localhost", `${AUTH_ID}.${CLUSTER}`]) {
      const claims = hostIdentityOf(checkCertificate(ssh.hostCertificate!, {
        type: "host",
        authorities: [{ cluster: CLUSTER, type: "host", keys }],
        principal,
        nowMs: Date.now(),
      }));
      assert.deepEqual(claims.roles, ["Auth"]);
    }
  }));

Deno.test("callers are who their certificates say", () =>
  withDaemon(async (running) => {
    for (
      const [role, kind] of [["Admin", "admin"], ["Node", "node"], ["Proxy", "proxy"]] as const
    ) {
      const { user, credential } = await running.host(role);
      const { caller } = await (await running.api(user, credential)).call("ping", {});
      assert.equal(caller.kind, kind);
    }
    const joining = await running.api(JOIN_USER, { key: generatePrivateKey() });
    assert.equal((await joining.call("ping", {})).caller.kind, "joining");

    const admin = await running.admin();
    await admin.call("users.create", { name: "joe", logins: ["root"] });
    const key = generatePrivateKey();
    const { cert } = await admin.call("sign.user", {
      user: "joe",
      public_key: formatAuthorizedKey(key.publicKey),
    });
    const certificate = parseCertificateLine(cert);
    const user = await running.api("root", { key, certificate });
    assert.deepEqual((await user.call("ping", {})).caller, { kind: "user", name: "joe" });

    await assert.rejects(running.ssh("daemon", { key, certificate }), AccessDenied, "attack 8");
    await admin.call("users.delete", { name: "joe" });
    await assert.rejects(running.ssh("root", { key, certificate }), /does not exist any more/);
  }));

Deno.test("refused: bare keys, foreign authorities, wrong types and names (attacks 1, 2, 5, 53)", () =>
  withDaemon(async (running) => {
    const key = generatePrivateKey();
    const foreign = generatePrivateKey();
    const principal = `${AUTH_ID}.${CLUSTER}`;
    const common = {
      key: key.publicKey,
      keyId: "joe",
      validAfterMs: Date.now() - 60_000,
      validBeforeMs: Date.now() + 60_000,
    };
    const adminExtension = { "x-teleport-role": "Admin", "x-teleport-authority": CLUSTER };
    const forged = issueHostCertificate({
      ...common,
      ca: foreign,
      principals: [principal],
      extensions: adminExtension,
    });
    const forgedUser = issueUserCertificate({
      ...common,
      ca: foreign,
      principals: ["root"],
      extensions: {},
    });
    const { user, credential } = await running.host("Node");
    const { credential: auth } = await running.host("Auth", NODE_ID);
    const tries: [string, Credential][] = [
      ["root", { key }],
      [principal, { key }],
      [principal, { key, certificate: forged }],
      ["root", { key, certificate: forgedUser }],
      [JOIN_USER, { key, certificate: forged }],
      ["root", credential],
      ["localhost", credential],
      [`${NODE_ID}.${CLUSTER}`, credential],
      [`${NODE_ID}.${CLUSTER}`, auth],
      // Somebody else's certificate.
      [user, { key, certificate: credential.certificate! }],
    ];
    for (const [username, each] of tries) {
      await assert.rejects(
        running.ssh(username, each),
        (e: Error) => e instanceof AccessDenied || e instanceof BadParameter,
        `${username} ${each.certificate?.keyId}`,
      );
    }
    const failures = running.auditEvents().filter(({ event }) => event === "auth");
    assert.ok(failures.length >= 4);
    assert.ok(failures.every(({ code, success }) => code === "T3007W" && success === false));
  }));

Deno.test("nothing but the API is served", () =>
  withDaemon(async (running) => {
    const { user, credential } = await running.host("Admin");
    const ssh = await running.ssh(user, credential);
    for (const channel of [await ssh.shell(), await ssh.exec("echo served")]) {
      channel.stream.resume();
      channel.stderr.resume();
      assert.deepEqual(await channel.exited, { code: 255 });
    }
    await assert.rejects(ssh.subsystem("sftp"));
    await assert.rejects(ssh.directTcpip("127.0.0.1", 22));
    assert.equal(
      (await ApiClient.over((await ssh.subsystem(AUTH_API_SUBSYSTEM)).stream).call("ping", {}))
        .cluster_name,
      CLUSTER,
    );
  }));

Deno.test("a host joins with a token, comes back with its certificate, and is cut off when replaced", () =>
  withDaemon(async (running) => {
    const join = async (key: PrivateKey) => {
      const api = await running.api(JOIN_USER, { key });
      const answer = await api.call("join", {
        token: "the-join-token",
        host_id: NODE_ID,
        node_name: "db-1",
        role: "Node",
      });
      return { key, certificate: parseCertificateLine(answer.certificate) };
    };
    const first = await join(generatePrivateKey());
    const node = await running.api(`${NODE_ID}.${CLUSTER}`, first);
    await node.call("nodes.heartbeat", { node: testNode(NODE_ID, { addr: "0.0.0.0:3022" }) });
    const admin = await running.admin();
    const { nodes } = await admin.call("nodes.list", {});
    assert.equal(nodes[0]!.spec.addr, "127.0.0.1:3022");
    assert.deepEqual((await node.call("audit.emit", { events: [] })).rejected, []);

    await assert.rejects(join(generatePrivateKey()), /belongs to another host/);
    await admin.call("resources.delete", { kind: "node", name: NODE_ID });
    await join(generatePrivateKey());
    await assert.rejects(
      running.ssh(`${NODE_ID}.${CLUSTER}`, first),
      /another host has joined as/,
    );
  }));

Deno.test("state, authorities and audit log outlive a restart; another cluster name is refused", () =>
  withDaemon(async (running) => {
    const before = await (await running.admin()).call("status", {});
    await (await running.admin()).call("users.create", { name: "joe" });
    const watching = (await running.admin()).watch(["user"]);
    await watching.next();
    const broken = assert.rejects(async () => {
      for await (const _ of watching);
    }, ConnectionProblem);
    await running.close();
    await broken;
    await assert.rejects(
      startAuth({ config: configIn(running.dataDir, "other.example.com"), hostId: AUTH_ID }),
      /that of the cluster "test.example.com"/,
    );
    running.daemon = await startAuth({ config: configIn(running.dataDir), hostId: AUTH_ID });
    const admin = await running.admin();
    assert.deepEqual(await admin.call("status", {}), before);
    assert.equal((await admin.call("users.list", {})).users[0]!.metadata.name, "joe");
    assert.ok(running.auditEvents().some(({ event }) => event === "user.create"));
    const { resources: [config] } = await admin.call("resources.list", { kind: "cluster_config" });
    assert.deepEqual(config!.spec, {
      client_idle_timeout: "never",
      disconnect_expired_cert: true,
      keep_alive_interval: "1m0s",
      keep_alive_count_max: 3,
      session_control_timeout: "2m0s",
      session_recording: "node",
      proxy_checks_host_keys: true,
      recording_on_full: "refuse",
    });
  }));
