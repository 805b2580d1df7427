import assert from "node:assert/strict";
import { utf8Encode } from "../../base/bytes.ts";
import { AccessDenied, ConnectionProblem, LimitExceeded } from "../../base/errors.ts";
import { configureLog } from "../../base/log.ts";
import { checkProxied, PROXIED_SESSION } from "../../host/proxied_session.ts";
import type { ClientChannel, SshClient } from "../../ssh/client.ts";
import type { ConnectionHandlers, ServerChannel, SessionStart } from "../../ssh/server.ts";
import { readAll } from "../../ssh/stream.ts";
import { generatePrivateKey } from "../../sshwire/keys.ts";
import { node } from "../test_nodes.ts";
import { streamPair as pair } from "./stream_pair.ts";
import { hostCertificate, Setting, type SettingOptions, TestAgent, until } from "./test_setting.ts";

configureLog({ level: "off", format: "text" });

type Run = (start: SessionStart, channel: ServerChannel, asked: Asked) => void;

interface Asked {
  env: Record<string, string>;
  pty?: string;
  sizes: string[];
  signals: string[];
  agent: boolean;
  x11: boolean;
}

/** A host that runs each session by `run`, told of what was asked for. */
function host(run: Run, more: ConnectionHandlers = {}): () => ConnectionHandlers {
  return () => ({
    session: () => {
      const asked: Asked = { env: {}, sizes: [], signals: [], agent: false, x11: false };
      return {
        env: (name, value) => (asked.env[name] = value) !== undefined,
        pty: ({ term, cols, rows }) => (asked.pty = `${term} ${cols}x${rows}`) !== undefined,
        windowChange: ({ cols, rows }) => void asked.sizes.push(`${cols}x${rows}`),
        signal: (name) => void asked.signals.push(name),
        agentForward: () => asked.agent = true,
        x11: () => asked.x11 = true,
        start: (start, channel) => run(start, channel, asked),
      };
    },
    ...more,
  });
}

/** Reads its input to the end, says it on both outputs, and ends with status 3. */
const echo: Run = async (_, { stream, stderr, exit }) => {
  const input = await readAll(stream);
  stream.write(`out:${input}`);
  stderr.write(`err:${input}`);
  exit(3);
};

async function outcome(channel: ClientChannel, input = "") {
  channel.stream.end(input);
  const [stdout, stderr, status] = await Promise.all([
    readAll(channel.stream),
    readAll(channel.stderr),
    channel.exited,
  ]);
  return { stdout: stdout.toString(), stderr: stderr.toString(), status };
}

const PTY = { term: "xterm", cols: 80, rows: 24, widthPx: 0, heightPx: 0, modes: new Map() };

async function withSetting(
  options: SettingOptions,
  body: (setting: Setting, agent: TestAgent, reach: () => Promise<SshClient>) => Promise<void>,
): Promise<void> {
  await using setting = await Setting.create(options);
  const joe = setting.credential();
  const agent = new TestAgent([joe]);
  await body(setting, agent, () => setting.reach(joe, { agent }));
}

Deno.test("a command runs on the host as the user, whose agent signs once and for nothing else", () =>
  withSetting({ handlers: host(echo) }, async (setting, agent, reach) => {
    const client = await reach();
    const result = await outcome(await client.exec("cat", { agentForwarding: true }), "hello");
    assert.deepEqual(result, {
      stdout: "out:hello",
      stderr: "err:hello",
      status: { code: 3 },
    });
    assert.deepEqual(agent.signedWith, [agent.held[0]!.certificate!.blob]);
    assert.deepEqual(setting.certified, ["web-1"]);
    assert.equal(setting.tapes.length, 0, "what has no terminal is not recorded");
    await client.exec("cat", { agentForwarding: true });
    assert.equal(agent.signedWith.length, 1, "one login serves all sessions of a connection");
  }));

Deno.test("what happens is reported with the proxy's id and the host's name", () =>
  withSetting({ handlers: host(echo) }, async (setting, _, reach) => {
    await outcome(await (await reach()).exec("cat", { agentForwarding: true }), "hello");
    const [start, exec, data, end] = setting.of(
      ...["session.start", "exec", "session.data", "session.end"] as const,
    );
    assert.ok(start?.event === "session.start" && exec?.event === "exec");
    assert.ok(data?.event === "session.data" && end?.event === "session.end");
    assert.deepEqual(
      [start.user, start.login, start.interactive, start.target_hostname, start.target_addr],
      ["joe", "root", false, "web-1", "198.51.100.7:22"],
    );
    assert.equal(start.server_hostname, "proxy-1");
    assert.equal(start["addr.remote"], "192.0.2.1:40000");
    assert.deepEqual([exec.code, exec.command, exec.exitCode], ["T3002E", "cat", "3"]);
    assert.deepEqual([data.tx, data.rx], ["out:helloerr:hello".length, "hello".length]);
    assert.equal(new Set([start.sid, exec.sid, data.sid, end.sid]).size, 1);
  }));

Deno.test("a terminal is recorded: its output, its sizes, its start and end", () =>
  withSetting({
    handlers: host((_, channel, asked) => {
      channel.stream.write(`${asked.pty} ${asked.env.LANG}\r\n`);
      channel.stream.once("data", (chunk: Uint8Array) => {
        channel.stream.write(`typed ${new TextDecoder().decode(chunk)} ${asked.sizes}`);
        channel.exitSignal("TERM", true);
      });
    }),
  }, async (setting, _, reach) => {
    const shell = await (await reach()).shell({
      pty: PTY,
      env: { LANG: "C.UTF-8" },
      agentForwarding: true,
    });
    await new Promise((resolve) => shell.stream.once("data", resolve));
    assert.equal(setting.sessions.list()[0]?.user, "joe");
    shell.resize({ cols: 100, rows: 40, widthPx: 0, heightPx: 0 });
    const { stdout, status } = await outcome(shell, "x");
    assert.equal(stdout, "typed x 100x40");
    assert.deepEqual(status, { signal: "TERM", core: true, message: "" });
    const [tape] = setting.tapes;
    assert.equal(tape!.said.join("|"), "xterm 80x24 C.UTF-8\r\n|[100x40]|typed x 100x40");
    assert.ok(tape!.isEnded);
    const { meta, mode } = tape!.options;
    assert.equal(mode, "async");
    assert.deepEqual(
      [meta.recorded_by, meta.user, meta.login, meta.server_hostname, meta.server_id],
      ["proxy", "joe", "root", "web-1", ""],
    );
    assert.deepEqual(setting.of("resize").map(({ size }) => size), ["100:40"]);
    const [end] = setting.of("session.end");
    assert.deepEqual([end!.sid, end!.session_recording], [meta.sid, "proxy"]);
    assert.deepEqual(setting.sessions.list(), []);
  }));

Deno.test("in the mode proxy-sync the tape is one that goes to auth at once", () =>
  withSetting(
    { handlers: host((_, { exit }) => exit(0)), config: { session_recording: "proxy-sync" } },
    async (setting, _, reach) => {
      await outcome(await (await reach()).shell({ pty: PTY, agentForwarding: true }));
      assert.equal(setting.tapes[0]?.options.mode, "sync");
    },
  ));

Deno.test("while the mode is another one, the proxy relays: the client sees the host itself", () =>
  withSetting(
    { handlers: host(echo), config: { session_recording: "node" } },
    async (setting, agent, reach) => {
      const result = await outcome(await (await reach()).exec("cat"), "x");
      assert.equal(result.stdout, "out:x");
      assert.deepEqual(setting.certified, []);
      assert.equal(agent.timesOpened, 0);
      assert.equal(setting.of("session.start").length, 0);
    },
  ));

Deno.test("without an agent a session says what to do, and the client is not asked for one", () =>
  withSetting({ handlers: host(echo) }, async (setting, agent, reach) => {
    const client = await reach();
    const { stderr, status } = await outcome(await client.exec("cat"));
    assert.match(stderr, /^recording proxy mode needs agent forwarding: connect with -A/);
    assert.deepEqual(status, { code: 255 });
    await assert.rejects(client.subsystem("sftp"), /needs agent forwarding/);
    await assert.rejects(client.directTcpip("127.0.0.1", 80), /needs agent forwarding/);
    assert.equal(agent.timesOpened, 0);
    const reasons = setting.of("session.rejected").map(({ reason }) => reason);
    assert.equal(reasons.length, 2);
    assert.match(reasons[0]!, /needs agent forwarding/);
    assert.equal(setting.of("session.start").length, 0);
  }));

Deno.test("an agent that has the bare key of the user's certificate will do", async () => {
  await using setting = await Setting.create({ handlers: host(echo) });
  const joe = setting.credential();
  const agent = new TestAgent([{ key: generatePrivateKey() }, { key: joe.key }]);
  const client = await setting.reach(joe, { agent });
  const result = await outcome(await client.exec("cat", { agentForwarding: true }), "x");
  assert.equal(result.stdout, "out:x");
  assert.deepEqual(agent.signedWith, [joe.key.publicKey.blob]);
});

Deno.test("another certificate of the same user will do, and no other user's (attack 30)", async () => {
  await using setting = await Setting.create({ handlers: host(echo) });
  const joe = setting.credential();
  const eve = setting.credential({ user: "eve" });
  const second = setting.credential();
  const agent = new TestAgent([eve, second]);
  const client = await setting.reach(joe, { agent });
  const result = await outcome(await client.exec("cat", { agentForwarding: true }), "x");
  assert.equal(result.stdout, "out:x");
  assert.deepEqual(agent.signedWith, [second.certificate.blob]);

  const wrong = new TestAgent([eve, setting.credential({ principals: ["joe"] })]);
  const refused = await setting.reach(joe, { agent: wrong });
  const { stderr } = await outcome(await refused.exec("cat", { agentForwarding: true }));
  assert.match(stderr, /holds no certificate of user "joe" for the login "root"/);
  assert.match(stderr, /one of user "eve".*not for the login/);
  assert.deepEqual(wrong.signedWith, []);
});

Deno.test("who logs in behind must be who has logged in to the proxy (attack 31)", async () => {
  await using setting = await Setting.create({ handlers: host(echo) });
  const [joe, eve] = [setting.credential(), setting.credential({ user: "eve" })];
  await assert.rejects(setting.reach(eve, { outer: joe }), (e: Error) => {
    assert.ok(e instanceof AccessDenied, e.message);
    assert.match(e.message, /user "eve" may not use the connection of user "joe"/);
    return true;
  });
  assert.deepEqual(setting.of("auth").map(({ code, user }) => [code, user]), [["T3007W", "eve"]]);
  await assert.rejects(setting.reach(joe, { username: "admin" }), /not for the login "admin"/);
  const gone = setting.credential({ roles: ["dev", "gone"] });
  await assert.rejects(setting.reach(gone), /the role "gone".*does not exist/);
  const other = setting.credential({ principals: ["root", "eve"] });
  await assert.rejects(setting.reach(other, { username: "eve" }), /do not allow the login "eve"/);
});

Deno.test("a host that cannot be reached is said to be so, before anything of SSH", async () => {
  await using setting = await Setting.create();
  setting.unreachable = new ConnectionProblem("Cannot connect to 198.51.100.7:22: no route");
  const outer = await setting.logIn(setting.credential());
  const { stderr, status } = await outcome(await outer.subsystem("proxy:web-1:22"));
  assert.match(stderr, /^error: Cannot connect to 198\.51\.100\.7:22: no route/);
  assert.deepEqual(status, { code: 1 });
  setting.refusal = new AccessDenied("not that name either");
  await assert.rejects(outer.directTcpip("web-2", 22), /not that name either/);
});

Deno.test("a name that auth does not certify is refused with auth's reason", async () => {
  await using setting = await Setting.create({ handlers: host(echo) });
  setting.refusal = new AccessDenied(
    'a proxy may not stand in for "web-1": it is the auth service',
  );
  const outer = await setting.logIn(setting.credential());
  const channel = await outer.subsystem("proxy:web-1:22");
  const { stderr, status } = await outcome(channel);
  assert.match(stderr, /may not stand in for "web-1"/);
  assert.deepEqual(status, { code: 1 });
  await assert.rejects(outer.directTcpip("web-1", 22), /may not stand in for/);
});

const hostKey = generatePrivateKey();

for (
  const [what, hostKeys, why] of [
    [
      "a plain key",
      () => [{ key: hostKey }],
      /presented a public key, expected a host certificate/,
    ],
    [
      "a certificate for another name",
      (cluster) => [{ key: hostKey, certificate: hostCertificate(cluster, hostKey, ["web-2"]) }],
      /it is not for the host "web-1"/,
    ],
    [
      "a certificate of another authority",
      (cluster) => {
        const ca = generatePrivateKey();
        return [{
          key: hostKey,
          certificate: hostCertificate(cluster, hostKey, ["web-1"], { ca }),
        }];
      },
      /signed by an unknown authority/,
    ],
  ] as [string, NonNullable<SettingOptions["hostKeys"]>, RegExp][]
) {
  Deno.test(`${what} of a host is refused, unless proxy_checks_host_keys is off (attack 22)`, () =>
    withSetting({ handlers: host(echo), hostKeys }, async (setting, agent, reach) => {
      const refused = await outcome(await (await reach()).exec("cat", { agentForwarding: true }));
      assert.match(refused.stderr, why);
      assert.match(refused.stderr, /tctl auth sign --host/);
      assert.deepEqual(agent.signedWith, [], "nothing is signed for a host that is not known");
      setting.config.proxy_checks_host_keys = false;
      const accepted = await outcome(
        await (await reach()).exec("cat", { agentForwarding: true }),
        "x",
      );
      assert.equal(accepted.stdout, "out:x");
    }));
}

Deno.test("a node must show its own certificate, whatever proxy_checks_host_keys says", async () => {
  const id = "11111111-1111-4111-8111-111111111111";
  const role = { "x-teleport-role": "Node", "x-teleport-authority": "main" };
  const names = [`${id}.main`, id, "node-1"];
  for (
    const [principals, extensions, why] of [
      [names, role, undefined],
      [["node-1"], role, /it is not for the host/],
      [names, {}, /no role in a cluster/],
      [undefined, {}, /presented a public key/],
    ] as const
  ) {
    await withSetting({
      handlers: host(echo),
      config: { proxy_checks_host_keys: false },
      hostKeys: (cluster) => [
        principals === undefined ? { key: hostKey } : {
          key: hostKey,
          certificate: hostCertificate(cluster, hostKey, [...principals], { extensions }),
        },
      ],
    }, async (setting, agent) => {
      setting.index.put(node("node-1", { id, addr: "10.0.0.1:3022" }));
      const client = await setting.reach(setting.credential(), { host: "node-1", agent });
      const { stdout, stderr } = await outcome(
        await client.exec("cat", { agentForwarding: true }),
        "x",
      );
      if (why) assert.match(stderr, why);
      else assert.equal(stdout, "out:x", stderr);
    });
  }
});

Deno.test("a node is told by proof that the session is recorded here, and by nobody else", async () => {
  const id = "11111111-1111-4111-8111-111111111111";
  const seen: Record<string, string>[] = [];
  await withSetting({
    handlers: host((_, { exit }, { env }) => {
      seen.push(env);
      exit(0);
    }),
    hostKeys: (cluster) => [{
      key: hostKey,
      certificate: cluster.hostCertificate(hostKey.publicKey, "Node", id),
    }],
  }, async (setting, agent) => {
    setting.index.put(node("node-1", { id, addr: "10.0.0.1:3022" }));
    const client = await setting.reach(setting.credential(), { host: "node-1", agent });
    const options = { agentForwarding: true, pty: PTY };
    const forged = { [PROXIED_SESSION]: "forged", A: "b" };
    await outcome(await client.shell({ ...options, env: forged }));
    const { [PROXIED_SESSION]: proof, ...rest } = seen[0]!;
    assert.deepEqual(rest, { A: "b" });
    const sid = checkProxied(
      proof!,
      { nodeId: id, user: "joe", login: "root" },
      setting.cluster.trusted("host"),
      Date.now(),
    );
    assert.equal(setting.tapes[0]!.options.meta.sid, sid);
    // Who joins a session sees what is recorded already, and reports nothing of its own.
    const count = setting.events.length;
    await outcome(await client.shell({ ...options, env: { TELEPORT_SESSION: sid } }));
    assert.deepEqual(seen[1], { TELEPORT_SESSION: sid });
    assert.equal(setting.tapes.length, 1);
    assert.equal(setting.events.length, count);
  });
});

Deno.test("a session on a host that is no node cannot be joined, and no proof goes there", () =>
  withSetting({
    handlers: host((_, channel, { env }) => {
      channel.stream.write(JSON.stringify(env));
      channel.exit(0);
    }),
  }, async (setting, _, reach) => {
    const client = await reach();
    const options = { agentForwarding: true, env: { [PROXIED_SESSION]: "forged" } };
    assert.equal((await outcome(await client.exec("env", options))).stdout, "{}");
    const joining = { agentForwarding: true, env: { TELEPORT_SESSION: setting.cluster.name } };
    const { stderr } = await outcome(await client.shell(joining));
    assert.match(stderr, /recorded at the proxy, and cannot be joined/);
  }));

Deno.test("ports are forwarded by the host, as the user may, and reported", () =>
  withSetting({
    handlers: host(echo, {
      directTcpip: ({ host, port }) => {
        if (port === 81) return Promise.reject(new ConnectionProblem("nobody is there"));
        assert.equal(host, "10.0.0.5");
        const [near, far] = pair();
        readAll(far).then((all) => far.end(`echo ${all}`));
        return Promise.resolve(near);
      },
    }),
  }, async (setting, agent, reach) => {
    const client = await reach();
    await outcome(await client.exec("cat", { agentForwarding: true }));
    const stream = await client.directTcpip("10.0.0.5", 80);
    stream.end("ping");
    assert.equal((await readAll(stream)).toString(), "echo ping");
    await assert.rejects(client.directTcpip("10.0.0.5", 81), /nobody is there/);
    const [first, second] = setting.of("port");
    assert.deepEqual([first!.code, first!.addr, first!.direction], [
      "T3003I",
      "10.0.0.5:80",
      "local",
    ]);
    assert.deepEqual([second!.code, second!.success], ["T3003E", false]);

    const limited = setting.credential({ extensions: ["permit-pty"] });
    const refused = await setting.reach(limited, { agent: new TestAgent([limited]) });
    await assert.rejects(refused.directTcpip("10.0.0.5", 80), /does not permit port forwarding/);
    assert.equal(agent.signedWith.length, 1);
  }));

Deno.test("what the certificate does not permit is refused here (attack 14)", () =>
  withSetting({
    handlers: host((_, channel, asked) => {
      channel.stream.write(JSON.stringify([asked.pty ?? null, asked.agent, asked.x11]));
      channel.exit(0);
    }),
  }, async (setting) => {
    for (const permitted of [true, false]) {
      const joe = setting.credential(permitted ? {} : { extensions: [] });
      const client = await setting.reach(joe, { agent: new TestAgent([joe]) });
      const { stdout } = await outcome(await client.exec("x", { agentForwarding: true }));
      assert.deepEqual(JSON.parse(stdout), [null, permitted, false]);
      if (permitted) continue;
      await assert.rejects(client.shell({ pty: PTY, agentForwarding: true }), /refused a terminal/);
    }
  }));

Deno.test("the command that a certificate is for is what is reported (attack 13)", () =>
  withSetting({ handlers: host((_, { exit }) => exit(0)) }, async (setting) => {
    const forced = setting.credential({ forceCommand: "backup" });
    const client = await setting.reach(forced, { agent: new TestAgent([forced]) });
    await outcome(await client.exec("rm -rf /", { agentForwarding: true }));
    await outcome(await client.subsystem("sftp", { agentForwarding: true }));
    assert.deepEqual(setting.of("exec").map(({ command }) => command), ["backup", "backup"]);
    await assert.rejects(client.directTcpip("10.0.0.5", 80), /for one command only/);
  }));

Deno.test("a resize while the host is still being reached is not lost", () =>
  withSetting({
    handlers: host((_, channel, asked) => {
      channel.stream.on("data", () => {
        channel.stream.write(`${asked.pty} ${asked.sizes.at(-1)}`);
        channel.exit(0);
      });
    }),
  }, async (setting, _, reach) => {
    const shell = await (await reach()).shell({ pty: PTY, agentForwarding: true });
    shell.resize({ cols: 132, rows: 50, widthPx: 0, heightPx: 0 });
    const { stdout } = await outcome(shell, "x");
    assert.match(stdout, /^xterm 132x50 undefined$|^xterm 80x24 132x50$/);
    const [tape] = setting.tapes;
    const { cols } = tape!.options.meta;
    assert.ok(cols === 132 || tape!.said[0] === "[132x50]", `${cols} ${tape!.said}`);
  }));

Deno.test("a recording that cannot go on ends the session with the reason, at once", () =>
  withSetting({
    handlers: host((_, { stream }) => {
      stream.write("shown");
    }),
  }, async (setting, _, reach) => {
    const shell = await (await reach()).shell({ pty: PTY, agentForwarding: true });
    await new Promise((resolve) => shell.stream.once("data", resolve));
    setting.tapes[0]!.fail(new ConnectionProblem("the auth service is away"));
    const { stdout, status } = await outcome(shell);
    assert.match(stdout, /the auth service is away\r\n$/);
    assert.deepEqual(status, { code: 255 });
  }));

Deno.test("a session that cannot be recorded does not begin", () =>
  withSetting({ handlers: host(echo) }, async (setting, _, reach) => {
    setting.noTape = new LimitExceeded("the session cannot be recorded: the disk is full");
    const { stderr, stdout } = await outcome(
      await (await reach()).shell({ pty: PTY, agentForwarding: true }),
    );
    assert.equal(stdout, "");
    assert.match(stderr, /the disk is full/);
    assert.match(setting.of("session.rejected")[0]!.reason, /the disk is full/);
    setting.noTape = undefined;
    setting.auditIsFull = true;
    const refused = await outcome(await (await reach()).exec("cat", { agentForwarding: true }));
    assert.match(refused.stderr, /audit spool is full/);
  }));

Deno.test("nothing is shown that the tape has not taken", () =>
  withSetting({
    handlers: host((_, { stream, exit }) => {
      stream.write("first ");
      stream.on("data", () => {
        stream.write("second");
        exit(0);
      });
    }),
  }, async (setting, _, reach) => {
    const shell = await (await reach()).shell({ pty: PTY, agentForwarding: true });
    let shown = "";
    shell.stream.on("data", (chunk) => shown += chunk);
    await until(() => shown === "first ");
    const held = Promise.withResolvers<void>();
    setting.tapes[0]!.hold = held.promise;
    shell.stream.write("go on");
    await until(() => setting.tapes[0]!.text === "first second");
    assert.equal(shown, "first ");
    held.resolve();
    await shell.exited;
    assert.equal(shown, "first second");
  }));

Deno.test("an administrator ends a session; its client reads why", () =>
  withSetting({ handlers: host(() => {}) }, async (setting, _, reach) => {
    const shell = await (await reach()).shell({ pty: PTY, agentForwarding: true });
    await until(() => setting.sessions.list().length === 1);
    const [session] = setting.sessions.list();
    assert.deepEqual([session!.target_hostname, session!.interactive], ["web-1", false]);
    setting.sessions.end(session!.sid, "The session was ended by alice");
    const { stdout } = await outcome(shell);
    assert.match(stdout, /The session was ended by alice\r\n$/);
    assert.deepEqual(setting.of("client.disconnect").map(({ reason }) => reason), [
      "The session was ended by alice",
    ]);
  }));

Deno.test("limits of the roles hold for hosts that know no roles", async () => {
  await withSetting(
    { handlers: host(() => {}), role: "{max_sessions: 1, max_connections: 2}" },
    async (setting, _, reach) => {
      const client = await reach();
      await client.shell({ agentForwarding: true });
      await assert.rejects(client.shell({ agentForwarding: true }), /too many session channels/);
      const second = await reach();
      await assert.rejects(reach(), /too many concurrent ssh connections/);
      const reasons = setting.of("session.rejected").map(({ reason, max }) => [reason, max]);
      assert.deepEqual(reasons, [
        ["max_sessions limit reached", 1],
        ["max_connections limit reached", 2],
      ]);
      second.close();
      await second.closed;
      await until(() => setting.leases.size === 1);
      await reach();
    },
  );
  await withSetting(
    { handlers: host(() => {}), role: "{client_idle_timeout: 1s}" },
    async (setting, _, reach) => {
      const client = await reach();
      const error = await client.closed;
      assert.match(error?.message ?? "", /client is idle/);
      assert.match(setting.of("client.disconnect")[0]!.reason, /client is idle/);
    },
  );
});

Deno.test("a host that goes away takes its sessions along, with a word for the client", () => {
  const started = Promise.withResolvers<void>();
  return withSetting({ handlers: host(() => started.resolve()) }, async (setting, _, reach) => {
    const client = await reach();
    const channel = await client.exec("sleep", { agentForwarding: true });
    await started.promise;
    const ended = outcome(channel);
    await setting.target.close();
    const { stderr, status } = await ended;
    assert.match(stderr, /ended the session without saying how it went/);
    assert.deepEqual(status, { code: 255 });
    assert.match((await client.closed)!.message, /The server is stopping/);
    assert.equal(setting.of("session.end").length, 1);
    assert.equal(setting.of("exec")[0]!.exitError, "the connection was lost");
  });
});

Deno.test("events of a node's session reach its client, and its recording", async () => {
  const id = "11111111-1111-4111-8111-111111111111";
  let tell: ((payload: string) => void) | undefined;
  await using setting = await Setting.create({
    hostKeys: (cluster) => [{
      key: hostKey,
      certificate: cluster.hostCertificate(hostKey.publicKey, "Node", id),
    }],
    handlers: host(() => {}),
    onTarget: (connection) =>
      tell = (payload) => connection.sendGlobalRequest("x-teleport-event", utf8Encode(payload)),
  });
  setting.index.put(node("node-1", { id, addr: "10.0.0.1:3022" }));
  const joe = setting.credential();
  const told: string[] = [];
  const client = await setting.reach(joe, {
    host: "node-1",
    agent: new TestAgent([joe]),
    onGlobalRequest: (name, payload) => {
      if (name === "x-teleport-event") told.push(new TextDecoder().decode(payload));
    },
  });
  await client.shell({ pty: PTY, agentForwarding: true });
  await until(() => tell !== undefined && setting.of("session.start").length === 1);
  const { sid } = setting.tapes[0]!.options.meta;
  const events = [
    JSON.stringify({ event: "resize", sid: "another", size: "1:1" }),
    "no JSON",
    JSON.stringify({ event: "session.join", sid, user: "eve", mode: "peer" }),
    JSON.stringify({ event: "resize", sid, size: "120:50" }),
    JSON.stringify({ event: "session.leave", sid, user: "eve" }),
  ];
  for (const event of events) tell!(event);
  await until(() => told.length === events.length);
  assert.deepEqual(told, events);
  assert.deepEqual(setting.tapes[0]!.said, ["[join eve (peer)]", "[120x50]", "[leave eve]"]);
  client.close();
  await until(() => setting.of("session.end").length === 1);
  assert.deepEqual(setting.of("session.end")[0]!.participants, ["joe", "eve"]);
});
