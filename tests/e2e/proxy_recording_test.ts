/** Sessions recorded at the proxy: stock sshd and our own node as targets, ssh and tsh as clients. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { Cluster, type Person } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { eventually, run, type RunOptions, type RunResult } from "../harness/run.ts";
import { Sshd } from "../harness/sshd.ts";
import { SshAgent } from "../harness/ssh_agent.ts";

type Event = Record<string, unknown>;

Deno.test("sessions are recorded at the proxy", async (t) => {
  const [signed, plain] = [freePort(), freePort()];
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1"],
    auth: "session_recording: proxy",
    proxy: `unregistered_targets: ["localhost:${signed}", "127.0.0.0/8:${signed}", ` +
      `"localhost:${plain}", "127.0.0.0/8:${plain}"]`,
  });
  await using _sshd = await Sshd.start(cluster, { port: signed, names: ["localhost"] });
  await using _plain = await Sshd.start(cluster, { port: plain });
  await using agent = await SshAgent.start(cluster.dir);
  const joe = await cluster.enrol("joe", ["root"]);
  await joe.login();
  await agent.add(`${joe.home}/.tsh/keys/localhost/joe`);
  const ssh = await stockSsh(cluster, joe, agent);
  const { dir } = cluster;

  await t.step(
    "ssh -A with a terminal on a stock sshd: recorded, with its exit status",
    async () => {
      const result = await ssh(["-tt", "-p", `${signed}`, "root@localhost"], "stty size; exit 7\n");
      assert.equal(result.code, 7, result.stderr);
      const end = await endOf(cluster, (e) => e.target_addr === `127.0.0.1:${signed}`);
      assert.equal(end.session_recording, "proxy");
      assert.equal(end.user, "joe");
      assert.equal(end.interactive, true);
      const { header, output } = await recordingOf(cluster, `${end.sid}`);
      assert.match(output, /stty size/);
      assert.equal(header.teleport.recorded_by, "proxy");
      assert.equal(header.teleport.server_hostname, "localhost");
      assert.equal(header.teleport.login, "root");
    },
  );

  await t.step("a command: stdin, both outputs, exit status, events, no recording", async () => {
    const command = "cat; echo oops >&2; exit 3";
    const result = await ssh(["-p", `${signed}`, "root@localhost", command], "a\nb\n");
    assert.deepEqual([result.code, result.stdout], [3, "a\nb\n"]);
    assert.match(result.stderr, /^oops$/m);
    const exec = await eventOf(cluster, (e) => e.event === "exec" && e.command === command);
    assert.deepEqual([exec.code, exec.exitCode, exec.login], ["T3002E", "3", "root"]);
    const end = await endOf(cluster, (e) => e.sid === exec.sid);
    assert.equal(end.interactive, false);
    await assert.rejects(Deno.stat(recordingPath(cluster, `${exec.sid}`)), Deno.errors.NotFound);
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
    for (const [i, flag] of ["-s", "-O"].entries()) {
      await joe.must(["scp", flag, "-A", ...scp, `${dir}/big`, `root@localhost:${dir}/up${i}`], {
        env: agent.env,
      });
      await joe.must(
        ["scp", flag, "-A", ...scp, `root@localhost:${dir}/up${i}`, `${dir}/down${i}`],
        {
          env: agent.env,
        },
      );
      assert.equal(await sha256(`${dir}/down${i}`), await sha256(`${dir}/big`), flag);
    }
    const sftp = await joe.must(
      ["sftp", "-A", ...scp, "-b", "-", "root@localhost"],
      { env: agent.env, stdin: `get ${dir}/up0 ${dir}/down-sftp\n` },
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
    const forward = ssh.start([
      ...["-N", "-p", `${signed}`, "-L", `127.0.0.1:${local}:127.0.0.1:${echo.port}`],
      ...["-R", `127.0.0.1:${remote}:127.0.0.1:${echo.port}`, "root@localhost"],
    ]);
    try {
      for (const port of [local, remote]) {
        const said = await eventually(`port ${port}`, () => ask(port, "there and back"));
        assert.equal(said, "there and back");
      }
    } finally {
      forward.kill("SIGTERM");
      await forward.status;
    }
    const ports = (direction: string) => (e: Event) =>
      e.event === "port" && e.direction === direction && e.code === "T3003I" && !!e.target_addr;
    await eventOf(cluster, ports("local"));
    await eventOf(cluster, ports("remote"));
  });

  await t.step("another user's certificate in the agent is not used", async () => {
    const eve = await cluster.enrol("eve", ["root"]);
    await eve.login();
    await using other = await SshAgent.start(dir);
    await other.add(`${eve.home}/.tsh/keys/localhost/eve`);
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
    const { header, output } = await recordingOf(cluster, `${end.sid}`);
    assert.match(output, /seen-42/);
    assert.equal(header.teleport.recorded_by, "proxy");
    assert.equal(header.teleport.server_hostname, "node-1");
    const all = (await cluster.events()).filter((e) => e.sid === end.sid);
    assert.equal(all.filter((e) => e.event === "session.start").length, 1);
    assert.equal(all.filter((e) => e.event === "session.end").length, 1);
    const starts = (await cluster.events()).filter((e) =>
      e.event === "session.start" && e.interactive === true
    );
    assert.equal(starts.length, 2, "one on the sshd, one on the node");
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

interface StockSsh {
  (args: string[], stdin?: string): Promise<RunResult>;
  start(args: string[]): Deno.ChildProcess;
  /** For scp and sftp. */
  options: string[];
}

/** Stock ssh by ProxyJump, with the key and certificate of a person and an agent to forward. */
async function stockSsh(cluster: Cluster, person: Person, agent: SshAgent): Promise<StockSsh> {
  const key = `${person.home}/.tsh/keys/localhost/${person.name}`;
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
  const call = (args: string[], stdin?: string) => {
    const o: RunOptions = { env, ...(stdin === undefined ? {} : { stdin }) };
    return run(["ssh", ...options, "-A", ...args], o);
  };
  const start = (args: string[]) =>
    new Deno.Command("ssh", {
      args: [...options, "-A", "-o", "ExitOnForwardFailure=yes", ...args],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  return Object.assign(call, { start, options });
}

function eventOf(cluster: Cluster, wanted: (event: Event) => boolean): Promise<Event> {
  return eventually(`an event ${wanted}`, async () => (await cluster.events()).find(wanted));
}

function endOf(cluster: Cluster, wanted: (event: Event) => boolean): Promise<Event> {
  return eventOf(cluster, (e) => e.event === "session.end" && wanted(e));
}

function recordingPath(cluster: Cluster, sid: string): string {
  return `${cluster.dir}/auth/log/records/${sid}.cast.gz`;
}

/** The recording as the auth service has it, finished. */
async function recordingOf(cluster: Cluster, sid: string) {
  await eventOf(cluster, (e) => e.event === "session.upload" && e.sid === sid);
  const text = gunzipSync(await Deno.readFile(recordingPath(cluster, sid))).toString();
  const [header, ...events] = text.trim().split("\n").map((line) => JSON.parse(line));
  const output = events.filter(([, kind]) => kind === "o").map(([, , data]) => data).join("");
  return { header, output };
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
