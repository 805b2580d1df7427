import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { bin, must, run } from "../harness/run.ts";

Deno.test("administration with tctl", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const dir = cluster.dir;

  await t.step("status", async () => {
    const { stdout } = await cluster.tctl(["status"]);
    assert.match(stdout, /^Cluster +main$/m);
    assert.match(stdout, /^User CA +never updated$/m);
    assert.match(stdout, /^CA pin +sha256:[0-9a-f]{64}$/m);
    const json = JSON.parse((await cluster.tctl(["status", "--format=json"])).stdout);
    assert.equal(json.cluster_name, "main");
  });

  await t.step("users add, ls, update, rm", async () => {
    const added = (await cluster.tctl(["users", "add", "joe", "joe,root"])).stdout;
    assert.match(added, /^User joe has been created but requires a password\. Share this URL/m);
    assert.match(added, /link is valid for 1h0m0s:/);
    assert.match((await cluster.tctl(["users", "ls"])).stdout, /^joe +joe,root/m);
    const again = await cluster.tryTctl(["users", "add", "joe"]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /user "joe" already exists/);
    const wrong = await cluster.tryTctl(["users", "update", "joe", "--set-roles=no-such-role"]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /no-such-role/);
    assert.match(
      (await cluster.tctl(["users", "rm", "joe"])).stdout,
      /User "joe" has been deleted/,
    );
    assert.equal((await cluster.tryTctl(["users", "rm", "joe"])).code, 1);
  });

  await t.step("tokens add, ls, rm", async () => {
    const token = await cluster.token("node,proxy");
    const { stdout } = await cluster.tctl(["tokens", "ls"]);
    assert.match(stdout, /^Token +Type +Expiry Time \(UTC\)/);
    assert.match(stdout, /\(59m\d+s\)|\(1h0m0s\)/);
    assert.match(
      (await cluster.tctl(["tokens", "rm", token])).stdout,
      new RegExp(`Token ${token} has been deleted`),
    );
    assert.match((await cluster.tctl(["tokens", "ls"])).stdout, /No active tokens found/);
  });

  await t.step("resources as YAML: create, get, create -f, rm", async () => {
    const role = (logins: string) =>
      `kind: role\nversion: v3\nmetadata:\n  name: dev\nspec:\n  allow:\n    logins: [${logins}]\n`;
    await Deno.writeTextFile(`${dir}/role.yaml`, role("ubuntu"));
    await cluster.tctl(["create", `${dir}/role.yaml`]);
    const twice = await cluster.tryTctl(["create", `${dir}/role.yaml`]);
    assert.match(twice.stderr, /role "dev" already exists/);
    await Deno.writeTextFile(`${dir}/role.yaml`, role("debian"));
    await cluster.tctl(["create", "-f", `${dir}/role.yaml`]);
    const yaml = (await cluster.tctl(["get", "role/dev"])).stdout;
    assert.match(yaml, /debian/);
    await Deno.writeTextFile(`${dir}/again.yaml`, yaml);
    await cluster.tctl(["create", "-f", `${dir}/again.yaml`]);
    const json = JSON.parse((await cluster.tctl(["get", "roles", "--format=json"])).stdout);
    assert.deepEqual(json.map((r: { metadata: { name: string } }) => r.metadata.name).sort(), [
      "admin",
      "dev",
    ]);
    await cluster.tctl(["rm", "role/dev"]);
    assert.equal((await cluster.tryTctl(["get", "role/dev"])).code, 1);
  });

  await t.step("a mistake in a resource is named with its line", async () => {
    await Deno.writeTextFile(
      `${dir}/typo.yaml`,
      "kind: role\nversion: v3\nmetadata: {name: typo}\nspec:\n  allow:\n    loginz: [root]\n",
    );
    const result = await cluster.tryTctl(["create", `${dir}/typo.yaml`]);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /loginz.*line 6/);
  });

  await t.step("CA keys are shown without secrets unless asked for", async () => {
    const { stdout } = await cluster.tctl(["get", "cert_authority", "--format=yaml"]);
    assert.ok(!stdout.includes("PRIVATE KEY"));
    const secret = await cluster.tctl(["get", "cert_authority", "--with-secrets"]);
    assert.match(secret.stdout, /PRIVATE KEY/);
  });

  await t.step("auth export gives lines that OpenSSH reads", async () => {
    for (
      const [type, pattern] of [["user", /^cert-authority ssh-ed25519 /], [
        "host",
        /^@cert-authority \*\.main/,
      ]] as const
    ) {
      const { stdout } = await cluster.tctl(["auth", "export", `--type=${type}`]);
      assert.match(stdout, pattern);
    }
    const print = (await cluster.tctl(["auth", "export", "--type=user", "--fingerprint"])).stdout;
    assert.match(print, /SHA256:/);
    const tls = (await cluster.tctl(["auth", "export", "--type=tls"])).stdout;
    await Deno.writeTextFile(`${dir}/ca.pem`, tls);
    await must(["openssl", "verify", "-CAfile", `${dir}/ca.pem`, `${dir}/ca.pem`]);
  });

  await t.step("auth sign makes an identity with which a pipeline works", async () => {
    await cluster.enrol("ci");
    await cluster.tctl(["auth", "sign", "--user=ci", "--ttl=1h", `--out=${dir}/identity`]);
    assert.equal((await Deno.stat(`${dir}/identity`)).mode! & 0o777, 0o600);
    const script = `set -e
${bin("tsh")} --proxy=${cluster.proxy} -i ${dir}/identity ls --format=names
${bin("tsh")} --proxy=${cluster.proxy} -i ${dir}/identity ssh root@node-1 id -un
${bin("tsh")} --proxy=${cluster.proxy} -i ${dir}/identity scp -q ${dir}/identity root@node-1:${dir}/copied
`;
    await Deno.mkdir(`${dir}/ci-home`);
    const { stdout } = await must(["sh", "-c", script], { env: { HOME: `${dir}/ci-home` } });
    assert.equal(stdout, "node-1\nroot\n");
    assert.deepEqual(
      [...Deno.readDirSync(`${dir}/ci-home`)],
      [],
      "the pipeline's home stays empty",
    );
  });

  await t.step("auth sign --format=openssh and tls", async () => {
    await cluster.tctl(["auth", "sign", "--user=ci", "--format=openssh", `--out=${dir}/ci`]);
    assert.match(
      (await must(["ssh-keygen", "-L", "-f", `${dir}/ci-cert.pub`])).stdout,
      /user certificate/,
    );
    await cluster.tctl(["auth", "sign", "--user=ci", "--format=tls", `--out=${dir}/ci`]);
    await must(["openssl", "verify", "-CAfile", `${dir}/ci.cas`, `${dir}/ci.crt`]);
  });

  await t.step(
    "without the right to read the admin identity the error says what to do",
    async () => {
      const result = await run([
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        bin("tctl"),
        "-c",
        cluster.authConfig,
        "status",
      ], {
        env: { HOME: "/tmp" },
      });
      assert.equal(result.code, 1);
      assert.match(result.stderr, /root|permission/i);
      assert.equal(result.stderr.trim().split("\n").length, 1, result.stderr);
    },
  );

  await t.step("attack 50: no secret reached the daemon's log", () => {
    assert.doesNotMatch(cluster.daemon("main").log, /PRIVATE KEY|correct horse/);
  });
});
