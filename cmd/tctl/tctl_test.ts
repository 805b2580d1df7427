import assert from "node:assert/strict";
import { startAuth } from "../../lib/auth/mod.ts";
import { formatAddr } from "../../lib/base/net.ts";
import { run } from "../../lib/cli/program.ts";
import { loadConfig } from "../../lib/config/mod.ts";
import { hostUuid } from "../../lib/host/identity.ts";
import { parseCertificateLine } from "../../lib/sshwire/certificate.ts";
import { parseResources } from "../../lib/resources/codec.ts";
import { issuedIdentity } from "../teleport/host_identity.ts";
import { program } from "./program.ts";

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs tctl in this process, with what it writes kept. */
async function tctl(...argv: string[]): Promise<Result> {
  const written = { stdout: "", stderr: "" };
  const originals = { stdout: Deno.stdout.writeSync, stderr: Deno.stderr.writeSync };
  for (const name of ["stdout", "stderr"] as const) {
    Deno[name].writeSync = (bytes) => {
      written[name] += new TextDecoder().decode(bytes);
      return bytes.length;
    };
  }
  try {
    return { code: await run(program, argv), ...written };
  } finally {
    Deno.stdout.writeSync = originals.stdout;
    Deno.stderr.writeSync = originals.stderr;
  }
}

async function must(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await tctl(...argv);
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("tctl against an auth service of its own", async (t) => {
  const dir = await Deno.makeTempDir();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  await Deno.mkdir(`${dir}/data`);
  await Deno.writeTextFile(
    `${dir}/teleport.yaml`,
    `teleport: {nodename: auth-1, data_dir: ${dir}/data}
auth_service:
  cluster_name: main
  listen_addr: 127.0.0.1:${port}
  tokens: ["node:5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"]
proxy_service: {public_addr: proxy.example.com}
ssh_service: {enabled: no}
`,
  );
  const config = await loadConfig({ file: `${dir}/teleport.yaml` });
  const hostId = await hostUuid(config.dataDir);
  const c = `-c${dir}/teleport.yaml`;

  await t.step("before the first start it says where to run it", async () => {
    const { code, stderr } = await tctl("status", c);
    assert.equal(code, 1);
    assert.match(stderr, /no administrator's identity in .*first start/);
  });

  const auth = await startAuth({ config, hostId });
  const request = { role: "Admin", dataDir: config.dataDir, hostId, nodeName: "auth-1" } as const;
  await issuedIdentity(auth, { ...request, principals: [] });

  await t.step("status", async () => {
    const text = await must("status", c);
    assert.match(
      text,
      /^Cluster {2}main\nVersion {2}\S+\nUser CA {2}never updated\nHost CA {2}never updated\nCA pin {3}sha256:[0-9a-f]{64}\n$/,
    );
    const status = JSON.parse(await must("status", c, "--format=json"));
    assert.equal(status.cluster_name, "main");
    assert.match(await must("status", c, "--format=yaml"), /^cluster_name: main$/m);
  });

  await t.step("users add prints Teleport's text with the link", async () => {
    const text = await must("users", "add", "joe", "joe,root", c);
    assert.match(
      text,
      new RegExp(
        "^User joe has been created but requires a password\\. Share this URL with the user to " +
          "complete user setup, link is valid for 1h0m0s:\\n" +
          "https://proxy\\.example\\.com:3080/web/invite/[0-9a-f]{32}\\n\\n" +
          "NOTE: Make sure proxy\\.example\\.com:3080 points at a Teleport proxy which users can " +
          "access\\.\\n$",
      ),
    );
    assert.match(
      await must("users", "ls", c),
      /^User Allowed logins \n---- -+ \njoe {2}joe,root +\n$/,
    );
    const again = await tctl("users", "add", "joe", c);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^error: user "joe" already exists/);
  });

  await t.step("users add takes a ttl and roles, and speaks JSON", async () => {
    const json = JSON.parse(
      await must("users", "add", "ann", "--roles=admin", "--ttl=2h", "--format=json", c),
    );
    assert.equal(json.user, "ann");
    assert.match(json.url, /\/web\/invite\/[0-9a-f]{32}$/);
    assert.ok(Math.abs(Date.parse(json.expires) - Date.now() - 7_200_000) < 60_000);
    for (const ttl of ["0s", "soon", "-1h", "never"]) {
      assert.equal((await tctl("users", "add", "x", `--ttl=${ttl}`, c)).code, 2, ttl);
    }
    assert.equal((await tctl("users", "add", "x", "--ttl=49h", c)).code, 1);
    assert.equal((await tctl("users", "add", "x", "--k8s-users=a", c)).code, 2);
  });

  await t.step("users update, reset, rm", async () => {
    assert.match(
      await must("users", "update", "joe", "--set-logins=root", c),
      /User "joe" has been updated: roles admin; logins root/,
    );
    assert.equal((await tctl("users", "update", "joe", c)).code, 2);
    assert.match(
      await must("users", "reset", "joe", c),
      /link is valid for 8h0m0s:\nhttps:\/\/proxy\.example\.com:3080\/web\/reset\/[0-9a-f]{32}\n/,
    );
    assert.equal(
      await must("users", "rm", "joe,ann", c),
      'User "joe" has been deleted\nUser "ann" has been deleted\n',
    );
    assert.equal(await must("users", "ls", c), "No users found\n");
    assert.equal((await tctl("users", "del", "joe", c)).code, 1);
  });

  await t.step("nodes add prints the command to paste", async () => {
    const text = await must("nodes", "add", c);
    const pin = /sha256:[0-9a-f]{64}/.exec(await must("status", c))![0];
    const token = /The invite token: ([0-9a-f]{32})\n/.exec(text)![1]!;
    assert.equal(
      text,
      `The invite token: ${token}
This token will expire in 30 minutes

Run this on the new node to join the cluster:

> teleport start \\
   --roles=node \\
   --token=${token} \\
   --ca-pin=${pin} \\
   --auth-server=127.0.0.1:${port}

Please note:

  - This invitation token will expire in 30 minutes
  - 127.0.0.1:${port} must be reachable from the new node
`,
    );
    await must("tokens", "rm", token, c);
    assert.match(await must("nodes", "ls", c), /^Nodename UUID  ?Address Labels \n/);
  });

  await t.step(
    "tokens add, ls, rm; a static token never expires and cannot be removed",
    async () => {
      const json = JSON.parse(await must("tokens", "add", "--type=Proxy,node", "--format=json", c));
      assert.deepEqual(json.roles, ["proxy", "node"]);
      const text = await must("tokens", "ls", c);
      assert.match(text, /^Token +Type +Expiry Time \(UTC\) +\n/);
      assert.match(text, / Node +never +\n/);
      assert.match(text, /Proxy,Node +\d\d \w{3} \d\d \d\d:\d\d UTC \(59m\d+s\)/);
      assert.ok(!text.includes(json.token), "the token itself is said once");
      assert.equal(
        await must("tokens", "rm", json.token, c),
        `Token ${json.token} has been deleted\n`,
      );
      assert.equal((await tctl("tokens", "add", "--type=auth", c)).code, 1);
      assert.equal((await tctl("tokens", "rm", "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e", c)).code, 1);
    },
  );

  await t.step("create, get, create -f, rm", async () => {
    const file = `${dir}/role.yaml`;
    const role = (login: string) =>
      `kind: role\nversion: v3\nmetadata: {name: dev}\nspec:\n  allow:\n    logins: [${login}]\n`;
    await Deno.writeTextFile(file, role("ubuntu"));
    assert.equal(await must("create", file, c), 'role "dev" has been created\n');
    assert.match((await tctl("create", file, c)).stderr, /role "dev" already exists/);
    await Deno.writeTextFile(file, role("debian"));
    assert.equal(await must("create", "-f", file, c), 'role "dev" has been updated\n');
    const yaml = await must("get", "role/dev", c);
    const [parsed] = parseResources(yaml);
    assert.equal(parsed?.kind === "role" && parsed.spec.allow.logins[0], "debian");
    await Deno.writeTextFile(file, yaml);
    await must("create", "-f", file, c);
    const json = JSON.parse(await must("get", "roles", "--format=json", c));
    assert.equal(json.length, 2);
    assert.match(
      await must("get", "roles", "--format=text", c),
      /^Role +Allowed to login as +Node Labels +Access to resources +\n/,
    );
    assert.equal(await must("rm", "role/dev", c), 'role "dev" has been deleted\n');
    const missing = await tctl("get", "role/dev", c);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /role "dev" is not found/);
  });

  await t.step("a mistake in a file is named with its line and nothing is created", async () => {
    const file = `${dir}/two.yaml`;
    await Deno.writeTextFile(
      file,
      "kind: role\nversion: v3\nmetadata: {name: good}\nspec: {}\n---\n" +
        "kind: role\nversion: v3\nmetadata: {name: bad}\nspec:\n  allow:\n    loginz: [root]\n",
    );
    const { code, stderr } = await tctl("create", file, c);
    assert.equal(code, 1);
    assert.match(stderr, /two\.yaml: .*loginz.*line 11/);
    assert.equal((await tctl("get", "role/good", c)).code, 1);
  });

  await t.step("get all, and CA keys only when asked for", async () => {
    const all = await must("get", "all", c);
    assert.doesNotMatch(all, /PRIVATE KEY/);
    assert.ok(parseResources(all).some(({ kind }) => kind === "cert_authority"));
    assert.match(await must("get", "cas", "--with-secrets", c), /PRIVATE KEY/);
    assert.match(await must("get", "cas", "--format=text", c), /SHA256:.*\n.*SHA256:/);
    assert.match((await tctl("get", "rolez", c)).stderr, /did you mean 'role'/);
  });

  await t.step("auth export", async () => {
    assert.match(
      await must("auth", "export", "--type=user", c),
      /^cert-authority ssh-ed25519 \S+ clustername=main&type=user\n$/,
    );
    assert.match(
      await must("auth", "export", "--type=host", c),
      /^@cert-authority \*\.main ssh-ed25519 \S+ type=host\n$/,
    );
    assert.equal((await must("auth", "export", c)).trim().split("\n").length, 2);
    assert.match(await must("auth", "export", "--type=tls", c), /^-----BEGIN CERTIFICATE-----/);
    const print = await must("auth", "export", "--type=user", "--fingerprint", c);
    assert.match(print, /^SHA256:\S+\n$/);
    const same = await must("auth", "export", `--fingerprint=${print.trim()}`, c);
    assert.equal(same, await must("auth", "export", "--type=user", c));
    assert.equal((await tctl("auth", "export", "--fingerprint=SHA256:none", c)).code, 1);
    assert.match(await must("auth", "export", "--type=host", "--keys", c), /PRIVATE KEY/);
  });

  await t.step("auth sign writes files that only their owner can read", async () => {
    await must("users", "add", "ci", "ci", c);
    const private_ = (path: string) => assert.equal(Deno.statSync(path).mode! & 0o777, 0o600, path);
    const text = await must("auth", "sign", "--user=ci", "--ttl=40h", `--out=${dir}/ci.pem`, c);
    assert.equal(text, `\nThe credentials have been written to ${dir}/ci.pem\n`);
    private_(`${dir}/ci.pem`);
    assert.match(await Deno.readTextFile(`${dir}/ci.pem`), /@cert-authority \*\.main /);
    await must("auth", "sign", "--user=ci", "--format=openssh", `-o${dir}/ci`, c);
    private_(`${dir}/ci`);
    const line = await Deno.readTextFile(`${dir}/ci-cert.pub`);
    const certificate = parseCertificateLine(line.trim());
    assert.deepEqual([certificate.type, certificate.keyId], ["user", "ci"]);
    await must("auth", "sign", "--user=ci", "--format=tls", `-o${dir}/ci`, c);
    for (const end of ["key", "crt", "cas"]) private_(`${dir}/ci.${end}`);
    await must("auth", "sign", "--host=db,10.0.0.1", "--format=openssh", `-o${dir}/db`, c);
    private_(`${dir}/db`);
    const host = parseCertificateLine((await Deno.readTextFile(`${dir}/db-cert.pub`)).trim());
    assert.deepEqual([host.type, [...host.principals].sort()], ["host", ["10.0.0.1", "db"]]);
    assert.equal(
      (await tctl("auth", "sign", "--host=db", "--format=tls", `-o${dir}/x`, c)).code,
      2,
    );
    assert.equal((await tctl("auth", "sign", "--user=ci", c)).code, 2);
    assert.equal((await tctl("auth", "sign", `-o${dir}/x`, c)).code, 2);
    assert.equal((await tctl("auth", "sign", "--user=nobody", `-o${dir}/x`, c)).code, 1);
  });

  await t.step("a user's identity from a file is no administrator", async () => {
    const addr = `--auth-server=${formatAddr({ host: "127.0.0.1", port })}`;
    const { code, stderr } = await tctl("users", "ls", addr, `-i${dir}/ci.pem`, c);
    assert.equal(code, 1);
    assert.match(stderr, /^error: /);
    const copied = await tctl("status", addr, `-i${dir}/data/proc/admin`, c);
    assert.equal(copied.code, 0);
  });

  await t.step(
    "attack 54: an administrator does not talk to a server of another cluster",
    async () => {
      const { TestAuth, TestCluster } = await import("../../lib/host/test_cluster.ts");
      await using impostor = new TestAuth(await TestCluster.create());
      const { code, stderr } = await tctl("users", "ls", `--auth-server=${impostor.address}`, c);
      assert.equal(code, 1);
      assert.match(stderr, /unknown authority/);
      assert.deepEqual(impostor.calls, []);
    },
  );

  await auth.close({ drainMs: 100 });

  await t.step("when auth is away it says so in one line", async () => {
    const { code, stderr } = await tctl("status", c);
    assert.equal(code, 1);
    assert.match(stderr, /^error: cannot reach the auth service: .*teleport start.*\n$/);
    assert.equal(stderr.trim().split("\n").length, 1);
  });

  await Deno.remove(dir, { recursive: true });
});

Deno.test("every verb explains itself and has an example", async () => {
  for (const { name } of program.commands) {
    const { code, stdout } = await tctl(...name.split(" "), "--help");
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Usage: tctl ${name}`));
    if (name !== "version") assert.match(stdout, /Examples:/, name);
  }
});
