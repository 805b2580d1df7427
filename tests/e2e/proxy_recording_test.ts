/** Sessions recorded at the proxy: stock sshd and our own node as targets, ssh and tsh as clients. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Background } from "../harness/background.ts";
import { Cluster, type Person } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { Recordings } from "../harness/recordings.ts";
import { bin, eventually, run, type RunOptions, type RunResult } from "../harness/run.ts";
import { Sshd } from "../harness/sshd.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { Terminal } from "../harness/terminal.ts";
import { XServer } from "../harness/x_server.ts";

type Event = Record<string, unknown>;

Deno.test("sessions are recorded at the proxy", async (t) => {
  const [signed, plain] = [freePort(), freePort()];
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1", "node-2"],
    auth: "session_recording: proxy",
    proxy: `unregistered_targets: ["localhost:${signed}", "127.0.0.0/8:${signed}", ` +
      `"localhost:${plain}", "127.0.0.0/8:${plain}"]`,
  });
  const { dir } = cluster;
  await Deno.writeTextFile(`${dir}/banner`, "Be good.\n");
  await using _sshd = await Sshd.start(cluster, {
    port: signed,
    names: ["localhost"],
    extra: [`Banner ${dir}/banner`, "X11Forwarding yes", "XAuthLocation /usr/bin/xauth"],
  });
  await using _plain = await Sshd.start(cluster, { port: plain });
  await using agent = await SshAgent.start(cluster.dir);
  const joe = await cluster.enrol("joe", ["root"]);
  await joe.login();
  await agent.add(keyOf(joe));
  const ssh = await stockSsh(cluster, joe, agent);

  await t.step(
    "ssh -A with a terminal on a stock sshd: recorded, with its exit status",
    async () => {
      const result = await ssh(["-tt", "-p", `${signed}`, "root@localhost"], "stty size; exit 7\n");
      assert.equal(result.code, 7, result.stderr);
      const end = await endOf(cluster, (e) => e.target_addr === `127.0.0.1:${signed}`);
      assert.equal(end.session_recording, "proxy");
      assert.equal(end.user, "joe");
      assert.equal(end.interactive, true);
      const { meta, output } = await recordingOf(cluster, `${end.sid}`);
      assert.match(output, /stty size/);
      assert.equal(meta.recorded_by, "proxy");
      assert.equal(meta.server_hostname, "localhost");
      assert.equal(meta.login, "root");
    },
  );

  await t.step("a command: stdin, both outputs, exit status, events, no recording", async () => {
    const command = "cat; echo oops >&2; exit 3";
    const result = await ssh(["-p", `${signed}`, "root@localhost", command], "a\nb\n");
    assert.deepEqual([result.code, result.stdout], [3, "a\nb\n"]);
    assert.equal(result.stderr, "Be good.\noops\n");
    const exec = await eventOf(cluster, (e) => e.event === "exec" && e.command === command);
    assert.deepEqual([exec.code, exec.exitCode, exec.login], ["T3002E", "3", "root"]);
    const end = await endOf(cluster, (e) => e.sid === exec.sid);
    assert.equal(end.interactive, false);
    const recorded = await new Recordings(cluster).list();
    assert.equal(recorded.find(({ sid }) => sid === exec.sid), undefined);
  });

  await t.step("a command that is killed is said to have been", async () => {
    const command = "kill -9 $$";
    const result = await ssh(["-p", `${signed}`, "root@localhost", command]);
    assert.equal(result.code, 255);
    const exec = await eventOf(cluster, (e) => e.event === "exec" && e.command === command);
    assert.equal(exec.exitError, "ended by signal KILL");
  });

  await t.step("scp by both protocols and sftp carry files unharmed", async () => {
    const data = crypto.getRandomValues(new Uint8Array(65_536));
    const file = await Deno.open(`${dir}/big`, { write: true, create: true });
    for (let i = 0; i < 64; i++) await file.write(data);
    file.close();
    const scp = [...ssh.options, "-P", `${signed}`];
    const copy = (...args: string[]) =>
      joe.must(["scp", ...args.slice(0, 1), "-A", ...scp, ...args.slice(1)], { env: agent.env });
    await copy("-s", `${dir}/big`, `root@localhost:${dir}/up`);
    await copy("-O", `root@localhost:${dir}/up`, `${dir}/down`);
    assert.equal(await sha256(`${dir}/down`), await sha256(`${dir}/big`));
    await copy("-O", `${dir}/big`, `root@localhost:${dir}/up-old`);
    const sftp = await joe.must(
      ["sftp", "-A", ...scp, "-b", "-", "root@localhost"],
      { env: agent.env, stdin: `get ${dir}/up-old ${dir}/down-sftp\n` },
    );
    assert.equal(await sha256(`${dir}/down-sftp`), await sha256(`${dir}/big`), sftp.stderr);
    await eventOf(cluster, (e) => e.event === "scp" && e.action === "upload");
    await eventOf(cluster, (e) => e.event === "scp" && e.action === "download");
    await eventOf(cluster, (e) => e.event === "subsystem" && e.name === "sftp" && !!e.target_addr);
  });

  await t.step("without -A: a clear error, and an event", async () => {
    const result = await ssh(["-a", "-p", `${signed}`, "root@localhost", "echo never"]);
    assert.equal(result.code, 255);
    assert.equal(result.stdout, "");
    assert.match(result.stderr, /recording proxy mode needs agent forwarding: connect with -A/);
    assert.doesNotMatch(result.stderr, /break-in/);
    await eventOf(
      cluster,
      (e) => e.event === "session.rejected" && `${e.reason}`.includes("agent forwarding"),
    );
  });

  await t.step("-L and -R through the sshd, without a session", async () => {
    await using echo = new Echo();
    const [local, remote] = [freePort(), freePort()];
    const answers = async (port: number) => await ask(port, "hi").catch(() => "") === "hi";
    await using _ssh = await Background.start(
      [
        ...["ssh", ...ssh.options, "-A", "-N", "-p", `${signed}`],
        ...["-L", `127.0.0.1:${local}:127.0.0.1:${echo.port}`],
        ...["-R", `127.0.0.1:${remote}:127.0.0.1:${echo.port}`, "root@localhost"],
      ],
      { ...joe.env, ...agent.env },
      async () => await answers(local) && await answers(remote),
    );
    const byTsh = freePort();
    await using _tsh = await Background.start(
      [
        ...[bin("tsh"), "ssh", "-N", "-A", "-p", `${signed}`],
        ...["-L", `${byTsh}:127.0.0.1:${echo.port}`, "root@localhost"],
      ],
      { ...joe.env, ...agent.env },
      () => answers(byTsh),
    );
    const ports = (direction: string) => (e: Event) =>
      e.event === "port" && e.direction === direction && e.code === "T3003I" && !!e.target_addr;
    await eventOf(cluster, ports("local"));
    await eventOf(cluster, ports("remote"));
  });

  await t.step(
    "-Y: X11 programs on the sshd and on a node; the agent goes on to both",
    async () => {
      await using x = await XServer.start(joe.home);
      for (const host of [["-p", `${signed}`, "root@localhost"], ["root@node-1.main"]]) {
        const shown = await ssh(["-Y", ...host, "xdpyinfo; ssh-add -l"], undefined, x.env);
        assert.match(shown.stdout, /dimensions:\s+64x64 pixels/, shown.stderr);
        assert.match(shown.stdout, /ED25519-CERT/);
      }
      await eventOf(cluster, (e) => e.event === "x11-forward" && !!e.target_addr && !!e.success);
    },
  );

  await t.step("another user's certificate in the agent is not used", async () => {
    const eve = await cluster.enrol("eve", ["root"]);
    await eve.login();
    await using other = await SshAgent.start(dir);
    await other.add(keyOf(eve));
    const result = await ssh([
      ...["-o", `ForwardAgent=${other.socket}`, "-p", `${signed}`, "root@localhost", "echo never"],
    ]);
    assert.equal(result.code, 255);
    assert.match(result.stderr, /holds no certificate of user "joe" for the login "root"/);
    assert.match(result.stderr, /one of user "eve"/);
  });

  await t.step("tsh ssh -A to the sshd, and to a node of the cluster", async () => {
    const options = { env: agent.env };
    const onSshd = await joe.tsh(
      ["ssh", "-A", "-p", `${signed}`, "root@localhost", "echo on sshd; exit 4"],
      options,
    );
    assert.deepEqual([onSshd.code, onSshd.stdout], [4, "on sshd\n"], onSshd.stderr);
    const onNode = await joe.tsh(
      ["ssh", "-A", "root@node-1", "echo on $SSH_TELEPORT_USER"],
      options,
    );
    assert.deepEqual([onNode.code, onNode.stdout], [0, "on joe\n"], onNode.stderr);
    const block = ["-A", ...await joe.sshArgs(), "root@node-1.main", "echo by tsh config"];
    const byBlock = await joe.must(["ssh", ...block], options);
    assert.equal(byBlock.stdout, "by tsh config\n");
    await joe.must([bin("tsh"), "scp", "-A", "-q", `${dir}/big`, `root@node-1:${dir}/by-tsh`], {
      env: agent.env,
    });
    assert.equal(await sha256(`${dir}/by-tsh`), await sha256(`${dir}/big`));
    const onAll = await joe.tsh(["ssh", "-A", "root@env=test", "echo on all"], options);
    assert.equal(onAll.stdout.trimEnd().split("\n").length, 2, onAll.stderr);
    assert.match(onAll.stdout, /^\[node-2\] on all$/m);
    const without = await joe.tsh(["ssh", "root@node-1", "echo never"], options);
    assert.notEqual(without.code, 0);
    assert.match(without.stderr, /recording proxy mode needs agent forwarding/);
  });

  await t.step("a terminal on a node is recorded once, at the proxy", async () => {
    const result = await ssh(["-tt", "root@node-1.main"], "echo seen-$((40+2)); exit 5\n");
    assert.equal(result.code, 5, result.stderr);
    const end = await endOf(
      cluster,
      (e) => e.interactive === true && e.target_hostname === "node-1",
    );
    const { meta, output } = await recordingOf(cluster, `${end.sid}`);
    assert.match(output, /seen-42/);
    assert.equal(meta.recorded_by, "proxy");
    assert.equal(meta.server_hostname, "node-1");
    const all = (await cluster.events()).filter((e) => e.sid === end.sid);
    assert.equal(all.filter((e) => e.event === "session.start").length, 1);
    assert.equal(all.filter((e) => e.event === "session.end").length, 1);
    const starts = (await cluster.events()).filter((e) =>
      e.event === "session.start" && e.interactive === true
    );
    assert.equal(starts.length, 2, "one on the sshd, one on the node");
  });

  await t.step("a session on a node has one id, and is joined there", async () => {
    const terminal = (...args: string[]) =>
      Terminal.open([bin("tsh"), ...args], { dir, env: { ...joe.env, ...agent.env } });
    const owner = await terminal("ssh", "-A", "root@node-1");
    await owner.enter("echo shown-$((20+3))");
    await owner.shows(/shown-23/);
    const session = await eventually("the session in the list", async () => {
      const { stdout } = await joe.tsh(["sessions", "ls", "--format=json"]);
      return JSON.parse(stdout)[0] as Event | undefined;
    });
    assert.equal(session.server_hostname, "node-1");
    const joiner = await terminal("join", "-A", `${session.sid}`);
    await joiner.shows(/shown-23/);
    await joiner.enter("echo joined-$((30+4))");
    await owner.shows(/joined-34/);
    await owner.enter("exit");
    await joiner.shows(/ended with status 0/);
    await endOf(cluster, (e) => e.sid === session.sid);
    const { meta, output, marks } = await recordingOf(cluster, `${session.sid}`);
    assert.equal(meta.recorded_by, "proxy");
    assert.match(output, /joined-34/);
    assert.ok(marks.includes("join joe (peer)"), `${marks}`);
    const names = (await cluster.events()).filter((e) => e.sid === session.sid).map((e) => e.event);
    for (const once of ["session.start", "session.join", "session.end", "session.upload"]) {
      assert.equal(names.filter((name) => name === once).length, 1, `${once} in ${names}`);
    }
    await owner.close();
    await joiner.close();
  });

  await t.step("a session on the sshd is listed, and an administrator ends it", async () => {
    const terminal = await Terminal.open(
      [bin("tsh"), "ssh", "-A", "-p", `${signed}`, "root@localhost"],
      { dir, env: { ...joe.env, ...agent.env } },
    );
    await terminal.enter("echo there-$((1+1))");
    await terminal.shows(/there-2/);
    const session = await eventually("the session in the list", async () => {
      const { stdout } = await cluster.tctl(["sessions", "ls", "--format=json"]);
      return JSON.parse(stdout)[0] as Event | undefined;
    });
    assert.equal(session.target_hostname, "localhost");
    await cluster.tctl(["sessions", "kill", `${session.sid}`]);
    await terminal.shows(/The session was ended by/);
    await terminal.shows(/ended with status 255/);
    await terminal.close();
    assert.match((await recordingOf(cluster, `${session.sid}`)).output, /there-2/);
  });

  await t.step("an agent with the bare key, and no auth service to ask", async () => {
    await using bare = await SshAgent.start(dir);
    await joe.must(["ssh-add", "-q", "-k", keyOf(joe)], { env: bare.env });
    await cluster.daemon("auth").stop();
    const result = await ssh(["-p", `${signed}`, "root@localhost", "echo alone"], "", bare.env);
    assert.equal(result.stdout, "alone\n", result.stderr);
    await cluster.restart("auth");
  });

  await t.step("a plain host key is refused, unless proxy_checks_host_keys is off", async () => {
    const command = ["-p", `${plain}`, "root@localhost", "echo unchecked"];
    const refused = await ssh(command);
    assert.equal(refused.code, 255);
    assert.match(refused.stderr, /presented a public key, expected a host certificate/);
    assert.match(refused.stderr, /tctl auth sign --host/);
    await cluster.daemon("auth").stop();
    await cluster.start("auth", ["auth"], {
      nodename: "auth-1",
      ports: cluster.ports,
      auth: "session_recording: proxy\n  proxy_checks_host_keys: no",
    });
    const accepted = await eventually("the proxy to hear of it", async () => {
      const result = await ssh(command);
      return result.code === 0 ? result : undefined;
    });
    assert.equal(accepted.stdout, "unchecked\n");
    assert.match(cluster.daemon("proxy").log, /A host is not checked/);
  });
});

function keyOf(person: Person): string {
  return `${person.home}/.tsh/keys/localhost/${person.name}`;
}

interface StockSsh {
  (args: string[], stdin?: string, env?: Record<string, string>): Promise<RunResult>;
  /** For scp and sftp. */
  options: string[];
}

/** Stock ssh by ProxyJump, with the key and certificate of a person and an agent to forward. */
async function stockSsh(cluster: Cluster, person: Person, agent: SshAgent): Promise<StockSsh> {
  const key = keyOf(person);
  const { stdout } = await cluster.tctl(["auth", "export", "--type=host"]);
  const known = `${person.home}/known_hosts`;
  await Deno.writeTextFile(known, stdout.replace(/^(@cert-authority) \S+/gm, "$1 *"));
  const config = `${person.home}/proxy_config`;
  await Deno.writeTextFile(
    config,
    [
      "Host proxy",
      ...["HostName 127.0.0.1", `Port ${cluster.ports.proxySsh}`, "HostKeyAlias proxy-1.main"],
      "User root",
      "Host *.main localhost",
      ...["ProxyJump proxy", "Port 3022"],
      "Host *",
      ...[`IdentityFile ${key}`, `CertificateFile ${key}-cert.pub`, "IdentitiesOnly yes"],
      ...[`UserKnownHostsFile ${known}`, "GlobalKnownHostsFile /dev/null"],
      ...["StrictHostKeyChecking yes", "BatchMode yes", "LogLevel ERROR"],
    ].join("\n") + "\n",
  );
  const options = ["-F", config];
  const env = { ...person.env, ...agent.env };
  const call = (args: string[], stdin?: string, more: Record<string, string> = {}) => {
    const o: RunOptions = { env: { ...env, ...more }, ...(stdin === undefined ? {} : { stdin }) };
    return run(["ssh", ...options, "-A", ...args], o);
  };
  return Object.assign(call, { options });
}

function eventOf(cluster: Cluster, wanted: (event: Event) => boolean): Promise<Event> {
  return eventually(`an event ${wanted}`, async () => (await cluster.events()).find(wanted));
}

function endOf(cluster: Cluster, wanted: (event: Event) => boolean): Promise<Event> {
  return eventOf(cluster, (e) => e.event === "session.end" && wanted(e));
}

/** The recording as the auth service has it, finished. */
async function recordingOf(cluster: Cluster, sid: string) {
  const recordings = new Recordings(cluster);
  await recordings.finished(sid);
  const { header, events } = await recordings.read(sid);
  return {
    marks: events.filter(([, code]) => code === "m").map(([, , label]) => label),
    meta: header.teleport as Record<string, unknown>,
    output: await recordings.output(sid),
  };
}

async function sha256(path: string): Promise<string> {
  return createHash("sha256").update(await Deno.readFile(path)).digest("hex");
}

/** Sends a text, ends its side, reads the answer. */
async function ask(port: number, text: string): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(text));
  await conn.closeWrite();
  const answer = await new Response(conn.readable).text();
  if (answer === "") throw new Error("nobody answered");
  return answer;
}

/** Sends back what it is sent. */
class Echo implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done = this.#serve();

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) {
      conn.readable.pipeTo(conn.writable).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}
