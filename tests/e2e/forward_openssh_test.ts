/** Forwarding by stock OpenSSH through the proxy: ports, the agent, X11; and what is refused. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { bothWays, BulkServer, largeBothWays } from "../harness/bulk.ts";
import { Cluster } from "../harness/cluster.ts";
import { exists } from "../harness/files.ts";
import { OsUser } from "../harness/os_user.ts";
import { canConnect, freePort } from "../harness/ports.ts";
import { eventually, must, run, type RunResult } from "../harness/run.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { XServer } from "../harness/x_server.ts";

const ROLE = (name: string, options: string, logins: string) =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  options: {${options}}
  allow: {logins: [${logins}], node_labels: {'*': '*'}}
`;

Deno.test("stock OpenSSH forwards through the proxy", async (t) => {
  await using account = await OsUser.add("/bin/bash");
  await using cluster = await Cluster.separate({ secondFactor: "off", nodes: ["node-1"] });
  const node = cluster.daemon("node-1");
  await Deno.writeTextFile(
    `${cluster.dir}/roles.yaml`,
    [
      ROLE("lender", "forward_agent: true, permit_x11_forwarding: true", `root, ${account.name}`),
      ROLE("nothing", "port_forwarding: false", "root"),
    ].join("---\n"),
  );
  await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
  const joe = await cluster.personWith("joe", "lender");
  const ssh = ["ssh", ...await joe.sshArgs()];
  const host = "root@node-1.main";
  const filesBefore = openFiles(node.pid);

  await t.step("-L: half-closed both ways, and bulk both ways", async () => {
    await using server = new BulkServer();
    const port = freePort();
    await using _ = await Background.start(
      [
        ...[...ssh, "-N", "-L", `${port}:127.0.0.1:${server.port}`, host],
      ],
      joe.env,
      () => canConnect(port),
    );
    await bothWays(port, server);
    await largeBothWays(port);
  });

  await t.step("-R: the node chooses the port, half-closed and bulk both ways", async () => {
    await using server = new BulkServer();
    await using forward = await Background.start(
      [...ssh, "-N", "-R", `0:127.0.0.1:${server.port}`, host],
      joe.env,
      (said) => /Allocated port \d+/.test(said),
    );
    const port = Number(/Allocated port (\d+)/.exec(forward.said)![1]);
    await bothWays(port, server);
    await largeBothWays(port);
    await forward[Symbol.asyncDispose]();
    await eventually("the node to stop listening", async () => !await canConnect(port));
  });

  await t.step("-D: curl through the node, by address and by name", async () => {
    const web = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response("from behind the node\n"),
    );
    const port = freePort();
    await using _ = await Background.start(
      [...ssh, "-N", "-D", String(port), host],
      joe.env,
      () => canConnect(port),
    );
    for (const name of ["127.0.0.1", "localhost"]) {
      const { stdout } = await must([
        ...["curl", "-sS", "--noproxy", "", "--socks5-hostname", `127.0.0.1:${port}`],
        `http://${name}:${web.addr.port}/`,
      ]);
      assert.equal(stdout, "from behind the node\n");
    }
    await web.shutdown();
  });

  await t.step("a thousand connections at once through one -L", async () => {
    await using server = new BulkServer();
    const port = freePort();
    await using _ = await Background.start(
      [...ssh, "-N", "-L", `${port}:127.0.0.1:${server.port}`, host],
      joe.env,
      () => canConnect(port),
    );
    const conns: Deno.TcpConn[] = [];
    // In batches: the kernel's queue of connections is short.
    while (conns.length < 1000) {
      const batch = Array.from({ length: 100 }, () => Deno.connect({ port }));
      conns.push(...await Promise.all(batch));
    }
    await eventually("all to have arrived", () => server.openCount === 1000);
    const answers = await Promise.all(conns.map(async (conn, i) => {
      await conn.write(new TextEncoder().encode(`echo ${i}`));
      await conn.closeWrite();
      return await new Response(conn.readable).text();
    }));
    assert.deepEqual(answers, conns.map((_, i) => `echo ${i}`));
  });

  await t.step("-A: the agent in the session, at a socket of the OS user's alone", async () => {
    await using agent = await SshAgent.start(cluster.dir);
    const publicKey = await agent.addNewKey();
    const env = { ...joe.env, ...agent.env };
    const command = 'ssh-add -L; stat -c "%A %U" $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK';
    const { stdout } = await must(
      [...ssh, "-A", `${account.name}@node-1.main`, command],
      { env },
    );
    const [key, mode, path] = stdout.trim().split("\n");
    assert.equal(key, publicKey);
    assert.equal(mode, `srw------- ${account.name}`);
    await eventually("the socket to go with the session", () => !exists(path!));
    const without = await must([...ssh, host, "echo [$SSH_AUTH_SOCK]"], { env });
    assert.equal(without.stdout, "[]\n");
  });

  await t.step(
    "-X and -Y: a program of X11 on the node shows on the client's display",
    async () => {
      await using x = await XServer.start(joe.home);
      const env = { ...joe.env, ...x.env };
      for (const flag of ["-X", "-Y"]) {
        const login = `${account.name}@node-1.main`;
        const { stdout, stderr } = await must(
          [...ssh, flag, login, "echo $DISPLAY; xdpyinfo; xauth list"],
          { env },
        );
        assert.match(stdout, /^localhost:\d+\.0$/m, stderr);
        assert.match(stdout, /^number of screens: +1$/m, stderr);
        assert.match(stdout, /\/unix:\d+ +MIT-MAGIC-COOKIE-1 +[0-9a-f]{32}/);
      }
      await eventually("the cookies to go with their sessions", async () => {
        const { stdout } = await must(["xauth", "-q", "-f", `${account.home}/.Xauthority`, "list"]);
        return stdout === "";
      });
      const events = await eventsOf(cluster, "x11-forward", 2);
      assert.deepEqual(events.map((e) => [e["code"], e["success"], e["login"]]), [
        ["T3008I", true, account.name],
        ["T3008I", true, account.name],
      ]);
    },
  );

  await t.step("without a role for it nothing is forwarded; why is said and audited", async () => {
    const ann = await cluster.personWith("ann", "nothing");
    const ssh = ["ssh", ...await ann.sshArgs()];
    await using x = await XServer.start(ann.home);
    await using agent = await SshAgent.start(cluster.dir);
    const port = freePort();
    const stdio = await run([...ssh, "-W", `127.0.0.1:${port}`, host], { env: ann.env });
    assert.notEqual(stdio.code, 0);
    assert.match(
      stdio.stderr,
      /administratively prohibited: no role of user "ann" permits port forwarding/,
    );
    const remote = await run(
      [...ssh, "-o", "ExitOnForwardFailure=yes", "-R", `${port}:127.0.0.1:1`, host, "true"],
      { env: ann.env },
    );
    assert.equal(remote.code, 255);
    assert.match(remote.stderr, /remote port forwarding failed/);
    const lent: RunResult = await run([...ssh, "-A", "-Y", host, "echo [$SSH_AUTH_SOCK$DISPLAY]"], {
      env: { ...ann.env, ...x.env, ...agent.env },
    });
    assert.equal(lent.stdout, "[]\n");
    assert.match(lent.stderr, /^agent forwarding is refused: no role of user "ann" permits/m);
    assert.match(lent.stderr, /^X11 forwarding request failed/m);
    assert.match(lent.stderr, /^X11 forwarding is refused: no role of user "ann" permits/m);
    const ports = (await eventsOf(cluster, "port", 2, "T3003E")).filter((e) => e["user"] === "ann");
    assert.deepEqual(ports.map((e) => [e["addr"], e["direction"], e["success"]]), [
      [`127.0.0.1:${port}`, "local", false],
      [`127.0.0.1:${port}`, "remote", false],
    ]);
    const [x11] = await eventsOf(cluster, "x11-forward", 1, "T3008W");
    assert.match(String(x11!["error"]), /no role of user "ann" permits X11 forwarding/);
    const auth = await eventsOf(cluster, "auth", 1, "T3007W");
    assert.match(String(auth[0]!["error"]), /^agent forwarding is refused/);
  });

  await t.step("a node that is not root's lends to its own account, -L, -A and -X", async () => {
    await Deno.chmod(cluster.dir, 0o755);
    await cluster.startNode("plain", {
      teleport: `auth_token: ${await cluster.token("node")}\n  ca_pin: "${await cluster.caPin()}"`,
      as: account.name,
    });
    await using agent = await SshAgent.start(cluster.dir);
    const key = await agent.addNewKey();
    await using x = await XServer.start(joe.home);
    const lent = await eventually("the node to be known", async () => {
      const result = await run(
        [
          ...[...ssh, "-A", "-Y", "-o", "SetEnv=LC_ALL=C", `${account.name}@plain.main`],
          'ssh-add -L; xdpyinfo | head -1; stat -c "%A %U" $SSH_AUTH_SOCK',
        ],
        { env: { ...joe.env, ...x.env, SSH_AUTH_SOCK: agent.socket } },
      );
      return result.code === 0 && result;
    });
    assert.match(lent.stdout, /^name of display: +localhost:\d+\.0$/m, lent.stderr);
    assert.ok(lent.stdout.startsWith(`${key}\n`), lent.stdout);
    assert.match(lent.stdout, new RegExp(`^srw------- ${account.name}$`, "m"));
    await using server = new BulkServer();
    const stdio = await must(
      [...ssh, "-W", `127.0.0.1:${server.port}`, `${account.name}@plain.main`],
      { env: joe.env, stdin: "echo" },
    );
    assert.equal(stdio.stdout, "echo");
  });

  await t.step("targets that hang hold nothing when the client is gone", async () => {
    // Connections are made by the kernel, and nobody reads.
    using hung = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const port = freePort();
    const before = openFiles(node.pid);
    const conns: Deno.TcpConn[] = [];
    {
      await using _ = await Background.start(
        [...ssh, "-N", "-L", `${port}:127.0.0.1:${hung.addr.port}`, host],
        joe.env,
        () => canConnect(port),
      );
      for (let i = 0; i < 50; i++) {
        const conn = await Deno.connect({ port });
        await conn.write(new Uint8Array(64 * 1024));
        conns.push(conn);
      }
      await eventually("the node to have dialled", () => openFiles(node.pid) >= before + 50);
    }
    for (const conn of conns) conn.close();
    await eventually("the node to hang up", () => openFiles(node.pid) <= before + 5);
  });

  await t.step("the node has let go of everything", async () => {
    // A little room for what a daemon opens in its life by itself.
    await eventually("its files to be closed", () => openFiles(node.pid) <= filesBefore + 5);
  });

  await t.step("-A: what a killed node leaves is removed at its next start", async () => {
    await using agent = await SshAgent.start(cluster.dir);
    const env = { ...joe.env, ...agent.env };
    await using session = await Background.start(
      [...ssh, "-A", host, "echo $SSH_AUTH_SOCK; sleep 1000"],
      env,
      (said) => said.includes("/agent.sock"),
    );
    const path = /\S+agent\.sock/.exec(session.said)![0];
    assert.ok(exists(path));
    await node.stop("SIGKILL");
    assert.ok(exists(path));
    await cluster.restart("node-1");
    assert.ok(!exists(path));
  });
});

async function eventsOf(
  cluster: Cluster,
  name: string,
  count: number,
  code?: string,
): Promise<Record<string, unknown>[]> {
  return await eventually(`${count} × ${name}`, async () => {
    const found = (await cluster.events())
      .filter((e) => e["event"] === name && (code === undefined || e["code"] === code));
    return found.length >= count && found;
  });
}

function openFiles(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}
