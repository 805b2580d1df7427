import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import fc from "fast-check";
import { BadParameter, ConnectionProblem } from "../base/errors.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { SFTP_OPEN, SFTP_STATUS, SftpClient, SftpError } from "./sftp.ts";
import { SftpServer } from "./test_sftp_server.ts";
import { FsHandler } from "./test_sftp_handler.ts";
import { readAttrs, type SftpAttrs, SftpFramer, sftpPacket, writeAttrs } from "./sftp_wire.ts";
import { streamPair } from "./testing.ts";

const { READ, WRITE, CREATE, TRUNCATE, EXCLUSIVE } = SFTP_OPEN;

async function withSession(
  run: (client: SftpClient, dir: string) => Promise<void>,
  handler = new FsHandler(),
): Promise<void> {
  const dir = Deno.makeTempDirSync();
  const [ours, theirs] = streamPair();
  const server = new SftpServer(handler, (bytes) => theirs.write(bytes));
  let turn = Promise.resolve();
  theirs.on("data", (chunk) => {
    turn = turn.then(() => server.feed(chunk)).catch(() => void theirs.destroy());
  });
  try {
    const client = await SftpClient.open(ours);
    await run(client, dir);
    client.close();
  } finally {
    ours.destroy();
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("SftpClient and SftpServer carry a file of several megabytes both ways", async () => {
  await withSession(async (client, dir) => {
    const content = crypto.getRandomValues(new Uint8Array(60_000));
    const parts = Array.from({ length: 100 }, () => content);
    const path = join(dir, "big");
    const file = await client.open(path, READ | WRITE | CREATE | TRUNCATE, { mode: 0o600 });
    let progress = 0;
    const written = await file.writeAll(parts, { onProgress: (bytes) => progress = bytes });
    assert.equal(written, 6_000_000);
    assert.equal(progress, 6_000_000);
    await file.sync();
    assert.equal((await file.stat()).size, 6_000_000);
    const read: Uint8Array[] = [];
    for await (const chunk of file.chunks()) read.push(chunk);
    assert.ok(Buffer.concat(read).equals(Buffer.concat(parts)));
    await file.close();
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  });
});

Deno.test("SftpFile.chunks() reads a file whose size is not known to its end", async () => {
  await withSession(async (client, dir) => {
    Deno.writeTextFileSync(join(dir, "f"), "x".repeat(100_000));
    const file = await client.open(join(dir, "f"), READ);
    let size = 0;
    for await (const chunk of file.chunks({ size: 0 })) size += chunk.length;
    assert.equal(size, 100_000);
    await file.close();
  });
});

Deno.test("SftpFile.chunks() asks again when the server answers with less", async () => {
  class Short extends FsHandler {
    override read(handle: number, offset: number, into: Uint8Array): number {
      return super.read(handle, offset, into.subarray(0, 1000));
    }
  }
  await withSession(async (client, dir) => {
    const content = crypto.getRandomValues(new Uint8Array(50_001));
    Deno.writeFileSync(join(dir, "f"), content);
    const file = await client.open(join(dir, "f"), READ);
    const read: Uint8Array[] = [];
    for await (const chunk of file.chunks()) read.push(chunk);
    assert.ok(Buffer.concat(read).equals(content));
    await file.close();
  }, new Short());
});

Deno.test("SftpClient works on directories, links, names and attributes", async () => {
  await withSession(async (client, dir) => {
    const odd = join(dir, "a \"b\" 'c' \n ü 文 -rf *");
    await client.mkdir(odd);
    assert.deepEqual((await client.list(dir)).map((e) => e.name), [odd.slice(dir.length + 1)]);
    await (await client.open(join(odd, "f"), WRITE | CREATE | EXCLUSIVE)).close();
    await client.rename(join(odd, "f"), join(odd, "g"));
    await client.symlink("g", join(odd, "link"));
    assert.equal(await client.readlink(join(odd, "link")), "g");
    assert.equal((await client.lstat(join(odd, "link"))).mode! & 0o170000, 0o120000);
    await client.setstat(join(odd, "g"), { mode: 0o640, atime: 1000, mtime: 2000 });
    const attrs = await client.stat(join(odd, "g"));
    assert.equal(attrs.mode! & 0o777, 0o640);
    assert.equal(attrs.mtime, 2000);
    assert.equal(await client.realpath(join(odd, "..")), await Deno.realPath(dir));
    await client.remove(join(odd, "link"));
    await client.remove(join(odd, "g"));
    await client.rmdir(odd);
    assert.deepEqual(await client.list(dir), []);
  });
});

Deno.test("SftpClient tells the status of what failed", async () => {
  await withSession(async (client, dir) => {
    const isStatus = (status: number) => (error: unknown) =>
      error instanceof SftpError && error.status === status;
    await assert.rejects(client.stat(join(dir, "no")), isStatus(SFTP_STATUS.NO_SUCH_FILE));
    await client.mkdir(join(dir, "d"));
    await assert.rejects(client.mkdir(join(dir, "d")), isStatus(SFTP_STATUS.FAILURE));
    await assert.rejects(client.realpath("a\0b"), isStatus(SFTP_STATUS.NO_SUCH_FILE));
  });
});

Deno.test("SftpClient.list() refuses names that lead elsewhere", async () => {
  class Evil extends FsHandler {
    override readdir() {
      return [{ name: "../.ssh/authorized_keys", longName: "", attrs: {} }];
    }
  }
  await withSession(async (client, dir) => {
    await assert.rejects(client.list(dir), BadParameter);
  }, new Evil());
});

Deno.test("SftpClient fails what is under way when the session breaks off", async () => {
  const [ours, theirs] = streamPair();
  theirs.once("data", () => {
    theirs.write(sftpPacket(new WireWriter().u8(2).u32(3)));
    theirs.once("data", () => theirs.destroy());
  });
  const client = await SftpClient.open(ours);
  await assert.rejects(client.stat("/"), ConnectionProblem);
  await assert.rejects(client.stat("/"), ConnectionProblem);
});

Deno.test("SftpClient.open() refuses a server that does not speak SFTP", async () => {
  const [ours, theirs] = streamPair();
  theirs.write("Welcome! This shell prints something at its start\n");
  await assert.rejects(SftpClient.open(ours), ConnectionProblem);
});

Deno.test("SftpServer.feed() refuses a packet over the limit and requests before INIT", () => {
  const feed = (bytes: Uint8Array) => new SftpServer(new FsHandler(), () => {}).feed(bytes);
  assert.throws(() => feed(new WireWriter().u32(300_000).bytes()), BadParameter);
  assert.throws(() => feed(new WireWriter().u32(0).u32(0).bytes()), BadParameter);
  assert.throws(
    () => feed(sftpPacket(new WireWriter().u8(16).u32(1).string("."))),
    BadParameter,
  );
});

Deno.test("SftpServer answers malformed requests with a status and goes on", () => {
  const replies: Uint8Array[] = [];
  const server = new SftpServer(new FsHandler(), (bytes) => replies.push(bytes));
  server.feed(sftpPacket(new WireWriter().u8(1).u32(3)));
  const statusOf = (packet: WireWriter) => {
    replies.length = 0;
    server.feed(sftpPacket(packet));
    const reader = new WireReader(replies[0]!);
    reader.u32();
    assert.equal(reader.u8(), 101);
    reader.u32();
    return reader.u32();
  };
  // Path cut off; handle of another length; unknown handle; unknown request; unknown extension.
  assert.equal(statusOf(new WireWriter().u8(17).u32(1).u32(99)), SFTP_STATUS.BAD_MESSAGE);
  assert.equal(statusOf(new WireWriter().u8(4).u32(1).string("handle")), SFTP_STATUS.FAILURE);
  assert.equal(statusOf(new WireWriter().u8(4).u32(1).string("\0\0\0\x63")), SFTP_STATUS.FAILURE);
  assert.equal(statusOf(new WireWriter().u8(77).u32(1)), SFTP_STATUS.OP_UNSUPPORTED);
  assert.equal(statusOf(new WireWriter().u8(200).u32(1).string("x@y")), SFTP_STATUS.OP_UNSUPPORTED);
});

Deno.test("SftpServer never fails otherwise than with BadParameter, whatever it is fed", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
      const server = new SftpServer(new FsHandler({ readOnly: true }), () => {});
      server.feed(sftpPacket(new WireWriter().u8(1).u32(3)));
      for (const chunk of chunks) {
        try {
          server.feed(sftpPacket(new WireWriter().raw(chunk).u8(1)));
        } catch (error) {
          assert.ok(error instanceof BadParameter);
        }
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("SftpFramer finds the same packets however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (packets, cuts) => {
        const all = Buffer.concat(packets.map((p) => sftpPacket(new WireWriter().raw(p))));
        const found: Uint8Array[] = [];
        const framer = new SftpFramer((packet) => found.push(Uint8Array.from(packet)));
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = cuts[i % (cuts.length || 1)] ?? 7;
          framer.push(all.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(found, packets);
      },
    ),
  );
});

Deno.test("readAttrs() reads what writeAttrs() wrote", () => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const attrs = fc.tuple(
    fc.option(fc.maxSafeNat(), { nil: undefined }),
    fc.option(fc.tuple(u32, u32), { nil: undefined }),
    fc.option(u32, { nil: undefined }),
    fc.option(fc.tuple(u32, u32), { nil: undefined }),
  ).map(([size, owner, mode, times]): SftpAttrs => ({
    ...(size !== undefined && { size }),
    ...(owner && { uid: owner[0], gid: owner[1] }),
    ...(mode !== undefined && { mode }),
    ...(times && { atime: times[0], mtime: times[1] }),
  }));
  fc.assert(fc.property(attrs, (value) => {
    const reader = new WireReader(writeAttrs(new WireWriter(), value).bytes());
    assert.deepEqual(readAttrs(reader), value);
    reader.end();
  }));
});
