/** Forwarding by tsh: ports, SOCKS, the agent, X11, escapes; what fails, and with which status. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { bothWays, BulkServer, largeBothWays } from "../harness/bulk.ts";
import { Cluster } from "../harness/cluster.ts";
import { canConnect, freePort } from "../harness/ports.ts";
import { bin, eventually, must, run } from "../harness/run.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { Terminal } from "../harness/terminal.ts";
import { XServer } from "../harness/x_server.ts";

const ROLE = (name: string, options: string) =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  options: {${options}}
  allow: {logins: [root], node_labels: {'*': '*'}}
`;

const host = "root@node-1";

Deno.test("tsh ssh forwards", async (t) => {
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1", "node-2"],
  });
  await Deno.writeTextFile(
    `${cluster.dir}/roles.yaml`,
    [
      ROLE("lender", "forward_agent: true, permit_x11_forwarding: true"),
      ROLE("nothing", "port_forwarding: false"),
    ].join("---\n"),
  );
  await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
  const joe = await cluster.personWith("joe", "lender");

  /** `tsh ssh` with port forwards whose ports are chosen; the ports in their order. */
  const forwarding = async (...args: string[]) => {
    const count = args.filter((arg) => /^-[LRD]$/.test(arg)).length;
    const program = await Background.start(
      [bin("tsh"), "ssh", ...args, host],
      joe.env,
      (said) => said.match(/^Allocated port \d+/gm)?.length === count,
    );
    const ports = [...program.said.matchAll(/^Allocated port (\d+)/gm)].map(([, port]) =>
      Number(port)
    );
    return { program, ports: ports as [number, ...number[]] };
  };

  await t.step("-L and -R: half-closed both ways, and bulk both ways", async () => {
    await using server = new BulkServer();
    const { program, ports } = await forwarding(
      ...["-N", "-L", `0:127.0.0.1:${server.port}`, "-R", `0:localhost:${server.port}`],
    );
    await using _ = program;
    for (const port of ports) {
      await bothWays(port, server);
      await largeBothWays(port);
    }
  });

  await t.step("-D: curl by SOCKS 5, 4a and 4, and what the node cannot reach", async () => {
    const web = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response("from behind the node\n"),
    );
    const { program, ports: [port] } = await forwarding("-N", "-D", "0");
    await using _ = program;
    for (
      const [flag, name] of [
        ["--socks5-hostname", "localhost"],
        ["--socks5", "127.0.0.1"],
        ["--socks4a", "localhost"],
        ["--socks4", "127.0.0.1"],
      ] as const
    ) {
      const { stdout } = await must([
        ...["curl", "-sS", "--noproxy", "", flag, `127.0.0.1:${port}`],
        `http://${name}:${web.addr.port}/`,
      ]);
      assert.equal(stdout, "from behind the node\n");
    }
    await web.shutdown();
    const refused = await run([
      ...["curl", "-sS", "--noproxy", "", "--socks5-hostname", `127.0.0.1:${port}`],
      `http://localhost:${freePort()}/`,
    ]);
    assert.equal(refused.code, 97);
    await eventually("the reason", () => /-D localhost:0: cannot connect to/.test(program.said));
  });

  await t.step("a thousand connections at once through one -L", async () => {
    await using server = new BulkServer();
    const { program, ports: [port] } = await forwarding(
      ...["-N", "-L", `0:127.0.0.1:${server.port}`],
    );
    await using _ = program;
    const conns: Deno.TcpConn[] = [];
    // In batches: more than the kernel's queue of connections holds would come seconds later.
    while (conns.length < 1000) {
      const batch = Array.from({ length: 100 }, () => Deno.connect({ port }));
      conns.push(...await Promise.all(batch));
      await eventually("the batch to arrive", () => server.openCount === conns.length);
    }
    const answers = await Promise.all(conns.map(async (conn, i) => {
      await conn.write(new TextEncoder().encode(`echo ${i}`));
      await conn.closeWrite();
      return await new Response(conn.readable).text();
    }));
    assert.deepEqual(answers, conns.map((_, i) => `echo ${i}`));
  });

  await t.step("-N stays until Ctrl-C, and ends with ssh's status", async () => {
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "-N", "-L", "0:localhost:1", host],
      { dir: cluster.dir, env: joe.env },
    );
    try {
      const [, port] = await terminal.shows(/Allocated port (\d+)/);
      await terminal.press("C-c");
      await terminal.shows(/\[ended with status 255\]/);
      assert.equal(await canConnect(Number(port)), false);
    } finally {
      await terminal.close();
    }
  });

  await t.step("--local runs the command here while the port is forwarded", async () => {
    await using server = new BulkServer();
    const port = freePort();
    const script = `exec 3<>/dev/tcp/127.0.0.1/${port}; printf quiet >&3; cat <&3; ` +
      'echo "[$SSH_CONNECTION]"; exit 7';
    const result = await joe.tsh([
      ...["ssh", "--local", "-L", `${port}:localhost:${server.port}`, host, "bash", "-c", script],
    ], { env: { SSH_CONNECTION: "" } });
    assert.deepEqual([result.code, result.stdout, result.stderr], [7, "[]\n", ""]);
  });

  await t.step("after the command tsh waits for the connections that are open", async () => {
    await using server = new BulkServer();
    const { program, ports: [port] } = await forwarding(
      ...["-n", "-L", `0:127.0.0.1:${server.port}`, host, "sh", "-c", "'sleep 1; exit 3'", "#"],
    );
    await using _ = program;
    const conn = await Deno.connect({ port });
    await conn.write(new TextEncoder().encode("echo still"));
    await eventually("the wait", () => /Waiting for 1 forwarded/.test(program.said));
    await eventually("the listening to end", async () => !await canConnect(port));
    await conn.closeWrite();
    assert.equal(await new Response(conn.readable).text(), "echo still");
    assert.equal((await program.status).code, 3);
  });

  await t.step("-A: the agent in the session, and never without", async () => {
    await using agent = await SshAgent.start(cluster.dir);
    const publicKey = await agent.addNewKey();
    const { env } = agent;
    const keys = await joe.tsh(["ssh", "-A", host, "ssh-add", "-L"], { env });
    assert.deepEqual([keys.stdout.trim(), keys.stderr], [publicKey, ""]);
    const asked = "echo [$SSH_AUTH_SOCK]";
    assert.equal((await joe.tsh(["ssh", host, asked], { env })).stdout, "[]\n");
    const option = await joe.tsh(["ssh", "-o", "ForwardAgent=yes", host, asked], { env });
    assert.match(option.stdout, /^\[\/.*\]$/m);
    const gone = { SSH_AUTH_SOCK: `${cluster.dir}/nobody.sock` };
    const without = await joe.tsh(["ssh", "-A", host, asked], { env: gone });
    assert.deepEqual([without.code, without.stdout], [0, "[]\n"]);
    assert.match(without.stderr, /agent is not forwarded: .*nobody\.sock.* cannot be reached/);
  });

  await t.step("-X and -Y: programs of the node on the display here", async () => {
    await using x = await XServer.start(joe.home);
    for (const flag of ["-X", "-Y"]) {
      const shown = await joe.tsh(
        ["ssh", flag, host, "echo $DISPLAY; xdpyinfo; xauth -q list $DISPLAY"],
        { env: x.env },
      );
      assert.match(shown.stdout, /^localhost:\d+\.0$/m, shown.stderr);
      assert.match(shown.stdout, /^number of screens: +1$/m, shown.stderr);
      const cookie = /MIT-MAGIC-COOKIE-1 +([0-9a-f]{32})/.exec(shown.stdout)?.[1];
      assert.ok(cookie, shown.stdout);
      const own = await must(["xauth", "-q", "-f", x.env["XAUTHORITY"]!, "list"]);
      assert.doesNotMatch(own.stdout, new RegExp(cookie));
    }
    // Whoever finds the port on the node and has no cookie gets nowhere.
    const stranger = await joe.tsh(
      ["ssh", "-Y", host, "XAUTHORITY=/dev/null xdpyinfo"],
      { env: x.env },
    );
    assert.notEqual(stranger.code, 0);
    assert.doesNotMatch(stranger.stdout, /number of screens/);
  });

  await t.step("escapes in a shell: help, the list, a tilde, the end", async () => {
    await using server = new BulkServer();
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "-L", `0:127.0.0.1:${server.port}`, host],
      { dir: cluster.dir, env: joe.env, cols: 120 },
    );
    try {
      const [, port] = await terminal.shows(/Allocated port (\d+)/);
      await terminal.shows(/[#$]\s*$/m);
      await terminal.enter("PS1='ready> '; clear");
      await terminal.shows(/^ready>$/m);
      await terminal.type("~?");
      await terminal.shows(/~#\s+- list forwarded connections/);
      const conn = await Deno.connect({ port: Number(port) });
      await conn.write(new TextEncoder().encode("echo"));
      await eventually("the connection", () => server.openCount === 1);
      await terminal.enter("clear; echo cleared");
      await terminal.shows(/^cleared\nready>$/m);
      await terminal.type("~#");
      await terminal.shows(new RegExp(`-L localhost:${port} → 127.0.0.1:${server.port}`));
      await terminal.shows(/127\.0\.0\.1:\d+ → 127\.0\.0\.1:\d+ \(-L/);
      conn.close();
      await terminal.enter("clear; echo a~.b");
      await terminal.shows(/^a~\.b$/m);
      await terminal.enter("");
      await terminal.enter("~~. is no command");
      await terminal.shows(/~\..*not found/);
      await terminal.type("~.");
      await terminal.shows(/Connection to node-1 closed\.\s+\[ended with status 255\]/);
    } finally {
      await terminal.close();
    }
  });

  await t.step("~^Z stops tsh for the shell it was started from, and fg goes on", async () => {
    const terminal = await Terminal.open(["bash", "--norc"], { dir: cluster.dir, env: joe.env });
    try {
      await terminal.enter(`PS1='here> '; clear`);
      await terminal.shows(/^here>$/m);
      await terminal.enter(`${bin("tsh")} ssh ${host}`);
      await terminal.shows(/[#$]\s*$/m);
      await terminal.enter("PS1='there> '; clear");
      await terminal.shows(/^there>$/m);
      await terminal.type("~");
      await terminal.press("C-z");
      await terminal.shows(/Stopped[\s\S]*^here>\s*$/m);
      await terminal.enter("clear; fg");
      await terminal.enter("echo back $((40 + 2))");
      await terminal.shows(/^back 42$/m);
      await terminal.enter("exit");
      await terminal.shows(/^here>\s*$/m);
    } finally {
      await terminal.close();
    }
  });

  await t.step("without escapes the node gets them", async () => {
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "--no-enable-escape-sequences", host],
      { dir: cluster.dir, env: joe.env },
    );
    try {
      await terminal.shows(/[#$]\s*$/m);
      await terminal.enter("cat");
      await terminal.enter("~.");
      await terminal.shows(/^~\.\n~\.$/m);
    } finally {
      await terminal.close();
    }
  });

  await t.step("a port in use is told; with ExitOnForwardFailure it ends with 255", async () => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const flags = ["-L", `${taken.addr.port}:localhost:1`];
    const reason = /^error: Cannot listen on localhost:\d+: another program has the port/;
    const told = await joe.tsh(["ssh", ...flags, host, "exit 4"]);
    assert.equal(told.code, 4);
    assert.match(told.stderr, reason);
    for (const must of [["-N"], ["-o", "ExitOnForwardFailure=yes"]]) {
      const ended = await joe.tsh(["ssh", ...must, ...flags, host]);
      assert.equal(ended.code, 255);
      assert.match(ended.stderr, reason);
    }
  });

  await t.step("labels of several nodes are refused by name", async () => {
    const many = await eventually("both nodes", async () => {
      const tried = await joe.tsh(["ssh", "-N", "-L", "0:localhost:1", "root@env=test"], {
        timeoutMs: 20_000,
      });
      return tried.stderr.includes("match 2 nodes") ? tried : undefined;
    });
    assert.equal(many.code, 1);
    assert.match(many.stderr, /match 2 nodes \(node-\d, node-\d\), and forwarding needs one/);
  });

  await t.step("SetEnv sets what nodes take, on all that labels match", async () => {
    const flags = ["-o", 'SetEnv=LC_FORWARDED="two words" PATH=/nowhere'];
    const set = await joe.tsh(["ssh", ...flags, "root@env=test", "echo $LC_FORWARDED"]);
    assert.deepEqual(set.stdout.trim().split("\n").sort(), [
      "[node-1] two words",
      "[node-2] two words",
    ]);
  });

  await t.step("without a role for it nothing is forwarded, and why is said", async () => {
    const ann = await cluster.personWith("ann", "nothing");
    await using agent = await SshAgent.start(cluster.dir);
    await using x = await XServer.start(ann.home);
    const remote = await ann.tsh(["ssh", "-N", "-R", "0:localhost:1", host]);
    assert.equal(remote.code, 255);
    assert.match(remote.stderr, /The node refuses -R localhost:0:localhost:1: .*port_forwarding/);
    await using local = await Background.start(
      [bin("tsh"), "ssh", "-N", "-L", "0:localhost:1", host],
      ann.env,
      (said) => said.includes("Allocated"),
    );
    const port = Number(/Allocated port (\d+)/.exec(local.said)![1]);
    using conn = await Deno.connect({ port });
    assert.equal(await conn.read(new Uint8Array(1)), null);
    await eventually("the reason", () => /no role of user "ann" permits port/.test(local.said));
    const lent = await ann.tsh(["ssh", "-A", "-Y", host, "echo [$SSH_AUTH_SOCK$DISPLAY]"], {
      env: { ...x.env, ...agent.env },
    });
    assert.equal(lent.stdout, "[]\n");
    assert.match(lent.stderr, /the node does not forward the agent.*forward_agent/);
    assert.match(lent.stderr, /the node does not forward X11.*permit_x11_forwarding/);
  });

  await t.step("a proxy that does not answer any more is noticed", async () => {
    const shell = Background.start(
      [
        ...[bin("tsh"), "ssh", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1"],
        ...[host, "echo here; sleep 1000"],
      ],
      joe.env,
      (said) => said.includes("here"),
    );
    await using program = await shell;
    const { pid } = cluster.daemon("proxy");
    Deno.kill(pid, "SIGSTOP");
    try {
      assert.equal((await program.status).code, 255);
      assert.match(program.said, /connection to node-1 was lost.*does not answer any more/);
    } finally {
      Deno.kill(pid, "SIGCONT");
    }
  });
});
