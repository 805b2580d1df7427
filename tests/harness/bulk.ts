/** Bytes through a forwarded port: questions that are half-closed, and much of it, with checksums. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { eventually } from "./run.ts";

/** What goes each way, in bytes. */
const BULK = 64 * 1024 * 1024;

/** A small question whose end is told before the answer comes, and the other way round. */
export async function bothWays(port: number, server: BulkServer): Promise<void> {
  const asked = await Deno.connect({ port });
  await asked.write(new TextEncoder().encode("echo and the end"));
  await asked.closeWrite();
  assert.equal(await new Response(asked.readable).text(), "echo and the end");
  // The server has said all; what we say afterwards still arrives.
  const telling = await Deno.connect({ port });
  await telling.write(new TextEncoder().encode("quiet"));
  assert.equal(await telling.read(new Uint8Array(1)), null);
  await telling.write(new TextEncoder().encode(" but heard"));
  telling.close();
  await eventually("the rest to arrive", () => server.heard.includes("quiet but heard"));
}

/** Bulk down, then up. */
export async function largeBothWays(port: number): Promise<void> {
  const down = await Deno.connect({ port });
  await down.write(new TextEncoder().encode("give"));
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of down.readable) {
    hash.update(chunk);
    size += chunk.length;
  }
  assert.equal(size, BULK);
  assert.equal(hash.digest("hex"), await bulkHash());
  const up = await Deno.connect({ port });
  await up.write(new TextEncoder().encode("take"));
  for (const piece of bulk()) await writeAll(up, piece);
  await up.closeWrite();
  assert.equal(await new Response(up.readable).text(), await bulkHash());
}

const block = crypto.getRandomValues(new Uint8Array(64 * 1024));

/** Every piece differs from every other. */
function* bulk(): Generator<Uint8Array> {
  const piece = new Uint8Array(16 * block.length);
  for (let i = 0; i < 16; i++) piece.set(block, i * block.length);
  const view = new DataView(piece.buffer);
  for (let at = 0; at < BULK; at += piece.length) {
    view.setUint32(0, at);
    yield piece;
  }
}

let hashOfBulk: string | undefined;

async function bulkHash(): Promise<string> {
  if (hashOfBulk === undefined) {
    const hash = createHash("sha256");
    for (const piece of bulk()) hash.update(piece);
    hashOfBulk = await Promise.resolve(hash.digest("hex"));
  }
  return hashOfBulk;
}

/** Unlike the stream of a connection it does not close it at its end. */
async function* rest(conn: Deno.TcpConn): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(256 * 1024);
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    yield buffer.subarray(0, n);
  }
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Does what the first five bytes say: "echo", "give" bulk, "take" bulk, or be "quiet". */
export class BulkServer implements AsyncDisposable {
  readonly heard: string[] = [];
  openCount = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor() {
    this.#done = this.#serve();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) {
      this.openCount++;
      this.#answer(conn).catch(() => {}).finally(() => {
        this.openCount--;
        try {
          conn.close();
        } catch {
          // Its stream has closed it.
        }
      });
    }
  }

  async #answer(conn: Deno.TcpConn): Promise<void> {
    const first = new Uint8Array(1024);
    const count = await conn.read(first) ?? 0;
    const said = new TextDecoder().decode(first.subarray(0, count));
    if (said === "give") {
      for (const piece of bulk()) await writeAll(conn, piece);
    } else if (said.startsWith("take")) {
      const hash = createHash("sha256");
      hash.update(first.subarray(4, count));
      for await (const chunk of rest(conn)) hash.update(chunk);
      await conn.write(new TextEncoder().encode(hash.digest("hex")));
    } else if (said.startsWith("quiet")) {
      await conn.closeWrite();
      this.heard.push(said + await new Response(conn.readable).text());
    } else {
      let text = said;
      for await (const chunk of rest(conn)) text += new TextDecoder().decode(chunk);
      await conn.write(new TextEncoder().encode(text));
    }
  }
}
