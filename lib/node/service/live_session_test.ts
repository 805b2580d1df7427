import assert from "node:assert/strict";
import { LimitExceeded } from "../../base/errors.ts";
import { sessionEndUid } from "../../audit/session_end.ts";
import { MAX_BEHIND } from "./party.ts";
import { FakeClient, live, settle, SID } from "./test_live.ts";

Deno.test("who joins late gets the screen, then what follows, nothing twice and nothing lost", async () => {
  const it = live();
  it.program.say("one ");
  await settle();
  const drawn = Promise.withResolvers<void>();
  it.tape.drawing = drawn.promise;
  const bob = it.join("bob");
  it.program.say("two ");
  await settle();
  assert.doesNotMatch(bob.seen, /one|two/);
  drawn.resolve();
  await settle();
  it.program.say("three");
  await settle();
  assert.match(bob.seen, /^Joining session 5e551011-.* of alice, root@node-1, terminal 80×25\r\n/);
  assert.match(bob.seen, /<one >two \r\nYou are in alice's session as peer: .*\r\nthree$/);
  assert.match(it.owner.seen, /one [\s\S]*two [\s\S]*three/);
  await it.end();
  assert.deepEqual([it.owner.exit, bob.exit], [{ code: 0 }, { code: 0 }]);
});

Deno.test("a joiner that does not read holds nobody, keeps little, and gets a new picture", async () => {
  const it = live();
  const bob = it.join("bob", "observer", { reads: false });
  await settle();
  const total = 20 * MAX_BEHIND;
  await it.program.flood(total);
  await settle();
  assert.ok(it.program.taken >= total - 128 * 1024, `only ${it.program.taken} were taken`);
  assert.ok(it.owner.seen.length >= total - 128 * 1024);
  assert.ok(bob.waiting <= MAX_BEHIND + 128 * 1024, `${bob.waiting} bytes wait for it`);
  it.tape.shown = "the present";
  bob.forgetSeen();
  bob.goOnReading();
  await settle();
  it.program.say(" and the future");
  await settle();
  assert.match(bob.seen, /<the present> and the future$/);
  assert.ok(bob.seen.length < 2 * MAX_BEHIND);
  await it.end();
});

Deno.test("an owner that does not read holds the program, whoever else reads", async () => {
  const it = live({}, new FakeClient("alice", "peer", { reads: false }));
  it.join("bob");
  const flooded = it.program.flood(4 * MAX_BEHIND);
  await settle();
  assert.ok(it.program.taken < MAX_BEHIND, `${it.program.taken} were taken`);
  it.owner.goOnReading();
  await flooded;
  await it.end();
});

Deno.test("when the owner is gone another party sets the pace; with nobody there the program is held", async () => {
  const it = live();
  const bob = it.join("bob");
  it.session.leave(it.owner.party);
  await settle();
  bob.stopReading();
  const flooded = it.program.flood(6 * MAX_BEHIND);
  await settle();
  const held = it.program.taken;
  assert.ok(held < MAX_BEHIND, `${held} were taken`);
  it.session.leave(bob.party);
  await settle();
  assert.ok(it.program.taken > held && it.program.taken < held + 2 * MAX_BEHIND);
  const carol = it.join("carol");
  await flooded;
  await settle();
  assert.ok(carol.seen.endsWith("xxx"));
  await it.end();
});

Deno.test("a recorder that is behind holds the program", async () => {
  const it = live();
  const caughtUp = Promise.withResolvers<void>();
  it.tape.behind = caughtUp.promise;
  const flooded = it.program.flood(MAX_BEHIND);
  await settle();
  assert.ok(it.program.taken <= 128 * 1024, `${it.program.taken} were taken`);
  it.tape.behind = undefined;
  caughtUp.resolve();
  await flooded;
  await it.end();
});

Deno.test("a peer types and signals, an observer and a moderator do not", async () => {
  const it = live();
  const [peer, observer, moderator] = [
    it.join("bob"),
    it.join("carol", "observer"),
    it.join("dan", "moderator"),
  ];
  it.owner.type("a");
  peer.type("b");
  observer.type("rm -rf\r");
  moderator.type("not t alone");
  it.session.signal(peer.party, "INT");
  it.session.signal(observer.party, "KILL");
  it.session.signal(moderator.party, "KILL");
  await settle();
  assert.equal(it.program.typed, "ab");
  assert.deepEqual(it.program.signals, ["INT"]);
  peer.type("\x03");
  await settle();
  assert.equal(it.program.typed, "ab\x03");
  assert.equal(peer.exit, undefined);
  await it.end();
});

Deno.test("Ctrl-C takes an observer and a moderator out, and the session goes on", async () => {
  const it = live();
  for (const mode of ["observer", "moderator"] as const) {
    const client = it.join("carol", mode);
    await settle();
    client.type("\x03");
    await settle();
    assert.deepEqual(client.exit, { code: 0 });
    assert.match(client.seen, /You have left the session\.\r\n$/);
    it.program.say(`not for the ${mode}`);
    await settle();
    assert.ok(!client.seen.includes(`not for the ${mode}`));
  }
  assert.match(it.owner.seen, /carol has left this session/);
  assert.equal(it.owner.exit, undefined);
  await it.end();
});

Deno.test("a moderator ends the session by the key t alone, and all read who did it", async () => {
  const it = live();
  const dan = it.join("dan", "moderator");
  dan.type("top");
  await settle();
  assert.equal(it.owner.exit, undefined);
  dan.type("t");
  await it.session.ended;
  for (const client of [it.owner, dan]) {
    assert.deepEqual(client.exit, { code: 255 });
    assert.ok(client.seen.endsWith("The session was ended by dan, its moderator\r\n"));
  }
  assert.ok(it.program.isClosed);
});

Deno.test("everybody reads who comes and goes", async () => {
  const it = live();
  const bob = it.join("bob", "observer");
  await settle();
  assert.match(it.owner.seen, /\r\nbob has joined this session as observer\r\n/);
  assert.doesNotMatch(bob.seen, /bob has joined/);
  const carol = it.join("carol");
  await settle();
  for (const client of [it.owner, bob]) assert.match(client.seen, /carol has joined .* as peer/);
  it.session.leave(carol.party);
  await settle();
  for (const client of [it.owner, bob]) assert.match(client.seen, /carol has left this session/);
  assert.deepEqual(it.tape.log, ["join bob (observer)", "join carol (peer)", "leave carol"]);
  await it.end();
});

Deno.test("a line about the session fits the terminal of who reads it", async () => {
  const it = live();
  const bob = it.join("bob", "peer", { cols: 30 });
  await settle();
  assert.match(bob.seen, /\r\nYou are in alice's session as\r\n$/);
  it.session.resize(bob.party, { cols: 200, rows: 50 });
  const carol = "c".repeat(150);
  it.join(carol);
  await settle();
  assert.match(bob.seen, new RegExp(`\r\n${carol} has joined this session as peer\r\n$`));
  assert.match(it.owner.seen, /\r\nc{79}\r\n$/);
  await it.end();
});

Deno.test("nothing is written within an escape sequence or a character", async () => {
  const it = live();
  it.program.say("\x1b[3");
  await settle();
  const bob = it.join("bob");
  await settle();
  assert.doesNotMatch(it.owner.seen, /joined/);
  assert.doesNotMatch(bob.seen, /</);
  it.program.say("1mred \u20ac".slice(0, -1));
  await settle();
  assert.ok(it.owner.seen.startsWith("\x1b[31mred \r\nbob has joined"));
  assert.ok(bob.seen.includes("<\x1b[31mred >\r\nYou are in alice's session"));
  const euro = new TextEncoder().encode("\u20ac");
  it.program.say(euro.subarray(0, 1));
  await settle();
  it.session.leave(bob.party);
  await settle();
  assert.doesNotMatch(it.owner.seen, /left/);
  it.program.say(euro.subarray(1));
  await settle();
  assert.match(it.owner.seen, /left this session/);
  await it.end();
});

Deno.test("a program that stops within a sequence does not keep the news for ever", async () => {
  const it = live();
  it.program.say("\x1b]0;a title without its end");
  await settle();
  it.join("bob");
  while (!/joined/.test(it.owner.seen)) await settle();
  await it.end();
});

Deno.test("the last of those who type sets the size, and the others' clients are told", async () => {
  const it = live();
  const [peer, observer] = [it.join("bob"), it.join("carol", "observer")];
  it.session.resize(observer.party, { cols: 10, rows: 10 });
  it.session.resize(peer.party, { cols: 0, rows: 0 });
  it.session.resize(peer.party, { cols: 120, rows: 40 });
  it.session.resize(it.owner.party, { cols: 100, rows: 30 });
  assert.deepEqual(it.program.sizes, ["120:40", "100:30"]);
  assert.deepEqual(it.tape.log.slice(2), ["resize 120x40", "resize 100x30"]);
  const sizes = (client: FakeClient) =>
    client.told.filter(({ event }) => event === "resize")
      .map(({ event, size, user }) => [event, size, user]);
  assert.deepEqual(sizes(it.owner), [["resize", "120:40", "bob"]]);
  assert.deepEqual(sizes(peer), [["resize", "100:30", "alice"]]);
  assert.deepEqual(sizes(observer), [["resize", "120:40", "bob"], ["resize", "100:30", "alice"]]);
  const resized = it.events.filter(({ event }) => event === "resize");
  assert.deepEqual(resized.map((event) => "user" in event && event.user), ["bob", "alice"]);
  const { cols, rows } = it.session.describe();
  assert.deepEqual([cols, rows], [100, 30]);
  await it.end();
});

Deno.test("a session waits for its owner's return, and goes on when it comes", async () => {
  const it = live({ lingerMs: 60_000 });
  it.program.say("before ");
  await settle();
  it.session.leave(it.owner.party);
  it.program.say("meanwhile ");
  await settle();
  assert.deepEqual(it.session.describe().parties, []);
  const again = it.join("alice");
  await settle();
  assert.match(again.seen, /<before meanwhile >/);
  again.type("x");
  await settle();
  assert.equal(it.program.typed, "x");
  await it.end();
});

Deno.test("a session to which nobody returns ends, also when a joiner was the last", async () => {
  const it = live({ lingerMs: 1 });
  const bob = it.join("bob", "observer");
  it.session.leave(it.owner.party);
  await settle();
  assert.ok(!it.program.isClosed);
  bob.type("\x03");
  await it.session.ended;
  assert.ok(it.program.isClosed);
});

Deno.test("a session whose owner was cut off by a limit does not wait", async () => {
  const owner = new FakeClient("alice", "peer", { mayReturn: false });
  const it = live({ lingerMs: 3_600_000 }, owner);
  it.session.leave(owner.party);
  await it.session.ended;
  assert.ok(it.program.isClosed);
});

Deno.test("when the recording cannot go on, the session ends and all read why", async () => {
  const it = live();
  const bob = it.join("bob");
  it.tape.fail(new LimitExceeded("the disk is full"));
  await it.session.ended;
  for (const client of [it.owner, bob]) {
    assert.ok(client.seen.endsWith("the disk is full\r\n"));
    assert.deepEqual(client.exit, { code: 255 });
  }
  assert.ok(it.program.isClosed && it.tape.isEnded);
});

Deno.test("the audit log hears of joins, leaves and one end, with all who were there", async () => {
  const it = live();
  const bob = it.join("bob", "moderator");
  it.join("alice");
  it.session.leave(bob.party);
  it.join("carol");
  it.owner.type("1234");
  it.program.say("12345");
  await settle();
  await it.end();
  const brief = it.events.map((event) => [
    event.event,
    "user" in event ? event.user : "",
    ..."mode" in event ? [event.mode] : [],
  ]);
  assert.deepEqual(brief, [
    ["session.start", "alice"],
    ["session.join", "bob", "moderator"],
    ["session.join", "alice", "peer"],
    ["session.leave", "bob"],
    ["session.join", "carol", "peer"],
    ["session.data", "alice"],
    ["session.end", "alice"],
  ]);
  const end = it.events.at(-1)!;
  assert.ok(end.event === "session.end");
  assert.deepEqual(end.participants, ["alice", "bob", "carol"]);
  assert.equal(end.uid, sessionEndUid(SID));
  assert.equal(end.session_recording, "node");
  assert.ok(it.events.every((event) => "sid" in event && event.sid === SID));
  assert.equal(new Set(it.events.map(({ ei }) => ei)).size, it.events.length);
  const data = it.events.at(-2)!;
  assert.ok(data.event === "session.data" && data.rx === 4 && data.tx >= 15);
  assert.ok(it.tape.log.includes("end reported, ended false") && it.tape.isEnded);
});

Deno.test("what is typed when the program has ended does no harm", async () => {
  const it = live();
  const bob = it.join("bob", "observer");
  await it.end();
  it.owner.type("exit\r");
  bob.type("\x03");
  it.session.resize(it.owner.party, { cols: 1, rows: 1 });
  it.session.leave(it.owner.party);
  it.session.leave(bob.party);
  await settle();
  assert.deepEqual([it.owner.exit, bob.exit], [{ code: 0 }, { code: 0 }]);
});

Deno.test("a joiner gets the signal that has ended the program", async () => {
  const it = live();
  const bob = it.join("bob");
  it.program.exit({ signal: "SEGV", core: true });
  await it.session.ended;
  assert.deepEqual(bob.exit, { signal: "SEGV", core: true });
});
