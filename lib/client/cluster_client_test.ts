import assert from "node:assert/strict";
import { Readable, Writable } from "node:stream";
import { AccessDenied, ConnectionProblem, NotFound } from "../base/errors.ts";
import { generatePrivateKey } from "../sshwire/keys.ts";
import { connectNode, type HostKeyPolicy } from "./node_connection.ts";
import { combinedStatus, runOnAll } from "./multi.ts";
import { runSession, statusOf } from "./node_session.ts";
import { type RunOnNode, TestCluster } from "./test_cluster.ts";
import { TestAuthority } from "./test_identity.ts";

const policy: HostKeyPolicy = { strict: "ask", knownHosts: undefined, warn: () => {} };

function sink(): Writable & { text(): string } {
  const chunks: Uint8Array[] = [];
  const writable = new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      chunks.push(Uint8Array.from(chunk));
      done();
    },
  });
  const text = () => new TextDecoder().decode(new Uint8Array(chunks.flatMap((c) => [...c])));
  return Object.assign(writable, { text });
}

/** echo: gives back what it reads; "exit N", "kill SIG", "say TEXT", "fail TEXT" (stderr), "drop". */
const shellLike: RunOnNode = (start, channel) => {
  const line = start.kind === "exec" ? start.command : "";
  const [word, ...rest] = line.split(" ");
  const text = rest.join(" ");
  if (word === "exit") return channel.exit(Number(text));
  if (word === "kill") return channel.exitSignal(text);
  if (word === "say") channel.stream.write(`${text}\n`);
  if (word === "fail") channel.stderr.write(`${text}\n`);
  if (word === "drop") return channel.stream.destroy() as unknown as void;
  if (word !== "echo") return channel.exit(word === "fail" ? 4 : 0);
  channel.stream.on("end", () => channel.exit(0));
  channel.stream.pipe(channel.stream, { end: false });
};

Deno.test("a command's output, errors, input and status go through the proxy", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["db-1"], shellLike);
  using client = await cluster.connect();
  const node = await connectNode(client, { host: "db-1", port: 0, login: "root" }, { policy });
  const run = async (command: string, input = "") => {
    const [stdout, stderr] = [sink(), sink()];
    const stdin = Readable.from(input === "" ? [] : [new TextEncoder().encode(input)]);
    const exit = await runSession(node, { command, stdin, stdout, stderr });
    return [statusOf(exit), stdout.text(), stderr.text()];
  };
  assert.deepEqual(await run("say hello there"), [0, "hello there\n", ""]);
  assert.deepEqual(await run("fail badly"), [4, "", "badly\n"]);
  assert.deepEqual(await run("exit 7"), [7, "", ""]);
  assert.deepEqual(await run("kill KILL"), [137, "", ""]);
  assert.deepEqual(await run("drop"), [255, "", ""]);
  const much = "x".repeat(300_000);
  assert.deepEqual(await run("echo", much), [0, much, ""]);
  assert.deepEqual(cluster.asked, ["proxy:db-1:0"], "one connection, no other question");
  node.close();
});

Deno.test("a command whose output nobody reads any more is ended", async () => {
  await using cluster = new TestCluster();
  const ended = Promise.withResolvers<void>();
  cluster.addNode(["db-1"], (_, channel) => {
    const timer = setInterval(() => channel.stream.write("y\n"), 5);
    void channel.closed.then(() => {
      clearInterval(timer);
      ended.resolve();
    });
  });
  using client = await cluster.connect();
  const node = await connectNode(client, { host: "db-1", port: 0, login: "root" }, { policy });
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error("EPIPE")) });
  const exit = await runSession(node, { command: "yes", stdin: undefined, stdout, stderr: sink() });
  assert.equal(statusOf(exit), 141);
  await ended.promise;
  node.close();
});

Deno.test("a shell's terminal is told to the node, and its changes", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["db-1"], (_, channel) => void channel.stream.on("data", () => channel.exit(3)));
  using client = await cluster.connect();
  const node = await connectNode(client, { host: "db-1", port: 0, login: "root" }, { policy });
  let size = { cols: 80, rows: 24 };
  const steps: string[] = [];
  const stdin = new Readable({ read() {} });
  const exit = await runSession(node, {
    stdin,
    stdout: sink(),
    stderr: sink(),
    terminal: {
      name: "xterm",
      size: () => size,
      raw: () => {
        steps.push("raw");
        return { [Symbol.dispose]: () => void steps.push("restored") };
      },
      onResize: (listener) => {
        size = { cols: 132, rows: 50 };
        listener();
        setTimeout(() => stdin.push("x"), 20);
        return { [Symbol.dispose]: () => void steps.push("no more resizes") };
      },
    },
  });
  assert.equal(statusOf(exit), 3);
  assert.deepEqual(cluster.sizes, ["xterm 80x24", "132x50"]);
  assert.deepEqual(steps, ["raw", "no more resizes", "restored"]);
  node.close();
});

Deno.test("the proxy's reasons arrive, with what kind of failure it was", async () => {
  await using cluster = new TestCluster();
  cluster.refusals.set("two", { text: "ambiguous host\n  a\n  b", status: 1 });
  cluster.refusals.set("down", { text: "node down did not answer", status: 255 });
  using client = await cluster.connect();
  const dial = (host: string) => connectNode(client, { host, port: 0, login: "root" }, { policy });
  await assert.rejects(dial("nowhere"), (e) => {
    assert.ok(e instanceof NotFound);
    assert.equal(e.message, 'no node "nowhere" (0)');
    return true;
  });
  await assert.rejects(dial("two"), { name: "NotFound", message: "ambiguous host\n  a\n  b" });
  await assert.rejects(dial("down"), ConnectionProblem);
});

Deno.test("a node's refusal of the login arrives with its reason", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["db-1"], shellLike);
  const identity = cluster.authority.identity({ logins: ["root", "denied"] });
  using client = await cluster.connect(identity);
  await assert.rejects(
    connectNode(client, { host: "db-1", port: 0, login: "denied" }, { policy }),
    (e) => {
      assert.ok(e instanceof AccessDenied);
      assert.match(e.message, /access denied to denied connecting to node/);
      return true;
    },
  );
});

Deno.test("attack 22: a proxy without a certificate of the cluster's host CA is refused", async () => {
  const authority = new TestAuthority();
  const strangers = [
    authority.host(["127.0.0.1"], "Proxy"),
    { key: generatePrivateKey() },
  ];
  for (const proxyHost of strangers) {
    await using cluster = new TestCluster({ proxyHost });
    await assert.rejects(cluster.connect(), AccessDenied);
  }
});

Deno.test("attack 22: a node that poses as the proxy is refused", async () => {
  const poser = new TestAuthority();
  await using cluster = new TestCluster({ proxyHost: poser.host(["127.0.0.1"], "Node") });
  const identity = { ...poser.identity(), hostKeys: [poser.hostCa.publicKey] };
  await assert.rejects(cluster.connect(identity), /has not the role Proxy/);
});

Deno.test("attack 22: a node with another node's certificate is refused", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["db-1"], shellLike, cluster.authority.host(["db-2"], "Node"));
  using client = await cluster.connect();
  await assert.rejects(
    connectNode(client, { host: "db-1", port: 0, login: "root" }, { policy }),
    /not for the host \\?"db-1/,
  );
});

Deno.test("attack 22: a plain host key is never accepted silently", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["sshd"], shellLike, { key: generatePrivateKey() });
  using client = await cluster.connect();
  const dir = await Deno.makeTempDir();
  const connect = (own: Partial<HostKeyPolicy>) =>
    connectNode(client, { host: "sshd", port: 22, login: "root" }, {
      policy: { ...policy, knownHosts: `${dir}/known_hosts`, ...own },
    });
  try {
    await assert.rejects(connect({}), /has no certificate of the cluster/);
    await assert.rejects(connect({ confirm: () => Promise.resolve(false) }), AccessDenied);
    await assert.rejects(
      connect({ strict: "yes", confirm: () => Promise.resolve(true) }),
      AccessDenied,
    );
    const questions: string[] = [];
    const confirm = (question: string) => {
      questions.push(question);
      return Promise.resolve(true);
    };
    (await connect({ confirm })).close();
    assert.match(questions[0] ?? "", /SHA256:.*continue/s);
    // It is known from now on, and another key is not.
    (await connect({ strict: "yes" })).close();
    cluster.addNode(["sshd"], shellLike, { key: generatePrivateKey() });
    await assert.rejects(connect({ confirm }), /host key of sshd has changed/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a command on several nodes keeps their output apart and tells the worst status", async () => {
  await using cluster = new TestCluster();
  cluster.addNode(["a"], (_, channel) => {
    channel.stream.write("one\ntw");
    channel.stream.write("o");
    channel.exit(0);
  });
  cluster.addNode(["b"], (_, channel) => {
    channel.stderr.write("bad\n");
    channel.exit(4);
  });
  using client = await cluster.connect();
  const [stdout, stderr] = [sink(), sink()];
  const results = await runOnAll({
    nodes: ["a", "b", "c"].map((name) => ({
      name,
      connect: () => connectNode(client, { host: name, port: 0, login: "root" }, { policy }),
    })),
    command: "x",
    stdout,
    stderr,
    statusOfError: () => 1,
  });
  assert.equal(stdout.text(), "[a] one\n[a] two\n");
  assert.equal(stderr.text(), "[b] bad\n");
  assert.deepEqual(results.map((r) => [r.name, r.status]), [["a", 0], ["b", 4], ["c", 1]]);
  assert.equal(results[1]?.reason, "exit status 4");
  assert.equal(combinedStatus(results), 4);
});

Deno.test("the auth API is reached over the same connection, end to end", async () => {
  await using cluster = new TestCluster();
  cluster.nodes = [1, 2, 3];
  using client = await cluster.connect();
  const api = await client.connectAuth();
  const page = await api.call("nodes.list", { limit: 2 });
  assert.deepEqual(page, { nodes: [1, 2], next: "2" });
  api.close();
  assert.deepEqual(cluster.asked, ["proxy:@main"]);
});

Deno.test("sites() lists the proxy's clusters", async () => {
  await using cluster = new TestCluster();
  using client = await cluster.connect();
  assert.deepEqual(await client.sites(), [
    { name: "main", status: "online", lastConnected: "2026-01-01T00:00:00Z" },
  ]);
});

Deno.test("connecting where nobody listens is a connection problem", async () => {
  const cluster = new TestCluster();
  await cluster[Symbol.asyncDispose]();
  await assert.rejects(cluster.connect(), ConnectionProblem);
});
