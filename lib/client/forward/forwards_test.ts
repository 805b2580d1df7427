/** Port forwarding over a connection between our client and our server, in this process. */
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { ConnectionProblem } from "../../base/errors.ts";
import type { OnForwarded } from "../../ssh/client.ts";
import { connectTo, streamPair, testHandlers, testServer } from "../../ssh/testing.ts";
import { families } from "../../ssh/test_loopback.ts";
import { connStream, dialTcp, readAll, relay } from "../../ssh/stream.ts";
import { type ForwardPlan, Forwards } from "./forwards.ts";

/** A client that forwards, its server, and what the person was told. */
class Scene implements AsyncDisposable {
  readonly told: string[] = [];
  readonly #cleanUp: (() => unknown)[] = [];
  #forwards: Forwards | undefined;

  get forwards(): Forwards {
    return this.#forwards!;
  }

  static async create(plan: Partial<ForwardPlan>, exitOnFailure = false): Promise<Scene> {
    const scene = new Scene();
    try {
      await scene.#start({ local: [], remote: [], dynamic: [], ...plan }, exitOnFailure);
      return scene;
    } catch (e) {
      await scene[Symbol.asyncDispose]();
      throw e;
    }
  }

  async #start(plan: ForwardPlan, exitOnFailure: boolean): Promise<void> {
    const server = testServer({
      onConnection: (connection) =>
        connection.handle({
          ...testHandlers(),
          maxForwards: 2000,
          tcpipForward: ({ host, port }) => {
            if (host === "") throw new Error("not on every address");
            const listener = Deno.listen({ hostname: "127.0.0.1", port });
            this.#cleanUp.push(() => listener.close());
            const connectedPort = port || listener.addr.port;
            (async () => {
              for await (const conn of listener) {
                const { hostname: originHost, port: originPort } = conn.remoteAddr;
                const address = { connectedHost: host, connectedPort, originHost, originPort };
                relay(connStream(conn), await connection.openForwardedTcpip(address));
              }
            })().catch(() => {});
            return Promise.resolve(listener.addr.port);
          },
        }),
    });
    this.#cleanUp.push(() => server.close());
    const client = await connectTo(server);
    this.#cleanUp.unshift(async () => {
      client.close();
      await client.closed;
    });
    this.#forwards = await Forwards.start(client, plan, {
      notify: (text) => this.told.push(text),
      exitOnFailure,
    });
  }

  /** The port that was chosen for the forward of this number. */
  port(number = 0): number {
    return Number(/^Allocated port (\d+) for /.exec(this.told[number] ?? "")?.[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forwards?.close();
    for (const step of this.#cleanUp) await step();
  }
}

/** A server at which each connection is answered by `serve`. */
class Target implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #streams: Duplex[] = [];
  readonly #done: Promise<void>;

  constructor(serve: (stream: Duplex) => unknown = echo) {
    this.#done = (async () => {
      for await (const conn of this.#listener) {
        const stream = connStream(conn);
        stream.on("error", () => {});
        this.#streams.push(stream);
        serve(stream);
      }
    })().catch(() => {});
  }

  get address() {
    return { host: "127.0.0.1", port: this.#listener.addr.port };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
    for (const stream of this.#streams) stream.destroy();
  }
}

function echo(stream: Duplex): void {
  stream.pipe(stream);
}

const anyPort = { host: "localhost", port: 0 };

/** Says something, ends its side, and gives the answer. */
async function ask(port: number, words: string | Uint8Array, host = "127.0.0.1"): Promise<string> {
  const stream = await dialTcp({ host, port });
  stream.end(words);
  const answer = (await readAll(stream)).toString("latin1");
  stream.destroy();
  return answer;
}

function socks5(host: string, port: number): Uint8Array {
  const name = new TextEncoder().encode(host);
  return Uint8Array.of(5, 1, 0, 5, 1, 0, 3, name.length, ...name, port >> 8, port & 255);
}

Deno.test("-L leads through the node, on both of loopback's addresses, half-closed", async () => {
  // It answers only when it has seen the end: the other direction has to stay open.
  await using target = new Target(async (stream) => {
    stream.end(`${(await readAll(stream)).length} bytes`);
  });
  await using scene = await Scene.create({ local: [{ listen: anyPort, to: target.address }] });
  assert.deepEqual(scene.told, [
    `Allocated port ${scene.port()} for local forward to 127.0.0.1:${target.address.port}`,
  ]);
  for (const host of families) assert.equal(await ask(scene.port(), "hello", host), "5 bytes");
});

Deno.test("-R brings connections of the node here, -R without a host by SOCKS", async () => {
  await using target = new Target();
  const { host, port } = target.address;
  await using scene = await Scene.create({
    remote: [{ listen: anyPort, to: target.address }, { listen: anyPort }],
  });
  assert.equal(await ask(scene.port(0), "hello"), "hello");
  const answer = await ask(scene.port(1), new Uint8Array([...socks5(host, port), 33]));
  assert.equal(answer, "\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0!");
});

Deno.test("-D is a SOCKS proxy, and tells why there is no connection", async () => {
  await using target = new Target();
  await using scene = await Scene.create({ dynamic: [{ listen: anyPort }] });
  const { host, port } = target.address;
  // All at once, without waiting for answers.
  const talk = (to: string) => ask(scene.port(), new Uint8Array([...socks5(to, port), 104, 105]));
  assert.equal(await talk(host), "\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0hi");
  assert.equal((await talk("forbidden")).slice(0, 4), "\x05\x00\x05\x02");
  assert.match(
    scene.told.at(-1)!,
    /-D localhost:0: cannot connect to forbidden:\d+: Not to that host/,
  );
  assert.equal(await ask(scene.port(), "GET / HTTP/1.1\r\n\r\n"), "");
  assert.match(scene.told.at(-1)!, /turned away: it speaks HTTP/);
});

Deno.test("a thousand connections at a time go through one forward", async () => {
  await using target = new Target();
  await using scene = await Scene.create({ local: [{ listen: anyPort, to: target.address }] });
  const streams: Duplex[] = [];
  // Not more at once than wait at a listener: the kernel loses what comes on top of them.
  while (streams.length < 1000) {
    const dial = () => dialTcp({ host: "127.0.0.1", port: scene.port() });
    streams.push(...await Promise.all(Array.from({ length: 50 }, dial)));
  }
  // Each has been answered before any is ended: all of them are open.
  await Promise.all(streams.map((stream, i) => {
    stream.write(`number ${i}`);
    return new Promise<void>((resolve) =>
      stream.once("data", (chunk: Uint8Array) => {
        assert.equal(new TextDecoder().decode(chunk), `number ${i}`);
        resolve();
      })
    );
  }));
  assert.equal(scene.forwards.connections.size, 1000);
  assert.match(scene.forwards.connections.list()[0]!.from, /^127\.0\.0\.1:\d+$/);
  const idle = scene.forwards.connections.idle();
  for (const stream of streams) stream.destroy();
  await idle;
  assert.equal(scene.forwards.connections.size, 0);
});

Deno.test("a program that does not read holds back the one that writes, not this process", async () => {
  let served: Duplex | undefined;
  await using target = new Target((stream) => served = stream);
  await using scene = await Scene.create({ local: [{ listen: anyPort, to: target.address }] });
  const stream = await dialTcp({ host: "127.0.0.1", port: scene.port() });
  const block = new Uint8Array(256 * 1024);
  let written = 0;
  const total = 64 * 1024 * 1024;
  // Until nothing has moved for a while: the buffers on the way are full.
  let stuck = false;
  while (!stuck && written < total) {
    const done = new Promise<boolean>((resolve) => stream.write(block, () => resolve(false)));
    written += block.length;
    const timeout = new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 500));
    stuck = await Promise.race([done, timeout]);
  }
  assert.ok(stuck && written < total, `${written} bytes were taken`);
  let received = 0;
  served!.on("data", (chunk: Uint8Array) => received += chunk.length);
  stream.end();
  await new Promise((resolve) => served!.once("end", resolve));
  assert.equal(received, written);
  stream.destroy();
});

Deno.test("a port in use is told with its address, and left out", async () => {
  await using target = new Target();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const local = [
    { listen: { host: "localhost", port: taken.addr.port }, to: target.address },
    { listen: anyPort, to: target.address },
  ];
  await using scene = await Scene.create({ local });
  assert.match(scene.told[0]!, /^error: Cannot listen on localhost:\d+: another program/);
  assert.equal(await ask(scene.port(1), "still"), "still");
  await assert.rejects(Scene.create({ local }, true), /another program has the port/);
});

Deno.test("a forward of both families is none when one of them is somebody else's", async () => {
  using taken = Deno.listen({ hostname: families.at(-1)!, port: 0 });
  const local = [{
    listen: { host: "localhost", port: taken.addr.port },
    to: { host: "127.0.0.1", port: 1 },
  }];
  await assert.rejects(Scene.create({ local }, true), /listen on localhost:\d+: another program/);
});

Deno.test("what the node refuses is told with the forward's name", async () => {
  await using target = new Target();
  const remote = [{ listen: { host: "", port: 0 }, to: target.address }];
  await assert.rejects(
    Scene.create({ remote }, true),
    /The node refuses -R \*:0:127\.0\.0\.1:\d+: .*port_forwarding/,
  );
  const to = { host: "forbidden", port: 80 };
  await using scene = await Scene.create({ local: [{ listen: anyPort, to }] });
  assert.equal(await ask(scene.port(), "x"), "");
  assert.equal(
    scene.told.at(-1),
    "-L localhost:0:forbidden:80: cannot connect: Not to that host",
  );
});

Deno.test("attack 44: a node writes nothing to the terminal by where a connection is from", async () => {
  await using target = new Target();
  const arrived = Promise.withResolvers<OnForwarded>();
  const node = {
    directTcpip: () => Promise.reject(new ConnectionProblem("not here")),
    requestTcpipForward(_bind: unknown, onConnection: OnForwarded) {
      arrived.resolve(onConnection);
      return Promise.resolve({ port: 4000, cancel: () => Promise.resolve() });
    },
  };
  const plan = { local: [], dynamic: [], remote: [{ listen: anyPort, to: target.address }] };
  const options = { notify: () => {}, exitOnFailure: true };
  using forwards = await Forwards.start(node, plan, options);
  const [ours, theirs] = streamPair();
  (await arrived.promise)(theirs, { host: "\x1b]0;gotcha\x07", port: 1 });
  ours.write("here");
  await new Promise((resolve) => ours.once("data", resolve));
  assert.equal(forwards.connections.list()[0]?.from, "\\x1b]0;gotcha\\x07:1");
  ours.destroy();
  await forwards.connections.idle();
});

Deno.test("listening ends at once, connections go on until they end", async () => {
  await using target = new Target();
  await using scene = await Scene.create({ local: [{ listen: anyPort, to: target.address }] });
  const stream = await dialTcp({ host: "127.0.0.1", port: scene.port() });
  stream.write("a");
  await new Promise((resolve) => stream.once("data", resolve));
  scene.forwards.stopListening();
  await assert.rejects(dialTcp({ host: "127.0.0.1", port: scene.port() }), ConnectionProblem);
  const idle = scene.forwards.connections.idle();
  stream.end("b");
  assert.equal((await readAll(stream)).toString(), "b");
  stream.destroy();
  await idle;
});
