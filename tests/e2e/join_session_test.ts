import assert from "node:assert/strict";
import { Cluster, type Person } from "../harness/cluster.ts";
import { bin, eventually, run } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

interface Session {
  sid: string;
  user: string;
  login: string;
  server_hostname: string;
  interactive: boolean;
  command?: string;
  parties: { user: string; mode: string }[];
  join_modes?: string[];
}

/** A role with root's login, and what its holders may join. */
function role(name: string, joins: string): string {
  return `kind: role
version: v3
metadata: {name: ${name}}
spec: {allow: {logins: [root], join_sessions: [${joins}]}}
`;
}

const ROLES = [
  role("dev", ""),
  role("helper", "{name: help, roles: [dev], modes: [peer, moderator]}"),
  role("watcher", "{name: watch, roles: [d*], modes: [observer]}"),
].join("---\n");

Deno.test("sessions are joined", async (t) => {
  await using cluster = await Cluster.separate({ nodes: ["node-1"], secondFactor: "off" });
  await Deno.writeTextFile(`${cluster.dir}/roles.yaml`, ROLES);
  await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
  const person = async (name: string, roles: string): Promise<Person> => {
    const someone = await cluster.enrol(name);
    await cluster.tctl(["users", "update", name, `--set-roles=${roles}`]);
    await someone.login();
    return someone;
  };
  const alice = await person("alice", "dev");
  const bob = await person("bob", "dev,helper");
  const carol = await person("carol", "watcher");
  const dave = await person("dave", "dev");

  const list = async (who: Person): Promise<Session[]> =>
    JSON.parse((await who.must([bin("tsh"), "sessions", "ls", "--format=json"])).stdout);
  const listAll = async (): Promise<Session[]> =>
    JSON.parse((await cluster.tctl(["sessions", "ls", "--format=json"])).stdout);
  const terminals: Terminal[] = [];
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      for (const terminal of terminals) await terminal.close();
    },
  };
  const open = async (who: Person, ...args: string[]) => {
    const options = { dir: cluster.dir, env: who.env };
    const terminal = await Terminal.open([bin("tsh"), ...args], options);
    terminals.push(terminal);
    return terminal;
  };
  /** A shell of alice's with a short prompt, and its session's id. */
  const shell = async (): Promise<{ terminal: Terminal; sid: string }> => {
    const terminal = await open(alice, "ssh", "root@node-1");
    await terminal.shows(/[#$]$/m);
    await terminal.enter("PS1='ready> '; clear");
    await terminal.shows(/^ready>$/m);
    const sid = await eventually("the session to be listed", async () => {
      const own = (await list(alice)).find(({ parties }) => parties.length > 0);
      return own?.sid;
    });
    return { terminal, sid };
  };
  await t.step("three parties: the owner, a peer who types, an observer who does not", async () => {
    const { terminal, sid } = await shell();
    assert.deepEqual((await list(bob)).map((s) => [s.sid, s.join_modes]), [
      [sid, ["peer", "moderator"]],
    ]);
    assert.deepEqual((await list(carol)).map((s) => [s.sid, s.join_modes]), [[sid, ["observer"]]]);
    assert.deepEqual(await list(dave), []);
    await terminal.enter("echo seen by $((6 * 7))");
    await terminal.shows(/^seen by 42$/m);
    const peer = await open(bob, "join", sid.slice(0, 8));
    await peer.shows(/^seen by 42$/m);
    await terminal.shows(/^bob has joined this session as peer$/m);
    const observer = await open(carol, "join", "--mode=observer", sid);
    await observer.shows(/^seen by 42$/m);
    for (const party of [terminal, peer]) await party.shows(/^carol has joined .* as observer$/m);
    await observer.enter("echo not by carol");
    await peer.enter("echo typed by $SSH_TELEPORT_USER\\'s peer");
    for (const party of [terminal, peer, observer]) await party.shows(/^typed by alice's peer$/m);
    assert.doesNotMatch(await terminal.screen(), /not by carol/);
    await peer.resize(90, 30);
    await observer.shows(/^This session has 90×30 characters, your terminal 80×24/m);
    await eventually("the new size", async () => {
      await peer.enter("clear; stty size");
      return /^30 90$/m.test(await terminal.screen());
    });
    const [session] = await listAll();
    assert.deepEqual(session!.parties.map(({ user, mode }) => [user, mode]), [
      ["alice", "peer"],
      ["bob", "peer"],
      ["carol", "observer"],
    ]);
    await observer.press("C-c");
    await observer.shows(/You have left the session\.\s+\[ended with status 0\]/);
    await terminal.shows(/^carol has left this session$/m);
    await peer.enter("exit 5");
    for (const party of [terminal, peer]) await party.shows(/\[ended with status 5\]/);
  });

  await t.step("who joins late sees the screen of a full-screen program", async () => {
    const { terminal, sid } = await shell();
    await terminal.enter("vim -u NONE");
    await terminal.shows(/^~\s*$/m);
    await terminal.type("iheld by a certificate");
    await terminal.shows(/held by a certificate/);
    const observer = await open(carol, "join", sid);
    await observer.shows(/^held by a certificate\n(~\s*\n){20}/m);
    await observer.shows(/keys are ignored, Ctrl-C leaves\s*$/);
    await terminal.press("Enter");
    await terminal.type("and seen by others");
    await observer.shows(/^held by a certificate\nand seen by others\n~/m);
    await terminal.press("Escape");
    await terminal.enter(":q!");
    await observer.shows(/^ready>/m);
    await terminal.enter("exit");
    await observer.shows(/\[ended with status 0\]/);
  });

  await t.step("stock ssh joins, and a stopped joiner does not hold the owner", async () => {
    const go = `${cluster.dir}/go`;
    const bytes = 24 * 1024 * 1024;
    const command = `until [ -e ${go} ]; do sleep 0.1; done; head -c ${bytes} /dev/zero; exit 3`;
    const owner = run(
      ["sh", "-c", `"$@" | wc -c; exit $?`, "sh"].concat(
        ["ssh", ...await alice.sshArgs(), "-tt", "root@node-1.main", command],
      ),
      { env: alice.env },
    );
    const sid = await eventually("the command", async () => (await list(alice))[0]?.sid);
    const joiner = new Deno.Command("ssh", {
      args: [
        ...await bob.sshArgs(),
        ...["-tt", "-o", `SetEnv=TELEPORT_SESSION=${sid}`, "root@node-1.main"],
      ],
      env: bob.env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    await eventually("bob to be there", async () => (await listAll())[0]?.parties.length === 2);
    joiner.kill("SIGSTOP");
    await Deno.writeTextFile(go, "");
    // And the line that says who has joined.
    const extra = Number((await owner).stdout) - bytes;
    assert.ok(extra >= 0 && extra < 200, `${extra} bytes more than the program wrote`);
    joiner.kill("SIGCONT");
    const { code, stdout } = await joiner.output();
    assert.equal(code, 3);
    assert.ok(stdout.length < bytes / 2, `${stdout.length} bytes were kept for the joiner`);
  });

  await t.step("tsh says why a session cannot be joined, before it connects", async () => {
    const { terminal, sid } = await shell();
    for (const id of [sid, crypto.randomUUID(), sid.slice(0, 4)]) {
      const stranger = await open(dave, "join", id);
      await stranger.shows(/is over, or your roles\s+do not let you[\s\S]*\[ended with status 1\]/);
    }
    const asPeer = await open(carol, "join", "--mode=peer", sid);
    await asPeer.shows(/as observer, not as peer\s+\[ended with status 255\]/);
    const unknown = await open(bob, "join", "--mode=owner", sid);
    await unknown.shows(/--mode=owner is not one of peer, observer, moderator/);
    const piped = await bob.tsh(["join", sid]);
    assert.deepEqual([piped.code, piped.stdout], [2, ""]);
    assert.match(piped.stderr, /from a terminal/);
    await terminal.enter("exit");
    await terminal.shows(/\[ended with status 0\]/);
  });

  await t.step("an administrator ends a session, and who is in it reads so", async () => {
    const { terminal, sid } = await shell();
    const moderator = await open(bob, "join", "--mode=moderator", sid);
    await moderator.shows(/^ready>/m);
    const ls = (await cluster.tctl(["sessions", "ls"])).stdout;
    assert.match(ls, new RegExp(`^${sid} +alice +root +node-1 +shell \\(80×24\\)`, "m"));
    const killed = await cluster.tctl(["sessions", "kill", sid.slice(0, 12), "--reason=at noon"]);
    assert.match(killed.stdout, new RegExp(`Session ${sid} of alice, root@node-1`));
    for (const party of [terminal, moderator]) {
      await party.shows(/The session was ended by \S+: at noon\s+[\s\S]*\[ended with status 255\]/);
    }
    assert.match((await cluster.tryTctl(["sessions", "kill", sid])).stderr, /is over/);
    const cut = await eventually(
      "the event",
      async () =>
        (await cluster.events()).find(({ event, reason }) =>
          event === "client.disconnect" && /was ended by \S+: at noon/.test(String(reason))
        ),
    );
    assert.equal(cut.user, "alice");
  });

  await t.step("a moderator ends a session by a key", async () => {
    const { terminal, sid } = await shell();
    const moderator = await Terminal.open([bin("tsh"), "join", "--mode=moderator", sid], {
      dir: cluster.dir,
      env: bob.env,
      cols: 70,
    });
    terminals.push(moderator);
    await terminal.shows(/^bob has joined this session as moderator$/m);
    await moderator.shows(/^You are in alice's session .* Ctrl-C leaves, t ends it for$/m);
    await moderator.shows(/^This session has 80×24 characters, your terminal 70×24: lines are cu/m);
    await moderator.press("t");
    for (const party of [terminal, moderator]) {
      await party.shows(/ended by bob, its moderator[\s\S]*\[ended with status 255\]/);
    }
  });

  await t.step("a session waits for an owner who was cut off, and goes on", async () => {
    const { terminal, sid } = await shell();
    await terminal.enter("kept=yes; echo done");
    await terminal.shows(/^done$/m);
    await terminal.close();
    await eventually("alice to be gone", async () => {
      const [session] = await list(alice);
      assert.equal(session?.sid, sid);
      return session?.parties.length === 0;
    });
    const again = await open(alice, "join", sid);
    await again.shows(/^ready>/m);
    await again.enter("echo kept: $kept; exit 4");
    await again.shows(/^kept: yes$[\s\S]*\[ended with status 4\]/m);
    const over = await alice.tsh(["sessions", "ls"]);
    assert.match(over.stdout, /No session of yours/);
  });

  await t.step("a node that stops ends the sessions that wait", async () => {
    const { terminal, sid } = await shell();
    await terminal.close();
    await eventually("alice to be gone", async () => (await list(alice))[0]?.parties.length === 0);
    await cluster.daemon("node-1").stop();
    const events = await cluster.events();
    assert.ok(events.some((event) => event.event === "session.end" && event.sid === sid));
  });

  await t.step("the audit log has who took part, and each end once", async () => {
    const events = await eventually("the ends", async () => {
      const all = await cluster.events();
      return all.filter(({ event }) => event === "session.end").length >= 8 ? all : undefined;
    });
    const of = (name: string) => events.filter(({ event }) => event === name);
    const first = of("session.join")[0]!;
    assert.deepEqual([first.user, first.code, first.mode], ["bob", "T2001I", "peer"]);
    const end = of("session.end").find(({ sid }) => sid === first.sid)!;
    assert.deepEqual(end.participants, ["alice", "bob", "carol"]);
    assert.equal(end.session_recording, "node");
    const left = of("session.leave").filter(({ sid }) => sid === first.sid);
    assert.deepEqual(left.map(({ user, code }) => [user, code]), [["carol", "T2003I"]]);
    const sids = of("session.end").map(({ sid }) => sid);
    assert.equal(new Set(sids).size, sids.length);
    assert.equal(of("session.start").length, sids.length);
  });
});
