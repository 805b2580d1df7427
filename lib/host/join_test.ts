import assert from "node:assert/strict";
import type { ApiService } from "../api/service.ts";
import { AccessDenied, BadParameter, ConnectionProblem } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import { createTlsAuthority, describeCertificate } from "../cert/x509.ts";
import { formatCertificateLine } from "../sshwire/certificate.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import { join, type JoinOptions, readToken } from "./join.ts";
import { TestAuth, TestCluster } from "./test_cluster.ts";

const TOKEN = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

function options(o: Partial<JoinOptions>): JoinOptions {
  return {
    authServers: [],
    token: TOKEN,
    role: "Node",
    hostId: uuid(),
    nodeName: "node-1",
    ...o,
  };
}

/** What a genuine auth service does with a join. */
function joins(cluster: TestCluster): Pick<ApiService, "join"> {
  return {
    join: (params, { caller }) => {
      if (params.token !== TOKEN) {
        throw new AccessDenied(`can not join the cluster, the token is not valid`);
      }
      if (caller.kind !== "joining") throw new Error("unexpected caller");
      const certificate = cluster.hostCertificate(caller.key, params.role, params.host_id);
      return {
        host_id: params.host_id,
        certificate: formatCertificateLine(certificate),
        cluster_name: cluster.name,
        authorities: cluster.authorities,
        ...(params.tls_public_key ? { tls_certificate: cluster.tlsCa.certPem } : {}),
      };
    },
  };
}

/** The token was said to nobody: no call to join, and no parameter with it. */
function assertSilent(impostor: TestAuth): void {
  assert.ok(!impostor.methods().includes("join"), impostor.methods().join());
  assert.ok(!JSON.stringify(impostor.calls.map((call) => call.params)).includes(TOKEN));
}

Deno.test("join() with the right pin gives an identity for the key it made", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, joins(cluster));
  const hostId = uuid();
  const identity = await join(options({
    authServers: [auth.address],
    caPin: cluster.pin,
    hostId,
    dnsNames: ["node-1"],
  }));
  assert.equal(identity.hostId, hostId);
  assert.equal(identity.cluster, "main");
  assert.deepEqual(identity.certificate.key.blob, identity.key.publicKey.blob);
  assert.ok(identity.tls);
  assert.deepEqual(auth.methods(), ["authorities", "join"]);
});

Deno.test("join() tries the next auth server when the first is not there", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, joins(cluster));
  const nobody = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closed = `127.0.0.1:${(nobody.addr as Deno.NetAddr).port}`;
  nobody.close();
  const authServers = [closed, auth.address];
  assert.equal((await join(options({ authServers, caPin: cluster.pin }))).cluster, "main");
  await assert.rejects(
    join(options({ authServers: [closed], caPin: cluster.pin })),
    ConnectionProblem,
  );
});

Deno.test("join() without a pin and without known authorities says how to get the pin", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, joins(cluster));
  await assert.rejects(join(options({ authServers: [auth.address] })), (error: unknown) => {
    assert.ok(error instanceof BadParameter);
    assert.match(error.message, /tctl status.*--ca-pin/);
    return true;
  });
  assert.deepEqual(auth.calls, []);
});

Deno.test("join() without a pin goes on where that was asked for in so many words", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, joins(cluster));
  const identity = await join(options({ authServers: [auth.address], insecure: true }));
  assert.equal(identity.cluster, "main");
});

Deno.test("join() takes known authorities in place of a pin", async () => {
  const cluster = await TestCluster.create();
  await using auth = new TestAuth(cluster, joins(cluster));
  const known = { authServers: [auth.address], knownAuthorities: cluster.authorities };
  assert.equal((await join(options(known))).cluster, "main");
  const other = await TestCluster.create();
  await using impostor = new TestAuth(other, joins(other));
  await assert.rejects(join(options({ ...known, authServers: [impostor.address] })), AccessDenied);
  assertSilent(impostor);
});

for (const pin of ["", "sha256:", "sha256:12", "md5:00", "ca-pin-hash-goes-here"]) {
  Deno.test(`join() refuses the malformed pin "${pin}" before it connects`, async () => {
    await assert.rejects(
      join(options({ authServers: ["192.0.2.1:3025"], caPin: pin })),
      BadParameter,
    );
  });
}

Deno.test("attack 54: an impostor with authorities of its own never hears the token", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  await using impostor = new TestAuth(other, joins(other));
  await assert.rejects(
    join(options({ authServers: [impostor.address], caPin: cluster.pin })),
    /CA pin/,
  );
  assertSilent(impostor);
});

Deno.test("attack 54: showing the true cluster's authorities does not help an impostor", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  const key = generatePrivateKey();
  const hostKey = { key, certificate: other.hostCertificate(key.publicKey, "Auth") };
  await using impostor = new TestAuth(cluster, joins(cluster), { hostKey });
  await assert.rejects(
    join(options({ authServers: [impostor.address], caPin: cluster.pin })),
    /not told the token/,
  );
  assertSilent(impostor);
});

Deno.test("attack 54: a server with a bare key never hears the token", async () => {
  const cluster = await TestCluster.create();
  const hostKey = { key: generatePrivateKey() };
  await using impostor = new TestAuth(cluster, joins(cluster), { hostKey });
  await assert.rejects(
    join(options({ authServers: [impostor.address], caPin: cluster.pin })),
    /not told the token/,
  );
  assertSilent(impostor);
});

Deno.test("attack 54: a genuine node that plays the auth server never hears the token", async () => {
  const cluster = await TestCluster.create();
  const key = generatePrivateKey();
  const hostKey = { key, certificate: cluster.hostCertificate(key.publicKey, "Node") };
  await using impostor = new TestAuth(cluster, joins(cluster), { hostKey });
  await assert.rejects(
    join(options({ authServers: [impostor.address], caPin: cluster.pin })),
    /is a Node of the cluster/,
  );
  assertSilent(impostor);
});

Deno.test("attack 54: another SSH key in the pinned authority's resource is not believed", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  // The impostor's SSH authority beside the genuine X.509 one: the pin vouches for the key inside
  // the certificate, not for the one beside it.
  const mixed = cluster.authorities.map((authority) =>
    authority.spec.type === "host"
      ? {
        ...authority,
        spec: {
          ...authority.spec,
          checking_keys: other.authorities.find((a) => a.spec.type === "host")!.spec.checking_keys,
        },
      }
      : authority
  );
  const handlers = {
    ...joins(other),
    authorities: () => ({ cluster_name: "main", authorities: mixed }),
  };
  await using impostor = new TestAuth(other, handlers);
  await assert.rejects(
    join(options({ authServers: [impostor.address], caPin: cluster.pin })),
    AccessDenied,
  );
  assertSilent(impostor);
});

Deno.test("attack 54: an expired authority is refused although its pin is right", async () => {
  const cluster = await TestCluster.create();
  const long = Date.now() - 20 * 365 * 86_400_000;
  const expired = await createTlsAuthority({
    cluster: "main",
    type: "host",
    sshCaKey: cluster.hostCa.publicKey,
    nowMs: long,
  });
  assert.ok(describeCertificate(expired.certPem).notAfter.getTime() < Date.now());
  Object.assign(cluster, { tlsCa: expired });
  await using auth = new TestAuth(cluster, joins(cluster));
  await assert.rejects(
    join(options({ authServers: [auth.address], caPin: cluster.pin })),
    AccessDenied,
  );
  assertSilent(auth);
});

Deno.test("an impostor first in the list does not keep a host from its cluster", async () => {
  const cluster = await TestCluster.create();
  const other = await TestCluster.create();
  await using impostor = new TestAuth(other, joins(other));
  await using auth = new TestAuth(cluster, joins(cluster));
  const authServers = [impostor.address, auth.address];
  await join(options({ authServers, caPin: cluster.pin }));
  assertSilent(impostor);
});

Deno.test("a refused token is reported as the server says it, and not tried elsewhere", async () => {
  const cluster = await TestCluster.create();
  await using first = new TestAuth(cluster, joins(cluster));
  await using second = new TestAuth(cluster, joins(cluster));
  const authServers = [first.address, second.address];
  await assert.rejects(
    join(options({ authServers, caPin: cluster.pin, token: "0".repeat(32) })),
    { name: "AccessDenied", message: /the token is not valid/ },
  );
  assert.deepEqual(second.calls, []);
});

const WRONG_ANSWERS: [string, (cluster: TestCluster) => Pick<ApiService, "join">][] = [
  ["another key's certificate", (cluster) => ({
    join: (params, context) => {
      const key = generatePrivateKey().publicKey;
      return joins(cluster).join(params, {
        ...context,
        caller: { kind: "joining", key, remote: { host: "", port: 0 } },
      });
    },
  })],
  ["a certificate for another host", (cluster) => ({
    join: (params, context) => joins(cluster).join({ ...params, host_id: uuid() }, context),
  })],
  ["a certificate for another role", (cluster) => ({
    join: (params, context) => joins(cluster).join({ ...params, role: "Proxy" }, context),
  })],
];

for (const [what, handlers] of WRONG_ANSWERS) {
  Deno.test(`join() refuses ${what}`, async () => {
    const cluster = await TestCluster.create();
    await using auth = new TestAuth(cluster, handlers(cluster));
    await assert.rejects(
      join(options({ authServers: [auth.address], caPin: cluster.pin })),
      AccessDenied,
    );
  });
}

Deno.test("readToken() takes the token, or the file that holds it", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, `${TOKEN}\n`);
    assert.equal(await readToken(TOKEN), TOKEN);
    assert.equal(await readToken(path), TOKEN);
    await Deno.writeTextFile(path, "\n");
    await assert.rejects(readToken(path), BadParameter);
  } finally {
    await Deno.remove(path);
  }
  await assert.rejects(readToken(path), BadParameter);
});
