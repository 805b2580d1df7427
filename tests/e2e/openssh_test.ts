import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { eventually, must, run } from "../harness/run.ts";

Deno.test("stock OpenSSH as client and as target", async (t) => {
  await using cluster = await Cluster.separate();
  const joe = await cluster.enrol("joe");
  await joe.login();
  const dir = cluster.dir;
  const keys = `${joe.home}/.tsh/keys/localhost`;

  await t.step("ssh with the block of `tsh config` and strict host key checking", async () => {
    const ssh = ["ssh", ...await joe.sshArgs(), "root@node-1.main"];
    const result = await run([...ssh, "echo $SSH_TELEPORT_USER; exit 5"], { env: joe.env });
    assert.deepEqual([result.code, result.stdout], [5, "joe\n"], result.stderr);
  });

  const jump = async (): Promise<string[]> => {
    const { stdout } = await cluster.tctl(["auth", "export", "--type=host"]);
    await Deno.writeTextFile(`${dir}/known_hosts`, stdout);
    const common = [
      ...["IdentityFile " + `${keys}/joe`, `CertificateFile ${keys}/joe-cert.pub`],
      ...[`UserKnownHostsFile ${dir}/known_hosts`, "GlobalKnownHostsFile /dev/null"],
      ...["StrictHostKeyChecking yes", "BatchMode yes", "IdentitiesOnly yes"],
    ];
    await Deno.writeTextFile(
      `${dir}/jump_config`,
      [
        "Host proxy.main",
        ...["HostName 127.0.0.1", `Port ${cluster.ports.proxySsh}`, "HostKeyAlias proxy-1.main"],
        "User root",
        "Host node-*.main",
        "ProxyJump proxy.main",
        "Port 3022",
        "Host viaproxycommand.main",
        "HostKeyAlias node-1.main",
        `ProxyCommand ssh -F ${dir}/jump_config -s proxy.main proxy:node-1:0`,
        "Host *",
        ...common,
      ].join("\n") + "\n",
    );
    return ["-F", `${dir}/jump_config`];
  };

  await t.step("ssh by ProxyJump through the proxy to a node", async () => {
    const config = await jump();
    const result = await must(["ssh", ...config, "root@node-2.main", "echo $SSH_TELEPORT_USER"]);
    assert.equal(result.stdout, "joe\n");
  });

  await t.step("ssh by ProxyCommand with the proxy subsystem", async () => {
    const config = await jump();
    const result = await must([
      "ssh",
      ...config,
      "root@viaproxycommand.main",
      "echo $SSH_TELEPORT_USER",
    ]);
    assert.equal(result.stdout, "joe\n");
  });

  await t.step("a host that is not in the cluster's known_hosts line is refused", async () => {
    const config = await jump();
    await Deno.writeTextFile(`${dir}/known_hosts`, "");
    const result = await run(["ssh", ...config, "root@node-2.main", "true"]);
    assert.equal(result.code, 255);
    assert.match(result.stderr, /Host key verification failed|authenticity/);
  });

  await t.step("rsync there and back", async () => {
    await Deno.mkdir(`${dir}/src/sub`, { recursive: true });
    for (let i = 0; i < 50; i++) {
      await Deno.writeTextFile(`${dir}/src/sub/f ${i}`, `${i}\n`.repeat(i * 100));
    }
    const ssh = `ssh ${(await joe.sshArgs()).join(" ")}`;
    await joe.must(["rsync", "-a", "-e", ssh, `${dir}/src/`, `root@node-1.main:${dir}/rsync-up/`]);
    await joe.must([
      "rsync",
      "-a",
      "-e",
      ssh,
      `root@node-1.main:${dir}/rsync-up/`,
      `${dir}/rsync-down/`,
    ]);
    await must(["diff", "-r", `${dir}/src`, `${dir}/rsync-down`]);
  });

  await t.step("git clone and push", async () => {
    const env = {
      GIT_SSH_COMMAND: `ssh ${(await joe.sshArgs()).join(" ")}`,
      GIT_AUTHOR_NAME: "j",
      GIT_AUTHOR_EMAIL: "j@e",
      GIT_COMMITTER_NAME: "j",
      GIT_COMMITTER_EMAIL: "j@e",
    };
    await must(["git", "init", "-q", "--bare", `${dir}/repo.git`]);
    await joe.must(["git", "clone", "-q", `root@node-1.main:${dir}/repo.git`, `${dir}/clone`], {
      env,
    });
    const git = (...args: string[]) => joe.must(["git", "-C", `${dir}/clone`, ...args], { env });
    await Deno.writeTextFile(`${dir}/clone/a`, "a".repeat(1 << 20));
    await git("add", ".");
    await git("commit", "-qm", "a");
    await git("push", "-q", "origin", "HEAD:main");
    const pushed = await must(["git", "-C", `${dir}/repo.git`, "rev-parse", "main"]);
    assert.equal(pushed.stdout, (await git("rev-parse", "HEAD")).stdout);
  });

  await t.step(
    "a stock sshd with TrustedUserCAKeys and a signed host certificate is a target",
    async () => {
      const port = freePort();
      const { stdout } = await cluster.tctl(["auth", "export", "--type=user"]);
      await Deno.writeTextFile(`${dir}/user_ca.pub`, stdout.replace(/^cert-authority /, ""));
      await cluster.tctl([
        "auth",
        "sign",
        "--host=localhost,127.0.0.1",
        "--format=openssh",
        `--out=${dir}/sshd`,
      ]);
      await Deno.writeTextFile(
        `${dir}/sshd_config`,
        [
          `ListenAddress 127.0.0.1:${port}`,
          `HostKey ${dir}/sshd`,
          `HostCertificate ${dir}/sshd-cert.pub`,
          `TrustedUserCAKeys ${dir}/user_ca.pub`,
          "AuthorizedKeysFile none",
          "PasswordAuthentication no",
          "UsePAM no",
          "PermitRootLogin prohibit-password",
          `PidFile ${dir}/sshd.pid`,
          "StrictModes no",
        ].join("\n") + "\n",
      );
      await Deno.mkdir("/run/sshd", { recursive: true });
      const sshd = new Deno.Command("/usr/sbin/sshd", {
        args: ["-D", "-e", "-f", `${dir}/sshd_config`],
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        await eventually("sshd to listen", async () => {
          const conn = await Deno.connect({ hostname: "127.0.0.1", port });
          conn.close();
          return true;
        });
        const refused = await joe.tsh(["ssh", "-p", String(port), "root@localhost", "true"]);
        assert.notEqual(refused.code, 0, "loopback is not to be dialled unless allowed");
        assert.match(refused.stderr, /unregistered_targets|not allowed/);
        await cluster.daemon("proxy").stop();
        await cluster.start("proxy", ["proxy"], {
          nodename: "proxy-1",
          ports: cluster.ports,
          proxy: `unregistered_targets: ["localhost:${port}", "127.0.0.0/8:${port}"]`,
        });
        const result = await joe.tsh([
          "ssh",
          "-p",
          String(port),
          "root@localhost",
          "echo from sshd",
        ]);
        assert.equal(result.stdout, "from sshd\n", result.stderr);
      } finally {
        sshd.kill("SIGTERM");
        await sshd.status;
      }
    },
  );
});
