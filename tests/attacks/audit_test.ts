/** A host, or a user, who wants the audit log to say something else than what happened. */
import assert from "node:assert/strict";
import { Background } from "../harness/background.ts";
import { Cluster } from "../harness/cluster.ts";
import { bin, eventually, run } from "../harness/run.ts";
import { StolenHost } from "./stolen_host.ts";

type Event = Record<string, unknown>;

const AUDITOR = (name: string, verbs: string, deny = "[]") =>
  `kind: role
version: v3
metadata: {name: ${name}}
spec:
  allow: {logins: [root], node_labels: {'*': '*'}, rules: [{resources: [event], verbs: ${verbs}}]}
  deny: {rules: ${deny}}
`;

Deno.test("the audit log does not say what others want it to say", async (t) => {
  await using cluster = await Cluster.separate({
    secondFactor: "off",
    nodes: ["node-1", "node-2"],
  });
  const joe = await cluster.enrol("joe");
  await joe.login();
  await using evil = await StolenHost.connect(cluster, "node-2", "Node");
  await using proxy = await StolenHost.connect(cluster, "proxy", "Proxy");
  const stored = async (uid: unknown) =>
    (await cluster.events()).filter((event) => event.uid === uid);
  const [honest] = JSON.parse((await cluster.tctl(["nodes", "ls", "--format=json"])).stdout)
    .filter((node: { spec: { hostname: string } }) => node.spec.hostname === "node-1")
    .map((node: { metadata: { name: string } }) => node.metadata.name) as [string];

  await t.step("attack 60: a node speaks in its own name only", async () => {
    const forged = [
      evil.exec({ server_id: honest }),
      evil.exec({ server_id: crypto.randomUUID() }),
    ];
    const reasons = await evil.report(...forged);
    assert.equal(reasons.length, 2);
    assert.ok(reasons.every((reason) => /is not the sender's own/.test(reason)), reasons.join());
    for (const { uid } of forged) assert.deepEqual(await stored(uid), []);
  });

  await t.step("attack 60: what a node says of itself is what it has announced", async () => {
    const event = evil.exec({
      server_hostname: "node-1",
      server_addr: "192.0.2.9:22",
      server_labels: { env: "prod" },
      namespace: "other",
      reported_by: honest,
      reported_service: "proxy",
    });
    assert.deepEqual(await evil.report(event), []);
    const [seen] = await stored(event.uid);
    assert.deepEqual(
      [seen!.server_hostname, seen!.namespace, seen!.reported_by, seen!.reported_service],
      ["node-2", "default", evil.id, "node"],
    );
    assert.deepEqual(seen!.server_labels, { env: "test", name: "node-2" });
    assert.notEqual(seen!.server_addr, "192.0.2.9:22");
  });

  await t.step("attack 60: a time that is not now is not believed", async () => {
    for (const time of ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"]) {
      const event = evil.exec({ time });
      await evil.report(event);
      const [seen] = await stored(event.uid);
      assert.ok(Math.abs(Date.parse(seen!.time as string) - Date.now()) < 60_000);
      assert.equal(seen!.reported_time, time);
    }
  });

  await t.step("attack 60: neither node nor proxy reports what the auth service does", async () => {
    const kinds: Event[] = [
      { event: "user.login", code: "T1000I", user: "joe", success: true, method: "local" },
      { event: "user.delete", code: "T1004I", user: "x", name: "joe" },
      { event: "role.created", code: "T9000I", user: "x", name: "god" },
      { event: "session.upload", code: "T2005I", sid: crypto.randomUUID(), url: "file:///x" },
      { event: "audit.gap", code: "TA001W", first_missing: 1, last_missing: 2 },
      { event: "exec", code: "T1000I" },
      { event: "made.up", code: "T3002I" },
    ];
    for (const host of [evil, proxy]) {
      const reasons = await host.report(...kinds.map((kind) => host.exec(kind)));
      assert.equal(reasons.length, kinds.length, reasons.join("; "));
    }
  });

  await t.step("attack 60: no node ends, or adds to, another node's session", async () => {
    await using session = await Background.start(
      [bin("tsh"), "ssh", "-t", "root@node-1", "echo here; sleep 1000"],
      joe.env,
      (said) => said.includes("here"),
    );
    const start = await eventually(
      "the session's start",
      async () =>
        (await cluster.events()).find((e) => e.event === "session.start" && e.server_id === honest),
    );
    const { sid } = start;
    const end = {
      ...{ event: "session.end", code: "T2004I", sid, interactive: true },
      ...{ enhanced_recording: false, participants: ["nobody"] },
      session_start: "2025-01-01T00:00:00Z",
      session_stop: "2025-01-01T00:00:01Z",
    };
    const reasons = await evil.report(evil.exec(end), evil.exec({ sid }));
    assert.deepEqual(reasons, Array(2).fill("the session is another host's"));
    await session[Symbol.asyncDispose]();
    const ends = await eventually("its end", async () => {
      const found = (await cluster.events()).filter((e) =>
        e.event === "session.end" && e.sid === sid
      );
      return found.length > 0 ? found : undefined;
    });
    assert.deepEqual(ends.map(({ participants }) => participants), [["joe"]]);
    // Whoever says it, a second end is not stored.
    await proxy.report(proxy.exec(end));
    assert.equal(
      (await cluster.events()).filter((e) => e.event === "session.end" && e.sid === sid).length,
      1,
    );
  });

  await t.step("attack 60: events that a node leaves out are seen to be missing", async () => {
    const stream = "01939b1e-0000-7000-8000-000000000001";
    const numbered = (reported_seq: number) => evil.exec({ reported_stream: stream, reported_seq });
    await evil.report(numbered(1), numbered(2));
    await evil.report(numbered(7));
    const gaps = (await cluster.events()).filter((e) => e.event === "audit.gap");
    assert.deepEqual(gaps.map((e) => [e.server_id, e.first_missing, e.last_missing]), [
      [evil.id, 3, 6],
    ]);
    assert.match(cluster.daemon("auth").log, /events of a host are missing/);
  });

  await t.step("attack 50, 60: batches of nonsense are refused and harm nobody", async () => {
    const nonsense: Event[] = [
      {},
      evil.exec({ uid: "../../etc/passwd" }),
      evil.exec({ user: { $ne: 1 } }),
      evil.exec({ command: 5 }),
      evil.exec({ reported_seq: -1 }),
      evil.exec({ ei: 2 ** 40 }),
      JSON.parse(`{"__proto__":{"event":"exec"}}`),
    ];
    assert.equal((await evil.report(...nonsense)).length, nonsense.length);
    const huge = evil.exec({ command: "x".repeat(5_000_000) });
    assert.deepEqual(await evil.report(huge), []);
    const [seen] = await stored(huge.uid);
    assert.ok((seen!.command as string).length < 20_000);
  });

  await t.step("attack 53: only who has both verbs on events searches the log", async () => {
    const roles = [
      AUDITOR("auditor", "[list, read]"),
      AUDITOR("lister", "[list]"),
      AUDITOR("denied", "[list, read]", "[{resources: [event], verbs: [read]}]"),
    ];
    await Deno.writeTextFile(`${cluster.dir}/roles.yaml`, roles.join("---\n"));
    await cluster.tctl(["create", `${cluster.dir}/roles.yaml`]);
    const search = async (role: string) => {
      await cluster.tctl(["users", "add", `u-${role}`, "root"]);
      await cluster.tctl(["users", "update", `u-${role}`, `--set-roles=${role}`]);
      const identity = `${cluster.dir}/identity-${role}`;
      await cluster.tctl(["auth", "sign", `--user=u-${role}`, `--out=${identity}`]);
      const address = `--auth-server=127.0.0.1:${cluster.ports.auth}`;
      return await run([bin("tctl"), "-i", identity, address, "events", "ls", "--format=json"]);
    };
    const auditor = await search("auditor");
    assert.equal(auditor.code, 0, auditor.stderr);
    assert.ok(JSON.parse(auditor.stdout).length > 0);
    for (const role of ["lister", "denied"]) {
      const refused = await search(role);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /may not read events/);
      assert.equal(refused.stdout, "");
    }
    for (const host of [evil, proxy]) {
      await assert.rejects(host.api.call("events.search", {}), /may not call events\.search/);
    }
  });

  await t.step("attack 44: escapes in an event do not reach a terminal", async () => {
    await evil.report(evil.exec({ command: "\x1b]0;owned\x07\x1b[2J\u202e\nT1000I user.login" }));
    const text = (await cluster.tctl(["events", "ls", "--text=owned"])).stdout;
    assert.match(text, /\\x1b\]0;owned\\x07/);
    assert.ok(!["\x1b", "\x07", "\u202e"].some((c) => text.includes(c)));
    assert.equal(text.trim().split("\n").length, 3, "the line feed must not make a second event");
  });
});
