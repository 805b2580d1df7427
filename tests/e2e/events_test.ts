/** Every audit event of the reference, provoked once, with its code and all of its fields. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { Cluster, type Person } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { bin, eventually, run } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

type StoredEvent = Record<string, unknown> & { event: string; code: string };

const COMMON = ["event", "code", "uid", "time", "ei"];
/** The reference's groups: user and login, server, connection, resource. */
const U = ["user", "login"];
const S = ["server_id", "namespace", "server_hostname", "server_addr", "server_labels"];
const C = ["addr.local", "addr.remote", "proto"];
const R = ["name", "expires", "updated_by", "ttl"];
const EXEC = [...U, ...S, ...C, "sid", "command"];
/** What the audit log adds to what hosts report. */
const REPORTED = ["reported_by", "reported_service", "reported_stream", "reported_seq"];

/** Fields that the reference has, and those that are ours or belong to some of the events only. */
const TABLE: Record<string, { fields: string[]; others?: string[] }> = {
  "user.login T1000I": { fields: ["user", "success", "method", "addr.remote"] },
  "user.login T1000W": {
    fields: ["user", "success", "method", "error", "message", "addr.remote"],
  },
  "user.create T1002I": { fields: ["user", ...R, "roles", "connector"] },
  "user.update T1003I": { fields: ["user", ...R, "roles", "connector"] },
  "user.delete T1004I": { fields: ["user", ...R, "roles", "connector"] },
  "user.password_change T1005I": { fields: ["user"] },
  "session.rejected T1006W": { fields: [...U, ...S, ...C, "reason", "max"] },
  "session.start T2000I": { fields: [...U, ...S, ...C, "sid", "size"], others: ["interactive"] },
  "session.join T2001I": { fields: [...U, ...S, ...C, "sid"], others: ["mode"] },
  "resize T2002I": { fields: [...U, ...S, ...C, "sid", "size"] },
  "session.leave T2003I": { fields: [...U, ...S, ...C, "sid"] },
  "session.end T2004I": {
    fields: [
      ...[...U, ...S, ...C, "sid", "enhanced_recording", "interactive", "participants"],
      ...["session_start", "session_stop"],
    ],
    others: ["session_recording"],
  },
  "session.upload T2005I": { fields: ["sid", "url"] },
  "session.data T2006I": { fields: [...U, ...S, ...C, "sid", "tx", "rx"] },
  "subsystem T3001I": { fields: [...U, ...C, "name"], others: [...S, "sid"] },
  "subsystem T3001E": { fields: [...U, ...C, "name", "exitError"], others: [...S, "sid"] },
  "exec T3002I": { fields: [...EXEC, "exitCode"] },
  "exec T3002E": { fields: [...EXEC, "exitCode", "exitError"] },
  "port T3003I": { fields: [...U, ...C, "success", "addr"], others: [...S, "direction"] },
  "port T3003E": { fields: [...U, ...C, "success", "error", "addr"], others: [...S, "direction"] },
  "scp T3004I": { fields: [...EXEC, "exitCode", "path", "action"] },
  "scp T3004E": { fields: [...EXEC, "exitCode", "exitError", "path", "action"] },
  "scp T3005I": { fields: [...EXEC, "exitCode", "path", "action"] },
  "scp T3005E": { fields: [...EXEC, "exitCode", "exitError", "path", "action"] },
  "client.disconnect T3006I": { fields: [...U, ...C, ...S, "reason"], others: ["sid"] },
  "auth T3007W": { fields: [...U, ...C, "success", "error", "message"], others: S },
  "x11-forward T3008I": { fields: [...U, ...C, "success"], others: [...S, "sid"] },
  "x11-forward T3008W": { fields: [...U, ...C, "success", "error"], others: [...S, "sid"] },
  "reset_password_token.create T6000I": { fields: [...R, "user"] },
  "role.created T9000I": { fields: [...R, "user"] },
  "role.deleted T9001I": { fields: [...R, "user"] },
  // Our own.
  "sftp TS001I": {
    fields: [...U, ...S, ...C, "sid", "action", "path"],
    others: ["target_path", "bytes_read", "bytes_written"],
  },
  "sftp TS001E": {
    fields: [...U, ...S, ...C, "sid", "action", "path", "error"],
    others: ["target_path", "bytes_read", "bytes_written"],
  },
  "audit.gap TA001W": {
    fields: ["server_id", "service", "stream", "first_missing", "last_missing"],
  },
};

const role = (name: string, options = "", metadata = "") =>
  `kind: role
version: v3
metadata: {name: ${name}${metadata}}
spec:
  options: {${options}}
  allow: {logins: [root], node_labels: {'*': '*'}}
`;

const expires = new Date(Date.now() + 3_600_000).toISOString();

const USER = `kind: user
version: v2
metadata: {name: temp, expires: "${expires}"}
spec: {roles: [admin], traits: {logins: [temp]}}
`;

Deno.test("every event of the reference has its name, its code and its fields", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const { dir } = cluster;
  const file = async (name: string, text: string) => {
    await Deno.writeTextFile(`${dir}/${name}`, text);
    return `${dir}/${name}`;
  };

  const roles = [
    role("temp", "", `, expires: "${expires}"`),
    role("display", "permit_x11_forwarding: true"),
    role("alone", "max_connections: 1"),
    role("idle", "client_idle_timeout: 1s"),
    role("closed", "port_forwarding: false"),
  ];
  await cluster.tctl(["create", await file("roles.yaml", roles.join("---\n"))]);
  await cluster.tctl(["rm", "role/temp"]);
  const user = await file("user.yaml", USER);
  await cluster.tctl(["create", user]);
  await cluster.tctl(["create", "-f", user]);
  await cluster.tctl(["rm", "user/temp"]);
  const joe = await cluster.enrol("joe");
  await joe.login();
  const [display, alone, idle, closed] = await Promise.all(
    ["display", "alone", "idle", "closed"].map((name) => cluster.personWith(`u-${name}`, name)),
  ) as [Person, Person, Person, Person];
  const target = "root@node-1.main";

  await t.step("five wrong passwords lock a user", async () => {
    for (let i = 0; i < 6; i++) {
      await run([bin("tsh"), "login", `--ca-pin=${await cluster.caPin()}`], {
        env: { ...closed.env, HOME: `${dir}/home-mallory`, TELEPORT_USER: "mallory" },
        stdin: "wrong password\n",
      });
    }
  });

  await t.step("commands, copies and subsystems", async () => {
    const ssh = await joe.sshArgs();
    await joe.tsh(["ssh", "root@node-1", "true"]);
    assert.equal((await joe.tsh(["ssh", "root@node-1", "exit 7"])).code, 7);
    const there = await file("there", "text");
    const scp = (from: string, to: string) =>
      run(["scp", "-O", ...ssh, from, to], { env: joe.env });
    assert.equal((await scp(there, `${target}:${dir}/up`)).code, 0);
    assert.equal((await scp(`${target}:${dir}/up`, `${dir}/down`)).code, 0);
    assert.notEqual((await scp(there, `${target}:/no/such/directory/x`)).code, 0);
    assert.notEqual((await scp(`${target}:/no/such/file`, `${dir}/none`)).code, 0);
    const sftp = (commands: string) =>
      run(["sftp", "-b", "-", ...ssh, target], { env: joe.env, stdin: commands });
    assert.equal((await sftp(`get ${there} ${dir}/sftp-down\n`)).code, 0);
    await sftp("rm /no/such/file\n");
    assert.notEqual(
      (await run(["ssh", ...ssh, "root@no-such-node.main"], { env: joe.env })).code,
      0,
    );
  });

  await t.step("forwarded ports and displays", async () => {
    const port = freePort();
    const through = async (person: Person) => {
      const args = [...await person.sshArgs(), "-W", `127.0.0.1:${cluster.ports.auth}`, target];
      return await run(["ssh", ...args], { env: person.env, timeoutMs: 10_000 });
    };
    await through(joe);
    await through(closed);
    for (const person of [display, closed]) {
      const args = [...await person.sshArgs(), "-Y", target, "true"];
      const env = { ...person.env, DISPLAY: `127.0.0.1:${port % 1000}` };
      const result = await run(["ssh", ...args], { env });
      assert.equal(result.code, 0, result.stderr);
    }
  });

  await t.step("limits of connections", async () => {
    const sleeping = await Background.start(
      [bin("tsh"), "ssh", "root@node-1", "echo up; sleep 1000"],
      alone.env,
      (said) => said.includes("up"),
    );
    const second = await alone.tsh(["ssh", "root@node-1", "true"]);
    assert.equal(second.code, 255);
    assert.match(
      second.stderr,
      /too many concurrent ssh connections for user "u-alone" \(max=1\)/,
    );
    await sleeping[Symbol.asyncDispose]();
    await eventually(
      "the first connection to be given back",
      async () => (await alone.tsh(["ssh", "root@node-1", "true"])).code === 0,
    );
    const dropped = await idle.tsh(["ssh", "root@node-1", "sleep 1000"]);
    assert.equal(dropped.code, 255);
    assert.match(dropped.stderr, /client is idle for \d+s, exceeded idle timeout of 1s/);
  });

  await t.step("a certificate that is refused", async () => {
    assert.equal((await joe.tsh(["ssh", "nobody@node-1", "true"])).code, 255);
  });

  await t.step("a session with two parties", async () => {
    const open = (args: string[]) =>
      Terminal.open([bin("tsh"), ...args], { dir, env: { ...joe.env, PS1: "ready> " } });
    const owner = await open(["ssh", "root@node-1"]);
    const sid = await eventually("the session", async () => {
      const { stdout } = await cluster.tctl(["sessions", "ls", "--format=json"]);
      return JSON.parse(stdout)[0]?.sid as string | undefined;
    });
    await owner.resize(100, 30);
    const guest = await open(["join", sid]);
    await eventually("the guest", async () => {
      await owner.enter("echo both of $((40 + 2))");
      return /both of 42/.test(await guest.screen());
    });
    await guest.close();
    await seen(cluster, "session.leave T2003I");
    await owner.enter("exit");
    await seen(cluster, "session.upload T2005I");
    await owner.close();
  });

  await t.step("events of a host that never arrive", async () => {
    await cluster.daemon("main").stop();
    const path = `${dir}/main/log/spool/node/sequence`;
    const [stream, last] = (await Deno.readTextFile(path)).trim().split(" ");
    await Deno.writeTextFile(path, `${stream} ${String(Number(last) + 3).padStart(16, "0")}\n`);
    await cluster.restart("main");
    await joe.tsh(["ssh", "root@node-1", "true"]);
    await seen(cluster, "audit.gap TA001W");
  });

  const events = await cluster.events() as StoredEvent[];
  for (const [name, { fields, others = [] }] of Object.entries(TABLE)) {
    await t.step(name, () => {
      const found = events.filter((each) => `${each.event} ${each.code}` === name);
      assert.ok(found.length > 0, `there is none: ${[...new Set(events.map(nameOf))]}`);
      const wanted = [...COMMON, ...fields];
      const complete = found.find((event) => wanted.every((field) => field in event));
      const best = found.map((event) => wanted.filter((field) => !(field in event)))
        .sort((a, b) => a.length - b.length)[0];
      assert.ok(complete, `${found.length} events, and these fields are missing: ${best}`);
      const known = new Set([...wanted, ...others, ...REPORTED]);
      const unknown = found.flatMap((event) => Object.keys(event).filter((key) => !known.has(key)));
      assert.deepEqual([...new Set(unknown)], [], JSON.stringify(found[0]));
    });
  }

  await t.step("and no event is of a kind that the reference and this table do not know", () => {
    const unknown = events.map(nameOf).filter((name) => !(name in TABLE));
    assert.deepEqual([...new Set(unknown)], []);
  });
});

function nameOf({ event, code }: StoredEvent): string {
  return `${event} ${code}`;
}

async function seen(cluster: Cluster, name: string): Promise<void> {
  await eventually(
    name,
    async () => (await cluster.events() as StoredEvent[]).some((event) => nameOf(event) === name),
  );
}
