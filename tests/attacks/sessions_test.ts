import assert from "node:assert/strict";
import type { ActiveSession } from "../../lib/api/types.ts";
import { Cluster } from "../harness/cluster.ts";
import { eventually, must, run, type RunResult } from "../harness/run.ts";
import { Mint, TRAITS } from "./mint.ts";
import { StolenHost } from "./stolen_host.ts";

function role(name: string, joins: string): string {
  return `kind: role
version: v3
metadata: {name: ${name}}
spec: {allow: {logins: [root, daemon], join_sessions: [${joins}]}}
`;
}

const ROLES = [
  role("dev", ""),
  role("helper", "{name: help, roles: [dev], modes: [peer]}"),
  role("watcher", "{name: watch, roles: [dev], modes: [observer]}"),
];

/** Options of `ssh-keygen` for somebody with these roles. */
function withRoles(roles: string[], more: string[] = []): string[] {
  const names = JSON.stringify({ version: "v1", roles });
  return [`extension:teleport-roles=${names}`, TRAITS, ...more];
}

/** What stock ssh needs to reach the node as root with this key. */
function sshArgs(mint: Mint, key: string): string[] {
  const { cluster, dir } = mint;
  return [
    ...["-F", "/dev/null", "-p", String(cluster.ports.node), "-i", key],
    ...["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"],
    ...["-o", `UserKnownHostsFile=${dir}/known_hosts`, "-o", "HostKeyAlias=node-1.main"],
    ...["-l", "root", "127.0.0.1"],
  ];
}

const SID = /[0-9a-f]{8}-[0-9a-f-]{27}/;

Deno.test("sessions that are not one's own", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const mint = await Mint.open(cluster);
  const create = async (...roles: string[]) => {
    await Deno.writeTextFile(`${cluster.dir}/roles.yaml`, roles.join("---\n"));
    await cluster.tctl(["create", "-f", `${cluster.dir}/roles.yaml`]);
  };
  await create(...ROLES);
  // mint.certified() makes keys of "mallory": the owner must be somebody else.
  const owner = await mint.newKey();
  await must([
    ...["ssh-keygen", "-q", "-s", mint.userCa, "-I", "alice", "-n", "root", "-V", "-5m:+1h"],
    ...withRoles(["dev"]).flatMap((option) => ["-O", option]),
    `${owner}.pub`,
  ]);

  const out = `${cluster.dir}/typed`;
  const session = new Deno.Command("ssh", {
    args: ["-tt", ...sshArgs(mint, owner), `echo the secret; exec cat > ${out}`],
    env: { SSH_AUTH_SOCK: "" },
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      session.kill("SIGKILL");
      await session.status;
      await session.stdin.abort().catch(() => {});
    },
  };
  const sid = await eventually("the session", async () => {
    const [only] = JSON.parse((await cluster.tctl(["sessions", "ls", "--format=json"])).stdout);
    return only?.sid as string | undefined;
  });

  const join = (
    key: string,
    options: { sid?: string; mode?: string; login?: string; flags?: string[]; command?: string[] },
  ): Promise<RunResult> => {
    const mode = options.mode ? ` TELEPORT_SESSION_JOIN_MODE=${options.mode}` : "";
    return mint.ssh(key, options.command ?? [], {
      ...(options.login ? { login: options.login } : {}),
      flags: [
        ...options.flags ?? ["-tt"],
        ...["-o", `SetEnv=TELEPORT_SESSION=${options.sid ?? sid}${mode}`],
      ],
    });
  };
  const refused = (result: RunResult, why: RegExp) => {
    assert.equal(result.code, 255, result.stdout + result.stderr);
    assert.doesNotMatch(result.stdout, /the secret/);
    assert.match(result.stderr, why);
  };
  /** What is the same whatever the id is. */
  const answer = ({ stderr }: RunResult) =>
    stderr.split("\n").filter((line) => SID.test(line)).map((line) => line.replace(SID, "…"));

  await t.step("attack 58: without a role; a guessed id is answered alike", async () => {
    const stranger = await mint.certified({ options: withRoles(["dev"]) });
    const real = await join(stranger, {});
    refused(real, /is over, or your roles do not let you join it as peer/);
    assert.equal(answer(real).length, 1);
    const guessed = await join(stranger, { sid: crypto.randomUUID() });
    refused(guessed, /roles/);
    assert.deepEqual(answer(guessed), answer(real));
    const helper = await mint.certified({ options: withRoles(["helper"]) });
    const gone = await join(helper, { sid: crypto.randomUUID() });
    assert.deepEqual(answer(gone), answer(real));
    for (const odd of ["", "../../x", "%s", "x".repeat(5000)]) {
      refused(await join(helper, { sid: odd }), /is over, or your roles/);
    }
  });

  await t.step("attack 58: in another mode than the role gives, or one that is none", async () => {
    const watcher = await mint.certified({ options: withRoles(["watcher"]) });
    for (const mode of ["peer", "moderator"]) {
      refused(await join(watcher, { mode }), new RegExp(`let you join it as ${mode}`));
    }
    for (const mode of ["owner", "Peer", "*", "peer\\ "]) {
      refused(await join(watcher, { mode }), /is not one of peer, observer, moderator/);
    }
  });

  await t.step("attack 58: an observer cannot type, signal, or set the size", async () => {
    const watcher = await mint.certified({ options: withRoles(["watcher"]) });
    const env = `SetEnv=TELEPORT_SESSION=${sid} TELEPORT_SESSION_JOIN_MODE=observer`;
    const typing = "(printf 'injected\\n'; sleep 1; printf '\\003') | ssh \"$@\"";
    const { code, stdout } = await run(
      ["sh", "-c", typing, "sh", "-tt", "-o", env, ...sshArgs(mint, watcher)],
      { env: { SSH_AUTH_SOCK: "" } },
    );
    assert.equal(code, 0);
    assert.match(stdout, /the secret[\s\S]*You have left the session/);
    assert.equal(await Deno.readTextFile(out), "");
    const resized = (await cluster.events()).filter(({ event }) => event === "resize");
    assert.deepEqual(resized, []);
  });

  await t.step("attack 58: as another OS user, without a terminal, with a command", async () => {
    const helper = await mint.certified({
      options: withRoles(["helper"]),
      principals: ["root", "daemon"],
    });
    refused(await join(helper, { login: "daemon" }), /can't switch users from root to daemon/);
    refused(await join(helper, { flags: ["-T"] }), /with a shell on a terminal/);
    refused(await join(helper, { command: ["id"] }), /without a command/);
    const noPty = await mint.certified({ options: ["clear", ...withRoles(["helper"])] });
    refused(await join(noPty, {}), /PTY allocation request failed/);
    refused(await join(noPty, { flags: ["-T"] }), /with a shell on a terminal/);
  });

  await t.step("attack 13: a certificate for one command joins nothing", async () => {
    const forced = await mint.certified({
      options: withRoles(["helper"], ["force-command=true"]),
    });
    refused(await join(forced, {}), /for one command/);
  });

  await t.step("attack 58: the roles of now count, not those of the login", async () => {
    const helper = await mint.certified({ options: withRoles(["helper"]) });
    // Over a connection that there is, ssh sends no SetEnv, and what both ends call SendEnv.
    const control = ["-o", `ControlPath=${cluster.dir}/mux`, "-o", "SendEnv=TELEPORT_SESSION"];
    const master = new Deno.Command("ssh", {
      args: [...control, "-o", "ControlMaster=yes", "-N", ...sshArgs(mint, helper)],
      env: { SSH_AUTH_SOCK: "" },
      stdin: "null",
      stderr: "null",
    }).spawn();
    await eventually(
      "the connection",
      async () => (await run(["ssh", ...control, "-O", "check", "127.0.0.1"])).code === 0,
    );
    await create(role("helper", ""));
    await eventually("the change to reach the node", async () => {
      const result = await run(["ssh", "-tt", ...control, ...sshArgs(mint, helper)], {
        env: { TELEPORT_SESSION: sid },
        timeoutMs: 1000,
      });
      return /roles do not let you/.test(result.stdout + result.stderr);
    });
    master.kill("SIGTERM");
    await master.status;
  });

  await t.step("attack 60: another node can neither hide a session nor take it over", async () => {
    const token = await cluster.token("node");
    const pin = await cluster.caPin();
    await cluster.startNode("node-2", { teleport: `auth_token: ${token}\n  ca_pin: "${pin}"` });
    await using thief = await StolenHost.connect(cluster, "node-2", "Node");
    const list = async (): Promise<ActiveSession[]> =>
      JSON.parse((await cluster.tctl(["sessions", "ls", "--format=json"])).stdout);
    const honest = (await list()).find((session) => session.sid === sid)!;
    await assert.rejects(
      thief.api.call("sessions.heartbeat", { sessions: [honest] }),
      /may not report sessions of/,
    );
    const taken = { ...honest, server_id: thief.id, login: "daemon" };
    await thief.api.call("sessions.heartbeat", { sessions: [taken] });
    await thief.api.call("sessions.heartbeat", { sessions: [] });
    const after = (await list()).find((session) => session.sid === sid);
    assert.deepEqual([after?.server_id, after?.login], [honest.server_id, "root"]);
    for (const method of ["sessions.list", "sessions.kill"] as const) {
      await assert.rejects(thief.api.call(method, { sid } as never), /may not call/);
    }
  });

  await t.step("attack 59: refusals are in the audit log, with who it was", async () => {
    const rejected = await eventually("the events", async () => {
      const found = (await cluster.events()).filter(({ event }) => event === "session.rejected");
      return found.length >= 15 ? found : undefined;
    });
    for (const { user, code } of rejected) assert.deepEqual([user, code], ["mallory", "T1006W"]);
  });
});
