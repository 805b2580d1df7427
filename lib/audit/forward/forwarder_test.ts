import assert from "node:assert/strict";
import { Backoff } from "../../base/backoff.ts";
import { FakeClock } from "../../base/clock.ts";
import { configureLog } from "../../base/log.ts";
import type { StoredEvent } from "../events.ts";
import { FileLog } from "../file_log.ts";
import { FileDestination, HttpDestination } from "./destinations.ts";
import { type Destination, Forwarder } from "./forwarder.ts";
import type { LogChunk } from "./log_reader.ts";

configureLog({ level: "off", format: "text" });

const AUTH = "11111111-2222-4333-8444-555555555555";

function event(n: number): StoredEvent {
  return {
    event: "user.password_change",
    code: "T1005I",
    user: `u${n}`,
    uid: crypto.randomUUID(),
    time: "2025-01-01T00:00:00.000Z",
    ei: 0,
  };
}

const users = (text: string) =>
  text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line).user as string);

const upTo = (count: number) => Array.from({ length: count }, (_, i) => `u${i}`);

interface Setting {
  directory: string;
  clock: FakeClock;
  log: FileLog;
  start(destination: Destination): Forwarder;
}

async function inDirectory(body: (setting: Setting) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  const clock = new FakeClock(Date.UTC(2025, 2, 9, 23, 59));
  const log = new FileLog({ directory, serverId: AUTH, clock });
  const start = (destination: Destination) =>
    new Forwarder({
      logs: `${directory}/${AUTH}`,
      positionPath: `${directory}/position`,
      destination,
      backoff: new Backoff({ minMs: 1, maxMs: 5 }),
    });
  try {
    await body({ directory, clock, log, start });
  } finally {
    log.close();
    await Deno.remove(directory, { recursive: true });
  }
}

/** Keeps what it gets; the next `failures` deliveries fail. */
class Keeper implements Destination {
  readonly name = "keeper";
  readonly begin: "start" | "end";
  readonly chunkBytes: number;
  failures = 0;
  text = "";
  #waiting: { count: number; resolve: () => void }[] = [];

  constructor(begin: "start" | "end" = "start", chunkBytes = 1024) {
    this.begin = begin;
    this.chunkBytes = chunkBytes;
  }

  deliver({ bytes }: LogChunk): Promise<void> {
    if (this.failures-- > 0) return Promise.reject(new Error("away"));
    this.text += new TextDecoder().decode(bytes);
    for (const { count, resolve } of this.#waiting) if (this.users.length >= count) resolve();
    return Promise.resolve();
  }

  get users(): string[] {
    return users(this.text);
  }

  async has(count: number): Promise<void> {
    if (this.users.length >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }
}

Deno.test("Forwarder delivers all of the log in order, over days, failures and restarts", () =>
  inDirectory(async ({ clock, log, start }) => {
    const keeper = new Keeper();
    log.write(upTo(20).map((_, i) => event(i)));
    keeper.failures = 3;
    const first = start(keeper);
    await keeper.has(20);
    clock.advance(3_600_000);
    log.write([20, 21].map(event));
    first.wrote();
    await keeper.has(22);
    await first.close();
    log.write([22, 23].map(event));
    clock.advance(86_400_000);
    log.write([event(24)]);
    const second = start(keeper);
    await keeper.has(25);
    await second.close();
    assert.deepEqual(keeper.users, upTo(25));
  }));

Deno.test("a destination that begins at the end gets what comes after its first start", () =>
  inDirectory(async ({ directory, log, start }) => {
    log.write(upTo(5).map((_, i) => event(i)));
    const keeper = new Keeper("end");
    // It is away at first, and the log goes on meanwhile.
    keeper.failures = Infinity;
    const first = start(keeper);
    while (!await Deno.stat(`${directory}/position`).catch(() => undefined)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    log.write([event(5)]);
    first.wrote();
    await first.close();
    keeper.failures = 0;
    log.write([event(6)]);
    const second = start(keeper);
    await keeper.has(2);
    await second.close();
    assert.deepEqual(keeper.users, ["u5", "u6"]);
  }));

Deno.test("a destination that takes nothing does not hold up the end", () =>
  inDirectory(async ({ log, start }) => {
    log.write([event(0)]);
    const asked = Promise.withResolvers<void>();
    const forwarder = start({
      name: "stuck",
      begin: "start",
      chunkBytes: 1024,
      deliver: () => {
        asked.resolve();
        return new Promise(() => {});
      },
    });
    await asked.promise;
    await forwarder.close();
    // What was not taken comes again.
    const keeper = new Keeper();
    const second = start(keeper);
    await keeper.has(1);
    await second.close();
    assert.deepEqual(keeper.users, ["u0"]);
  }));

Deno.test("a line that is longer than a chunk is delivered whole", () =>
  inDirectory(async ({ log, start }) => {
    const keeper = new Keeper("start", 100);
    log.write([{ ...event(0), user: "x".repeat(10_000) } as StoredEvent, event(1)]);
    const forwarder = start(keeper);
    await keeper.has(2);
    await forwarder.close();
    assert.deepEqual(keeper.users, ["x".repeat(10_000), "u1"]);
  }));

Deno.test("FileDestination keeps the same files, also when a chunk comes twice", () =>
  inDirectory(async ({ directory, clock, log, start }) => {
    const copy = `${directory}/copy`;
    log.write(upTo(30).map((_, i) => event(i)));
    clock.advance(3_600_000);
    log.write([event(30)]);
    const own = (name: string) => Deno.readTextFileSync(`${directory}/${AUTH}/${name}`);
    const names = ["2025-03-09.00:00:00.log", "2025-03-10.00:00:00.log"];
    for (let start_ = 0; start_ < 2; start_++) {
      const destination = new FileDestination(copy);
      const delivered = Promise.withResolvers<void>();
      const forwarder = start({
        name: destination.name,
        begin: "start",
        chunkBytes: 2_000,
        deliver: async (chunk) => {
          await destination.deliver(chunk);
          if (chunk.file === names[1]) delivered.resolve();
        },
      });
      await delivered.promise;
      await forwarder.close();
      for (const name of names) assert.equal(Deno.readTextFileSync(`${copy}/${name}`), own(name));
      assert.equal(Deno.statSync(`${copy}/${names[0]}`).mode! & 0o777, 0o600);
      // As if the daemon had died before it noted how far it was.
      Deno.removeSync(`${directory}/position`);
    }
  }));

interface Received {
  users: string[];
  authorization: string | null;
  type: string | null;
}

/** A receiver on loopback; `answer` decides what a request gets. */
function receiver(answer: (request: Received, size: number) => number | Response) {
  const received: Received[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const text = await request.text();
    const one = {
      users: users(text),
      authorization: request.headers.get("authorization"),
      type: request.headers.get("content-type"),
    };
    const status = answer(one, text.length);
    if (status instanceof Response) return status;
    if (status < 300) received.push(one);
    return new Response(null, { status });
  });
  return { server, received, url: `http://127.0.0.1:${server.addr.port}/in?key=secret` };
}

Deno.test("HttpDestination posts JSON lines with the token of its file, again until it is taken", () =>
  inDirectory(async ({ directory, log, start }) => {
    const tokenFile = `${directory}/token`;
    Deno.writeTextFileSync(tokenFile, "s3cret\n");
    let failures = 2;
    const done = Promise.withResolvers<void>();
    const { server, received, url } = receiver(() => {
      if (failures-- > 0) return 503;
      done.resolve();
      return 204;
    });
    const destination = new HttpDestination({ url, tokenFile });
    assert.ok(!destination.name.includes("secret"));
    log.write(upTo(10).map((_, i) => event(i)));
    const forwarder = start(destination);
    await done.promise;
    await forwarder.close();
    await server.shutdown();
    assert.deepEqual(received.flatMap((each) => each.users), upTo(10));
    assert.equal(received[0]!.authorization, "Bearer s3cret");
    assert.equal(received[0]!.type, "application/x-ndjson");
  }));

Deno.test("HttpDestination makes smaller requests of what is too large for the receiver", () =>
  inDirectory(async ({ log, start }) => {
    const all = Promise.withResolvers<void>();
    let count = 0;
    const { server, received, url } = receiver((request, size) => {
      if (size > 3_000) return 413;
      count += request.users.length;
      if (count === 100) all.resolve();
      return 200;
    });
    log.write(upTo(100).map((_, i) => event(i)));
    const forwarder = start(new HttpDestination({ url }));
    await all.promise;
    await forwarder.close();
    await server.shutdown();
    assert.deepEqual(received.flatMap((each) => each.users), upTo(100));
  }));

Deno.test("HttpDestination follows no redirect: the token is for nobody else", () =>
  inDirectory(async ({ directory, log, start }) => {
    const elsewhere = receiver(() => 200);
    Deno.writeTextFileSync(`${directory}/token`, "s3cret");
    const tried = Promise.withResolvers<void>();
    const { server, url } = receiver(() => {
      tried.resolve();
      return new Response(null, { status: 307, headers: { location: elsewhere.url } });
    });
    log.write([event(0)]);
    const forwarder = start(new HttpDestination({ url, tokenFile: `${directory}/token` }));
    await tried.promise;
    await forwarder.close();
    await server.shutdown();
    await elsewhere.server.shutdown();
    assert.deepEqual(elsewhere.received, []);
  }));

Deno.test("what a crash tore does not keep the rest from a receiver", () =>
  inDirectory(async ({ directory, log, start }) => {
    const done = Promise.withResolvers<void>();
    const { server, received, url } = receiver(() => {
      done.resolve();
      return 200;
    });
    log.write([event(0)]);
    Deno.writeTextFileSync(
      `${directory}/${AUTH}/2025-03-09.00:00:00.log`,
      '{"event":"exe\n\xff\n',
      { append: true },
    );
    log.write([event(1)]);
    const forwarder = start(new HttpDestination({ url }));
    await done.promise;
    await forwarder.close();
    await server.shutdown();
    assert.deepEqual(received.flatMap((each) => each.users), ["u0", "u1"]);
  }));

Deno.test("HttpDestination trusts a receiver whose certificate its authority has signed, no other", () =>
  inDirectory(async ({ directory, log, start }) => {
    const [key, cert] = [`${directory}/key.pem`, `${directory}/cert.pem`];
    const { success } = await new Deno.Command("openssl", {
      args: [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        ...["-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"],
        ...["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"],
      ],
      stderr: "null",
    }).output();
    assert.ok(success);
    const received: string[] = [];
    const done = Promise.withResolvers<void>();
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      key: Deno.readTextFileSync(key),
      cert: Deno.readTextFileSync(cert),
      onListen() {},
    }, async (request) => {
      received.push(await request.text());
      done.resolve();
      return new Response(null, { status: 204 });
    });
    const url = `https://localhost:${server.addr.port}/`;
    log.write([event(0)]);
    const chunk = {
      file: "x",
      offset: 0,
      bytes: new TextEncoder().encode(`${JSON.stringify(event(1))}\n`),
    };
    const stranger = new HttpDestination({ url });
    await assert.rejects(stranger.deliver(chunk, new AbortController().signal));
    stranger.close();
    assert.deepEqual(received, []);
    const forwarder = start(new HttpDestination({ url, caFile: cert }));
    await done.promise;
    await forwarder.close();
    await server.shutdown();
    assert.deepEqual(users(received.join("")), ["u0"]);
  }));
