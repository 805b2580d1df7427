import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/events.ts";
import { Backoff } from "../base/backoff.ts";
import { FakeClock } from "../base/clock.ts";
import { ConnectionProblem } from "../base/errors.ts";
import { AuditQueue } from "./audit_queue.ts";

const quick = () => new Backoff({ minMs: 1, maxMs: 5 });

function exec(command: string): AuditEvent {
  return { event: "exec", code: "T3002I", user: "joe", server_id: "n1", command };
}

function commands(events: AuditEvent[]): string[] {
  return events.map((event) => (event as { command?: string }).command ?? "?");
}

/** An auth service that keeps what it gets; `fail` makes the next calls fail. */
class Receiver {
  readonly events: AuditEvent[] = [];
  readonly batches: number[] = [];
  failures = 0;
  #waiting: { count: number; resolve: () => void }[] = [];

  readonly send = (events: AuditEvent[]): Promise<{ rejected: [] }> => {
    if (this.failures > 0) {
      this.failures--;
      return Promise.reject(new ConnectionProblem("auth is away"));
    }
    this.events.push(...events);
    this.batches.push(events.length);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (this.events.length < count) return true;
      resolve();
      return false;
    });
    return Promise.resolve({ rejected: [] });
  };

  has(count: number): Promise<void> {
    if (this.events.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }
}

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(`${directory}/spool`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("emit() gives each event an id and its time, and the queue delivers in order", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    const clock = new FakeClock(Date.UTC(2026, 0, 2));
    const queue = new AuditQueue({ directory, send: receiver.send, clock });
    for (let i = 0; i < 5; i++) queue.emit(exec(`c${i}`));
    await receiver.has(5);
    await queue.close();
    assert.deepEqual(commands(receiver.events), ["c0", "c1", "c2", "c3", "c4"]);
    assert.equal(receiver.events[0]?.time, "2026-01-02T00:00:00.000Z");
    assert.equal(new Set(receiver.events.map((event) => event.uid)).size, 5);
  }));

Deno.test("emit() has the event on disk before it returns", () =>
  inDirectory(async (directory) => {
    const queue = new AuditQueue({
      directory,
      send: () => Promise.reject(new ConnectionProblem("away")),
      backoff: quick(),
    });
    queue.emit(exec("rm -rf /"));
    const file = [...Deno.readDirSync(directory)].find((e) => e.name.endsWith(".ndjson"))!;
    const text = Deno.readTextFileSync(`${directory}/${file.name}`);
    assert.equal(JSON.parse(text).command, "rm -rf /");
    assert.equal(Deno.statSync(`${directory}/${file.name}`).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(directory).mode! & 0o777, 0o700);
    await queue.close();
  }));

Deno.test("a batch that was not acknowledged is sent again with the same ids", () =>
  inDirectory(async (directory) => {
    const seen: string[][] = [];
    const delivered = Promise.withResolvers<void>();
    const queue = new AuditQueue({
      directory,
      backoff: quick(),
      send: (events) => {
        seen.push(events.map((event) => event.uid!));
        if (seen.length === 1) return Promise.reject(new ConnectionProblem("answer was lost"));
        delivered.resolve();
        return Promise.resolve({ rejected: [] });
      },
    });
    queue.emit(exec("a"));
    queue.emit(exec("b"));
    await delivered.promise;
    await queue.close();
    assert.equal(seen[0]?.length, 2);
    assert.deepEqual(seen[1], seen[0]);
  }));

Deno.test("a new queue sends what an earlier one left behind, and nothing that was acknowledged", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    const first = new AuditQueue({ directory, send: receiver.send, backoff: quick() });
    first.emit(exec("delivered"));
    await receiver.has(1);
    while (first.pendingBytes > 0) await new Promise((r) => setTimeout(r, 2));
    receiver.failures = Infinity;
    first.emit(exec("left"));
    await first.close();
    receiver.failures = 0;
    const second = new AuditQueue({ directory, send: receiver.send });
    second.emit(exec("new"));
    await receiver.has(3);
    await second.close();
    assert.deepEqual(commands(receiver.events), ["delivered", "left", "new"]);
  }));

Deno.test("events written by a process that was killed are sent at the next start", () =>
  inDirectory(async (directory) => {
    const script = `
      import { AuditQueue } from ${JSON.stringify(import.meta.resolve("./audit_queue.ts"))};
      const queue = new AuditQueue({ directory: ${JSON.stringify(directory)},
        send: () => new Promise(() => {}) });
      for (let i = 0; i < 200; i++) {
        queue.emit({ event: "exec", code: "T3002I", user: "joe", server_id: "n", command: "c" + i });
      }
      Deno.kill(Deno.pid, "SIGKILL");`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--ext=ts", "-"],
      cwd: import.meta.dirname!,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(script));
    await writer.close();
    assert.equal((await child.status).signal, "SIGKILL");
    const receiver = new Receiver();
    const queue = new AuditQueue({ directory, send: receiver.send });
    await receiver.has(200);
    await queue.close();
    assert.deepEqual(commands(receiver.events), Array.from({ length: 200 }, (_, i) => `c${i}`));
  }));

Deno.test("a torn last line is left out and everything else is delivered", () =>
  inDirectory(async (directory) => {
    await Deno.mkdir(directory, { recursive: true });
    const whole = JSON.stringify({ ...exec("whole"), uid: "1" });
    await Deno.writeTextFile(`${directory}/0000000007.ndjson`, `${whole}\n{"event":"exe`);
    const receiver = new Receiver();
    const queue = new AuditQueue({ directory, send: receiver.send });
    queue.emit(exec("next"));
    await receiver.has(2);
    await queue.close({ drainMs: 1000 });
    assert.deepEqual(commands(receiver.events), ["whole", "next"]);
  }));

Deno.test("a line that is no JSON in the middle of the spool does not stop the rest", () =>
  inDirectory(async (directory) => {
    await Deno.mkdir(directory, { recursive: true });
    const good = (name: string) => JSON.stringify({ ...exec(name), uid: name });
    await Deno.writeTextFile(
      `${directory}/0000000001.ndjson`,
      `${good("a")}\n\0\0\0\0\n${good("b")}\n`,
    );
    const receiver = new Receiver();
    const queue = new AuditQueue({ directory, send: receiver.send });
    await receiver.has(2);
    await queue.close();
    assert.deepEqual(commands(receiver.events), ["a", "b"]);
  }));

Deno.test("a full spool loses new events only, counts them, and says that it is full", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    receiver.failures = Infinity;
    const queue = new AuditQueue({
      directory,
      send: receiver.send,
      maxBytes: 1_000,
      backoff: quick(),
    });
    for (let i = 0; i < 20; i++) queue.emit(exec(`c${i}`.padEnd(100)));
    assert.ok(queue.dropped > 0);
    assert.ok(queue.pendingBytes <= 1_000);
    const kept = 20 - queue.dropped;
    receiver.failures = 0;
    await receiver.has(kept);
    await queue.close();
    assert.deepEqual(
      commands(receiver.events).map((c) => c.trim()),
      Array.from({ length: kept }, (_, i) => `c${i}`),
    );
  }));

Deno.test("a batch holds no more events than told, whatever has gathered", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    const queue = new AuditQueue({ directory, send: receiver.send, batchEvents: 10 });
    for (let i = 0; i < 35; i++) queue.emit(exec(`c${i}`));
    await receiver.has(35);
    await queue.close();
    assert.ok(receiver.batches.every((size) => size <= 10));
  }));

Deno.test("spool files are removed once everything in them was acknowledged", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    const queue = new AuditQueue({ directory, send: receiver.send });
    const long = "x".repeat(300_000);
    for (let i = 0; i < 40; i++) queue.emit(exec(long));
    await receiver.has(40);
    await queue.close({ drainMs: 5_000 });
    assert.equal(queue.pendingBytes, 0);
    const again = new AuditQueue({ directory, send: receiver.send });
    await again.close({ drainMs: 1_000 });
    const left = [...Deno.readDirSync(directory)].filter((e) => e.name.endsWith(".ndjson"));
    assert.equal(left.length <= 1, true);
    assert.equal(receiver.events.length, 40);
  }));

function numbers(events: AuditEvent[]): (number | undefined)[] {
  return events.map((event) => event.reported_seq);
}

Deno.test("events are numbered from 1, over restarts and also when the spool is empty", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    for (let start = 0; start < 3; start++) {
      const queue = new AuditQueue({ directory, send: receiver.send });
      queue.emit(exec("a"));
      queue.emit(exec("b"));
      await receiver.has(2 * start + 2);
      await queue.close({ drainMs: 1_000 });
    }
    assert.deepEqual(numbers(receiver.events), [1, 2, 3, 4, 5, 6]);
    assert.equal(new Set(receiver.events.map((event) => event.reported_stream)).size, 1);
  }));

Deno.test("numbers go on after a kill -9 whose last line is torn, and without the sequence file", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    receiver.failures = Infinity;
    const first = new AuditQueue({ directory, send: receiver.send, backoff: quick() });
    first.emit(exec("a"));
    first.emit(exec("b"));
    await first.close();
    await Deno.remove(`${directory}/sequence`);
    const file = [...Deno.readDirSync(directory)].find((e) => e.name.endsWith(".ndjson"))!.name;
    await Deno.writeTextFile(`${directory}/${file}`, '{"event":"exe', { append: true });
    receiver.failures = 0;
    const second = new AuditQueue({ directory, send: receiver.send });
    second.emit(exec("c"));
    await receiver.has(3);
    await second.close();
    // What was torn had the number 3.
    assert.deepEqual(numbers(receiver.events), [1, 2, 4]);
    assert.equal(new Set(receiver.events.map((event) => event.reported_stream)).size, 1);
  }));

Deno.test("an event that is lost uses a number up, also when a restart comes next", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    receiver.failures = Infinity;
    const options = { directory, send: receiver.send, backoff: quick() };
    const first = new AuditQueue({ ...options, maxBytes: 1_000 });
    while (first.dropped < 3) first.emit(exec("x".repeat(100)));
    const kept = (await Deno.readTextFile(`${directory}/0000000001.ndjson`)).split("\n").length - 1;
    await first.close();
    receiver.failures = 0;
    const second = new AuditQueue(options);
    second.emit(exec("next"));
    await receiver.has(kept + 1);
    await second.close();
    assert.equal(receiver.events.at(-1)!.reported_seq, kept + 3 + 1);
  }));

Deno.test("a spool that was removed begins a stream of its own", () =>
  inDirectory(async (directory) => {
    const receiver = new Receiver();
    for (let start = 1; start <= 2; start++) {
      const queue = new AuditQueue({ directory, send: receiver.send });
      queue.emit(exec("a"));
      await receiver.has(start);
      await queue.close({ drainMs: 1_000 });
      await Deno.remove(directory, { recursive: true });
    }
    assert.deepEqual(numbers(receiver.events), [1, 1]);
    assert.notEqual(receiver.events[0]!.reported_stream, receiver.events[1]!.reported_stream);
  }));
