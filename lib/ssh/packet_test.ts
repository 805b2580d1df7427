import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { equalBytes } from "../base/bytes.ts";
import { type GcmContext, type GcmName, NodeGcm } from "./gcm.ts";
import { libcryptoGcm } from "./libcrypto.ts";
import { GcmReader, maxPacketBeforeAuth, type PacketReader, PlainReader } from "./packet_reader.ts";
import { GcmWriter, PlainWriter } from "./packet_writer.ts";

const names: GcmName[] = ["aes-128-gcm", "aes-256-gcm"];
const keyOf = (name: GcmName) => new Uint8Array(name === "aes-128-gcm" ? 16 : 32).fill(7);

/** A place where packets go to. */
class Wire {
  readonly packets: Uint8Array[] = [];
  readonly reserve = (size: number) => {
    const packet = new Uint8Array(size);
    this.packets.push(packet);
    return packet;
  };

  get bytes(): Buffer {
    return Buffer.concat(this.packets);
  }
}

function gcmWriter(wire: Wire, name: GcmName = "aes-128-gcm", iv = new Uint8Array(12)) {
  return new GcmWriter(0, wire.reserve, { name, key: keyOf(name), iv });
}

function collect(
  make: (onPayload: (payload: Buffer) => undefined) => PacketReader,
): [PacketReader, Buffer[]] {
  const payloads: Buffer[] = [];
  return [make((payload) => void payloads.push(Buffer.from(payload))), payloads];
}

function gcmReader(name: GcmName = "aes-128-gcm", iv = new Uint8Array(12)) {
  return collect((onPayload) =>
    new GcmReader(0, onPayload, { count: 0 }, { name, key: keyOf(name), iv })
  );
}

const feed = (reader: PacketReader, bytes: Uint8Array) => reader.decrypt(bytes, 0, bytes.length);

Deno.test("readers find the payloads that writers wrote, however the bytes are cut", () => {
  const payload = fc.uint8Array({ minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(
      fc.array(payload, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 70 })),
      fc.constantFrom("plain" as const, ...names),
      fc.boolean(),
      (payloads, cuts, kind, isOneBlock) => {
        const wire = new Wire();
        const writer = kind === "plain" ? new PlainWriter(0, wire.reserve) : gcmWriter(wire, kind);
        for (const each of payloads) writer.send(each.subarray(0, 1), each.subarray(1));
        const [reader, found] = kind === "plain"
          ? collect((onPayload) => new PlainReader(0, onPayload, { count: 0 }))
          : gcmReader(kind);
        const bytes = wire.bytes;
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const part = bytes.subarray(at, at + (cuts[i % (cuts.length || 1)] ?? 33));
          feed(reader, isOneBlock ? part : Uint8Array.from(part));
          at += part.length;
        }
        assert.deepEqual(found.map((p) => [...p]), payloads.map((p) => [...p]));
        assert.equal(reader.inSeqno, payloads.length);
        writer.free();
        reader.free();
      },
    ),
  );
});

Deno.test("packets are padded with at least four bytes to whole blocks", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2000 }), (length) => {
    const wire = new Wire();
    new PlainWriter(0, wire.reserve).send(new Uint8Array(length));
    const plain = wire.packets[0]!;
    assert.equal(plain.length % 8, 0);
    assert.ok(plain[4]! >= 4);
    const gcm = gcmWriter(wire);
    gcm.send(new Uint8Array(length));
    gcm.free();
    assert.equal((wire.packets[1]!.length - 4 - 16) % 16, 0);
  }));
});

Deno.test("a changed bit anywhere in an encrypted packet is an error", () => {
  const wire = new Wire();
  const writer = gcmWriter(wire);
  writer.send(new Uint8Array(40));
  writer.free();
  const packet = wire.bytes;
  for (let bit = 0; bit < packet.length * 8; bit++) {
    const changed = Uint8Array.from(packet);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const [reader, found] = gcmReader();
    try {
      // A longer length is waited for: the rest never makes it authentic.
      feed(reader, changed);
      feed(reader, new Uint8Array(maxPacketBeforeAuth));
      assert.fail(`bit ${bit} was not noticed`);
    } catch (error) {
      assert.match((error as Error).message, /Corrupted packet|Bad packet length/);
    }
    assert.equal(found.length, 0);
    reader.free();
  }
});

Deno.test("a packet that is repeated, dropped or swapped is an error", () => {
  for (const order of [[0, 0], [1], [1, 0]]) {
    const wire = new Wire();
    const writer = gcmWriter(wire);
    writer.send(Uint8Array.of(1));
    writer.send(Uint8Array.of(2));
    writer.free();
    const [reader] = gcmReader();
    const bytes = Buffer.concat(order.map((i) => wire.packets[i]!));
    assert.throws(() => feed(reader, bytes), /Corrupted packet/);
    reader.free();
  }
});

Deno.test("readers refuse lengths out of bounds before they wait for the rest", () => {
  const header = (length: number) => Buffer.from([length >> 24, length >> 16, length >> 8, length]);
  for (const length of [0, 1, 8, 15, 17, 35_008, 0x7fffffff, -1]) {
    const [gcm] = gcmReader();
    assert.throws(() => feed(gcm, header(length)), /Bad packet length/, `gcm ${length}`);
    gcm.free();
    const [plain] = collect((onPayload) => new PlainReader(0, onPayload, { count: 0 }));
    if (length !== 0x7fffffff) {
      assert.throws(() => feed(plain, header(length & ~7)), /Bad packet length/, `plain ${length}`);
    }
  }
});

Deno.test("readers refuse too little padding and empty payloads", () => {
  const frame = (padding: number) => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32BE(12, 0);
    bytes[4] = padding;
    return bytes;
  };
  for (const padding of [0, 3, 11, 12, 255]) {
    const [reader, found] = collect((onPayload) => new PlainReader(0, onPayload, { count: 0 }));
    assert.throws(() => feed(reader, frame(padding)), /Bad packet padding/, `${padding}`);
    assert.equal(found.length, 0);
  }
  const [reader, found] = collect((onPayload) => new PlainReader(0, onPayload, { count: 0 }));
  feed(reader, frame(10));
  assert.equal(found.length, 1);
});

Deno.test("the packet counter carries over all of its eight bytes", () => {
  const iv = Uint8Array.from([1, 2, 3, 4, 255, 255, 255, 255, 255, 255, 255, 254]);
  const wire = new Wire();
  const writer = gcmWriter(wire, "aes-128-gcm", iv);
  const [reader, found] = gcmReader("aes-128-gcm", iv);
  for (let i = 0; i < 4; i++) writer.send(Uint8Array.of(i));
  feed(reader, wire.bytes);
  assert.equal(found.length, 4);
  // After two packets the counter is zero again, and the fixed part is what it was.
  const [after] = gcmReader("aes-128-gcm", Uint8Array.from([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]));
  feed(after, wire.packets[2]!.slice());
  for (const each of [writer, reader, after]) each.free();
});

Deno.test("sequence numbers wrap at 2^32", () => {
  const wire = new Wire();
  const writer = new PlainWriter(0xffffffff, wire.reserve);
  writer.send(Uint8Array.of(1));
  assert.equal(writer.outSeqno, 0);
});

Deno.test("nothing is written or read with keys that were given up", () => {
  const wire = new Wire();
  const writer = gcmWriter(wire);
  writer.send(Uint8Array.of(1));
  writer.free();
  writer.send(Uint8Array.of(2));
  assert.equal(wire.packets.length, 1);
  const [reader] = gcmReader();
  reader.free();
  const context: GcmContext | undefined = libcryptoGcm("aes-128-gcm", keyOf("aes-128-gcm"), "seal");
  context?.free();
  context?.free();
  if (context) assert.throws(() => context.seal(new Uint8Array(12), new Uint8Array(40)));
});

Deno.test("a failed encryption leaves nothing in the clear in the memory it was given", () => {
  const wire = new Wire();
  class Broken extends GcmWriter {
    protected override seal(): void {
      throw new Error("broken");
    }
  }
  const keys = { name: "aes-128-gcm" as const, key: keyOf("aes-128-gcm"), iv: new Uint8Array(12) };
  const writer = new Broken(0, wire.reserve, keys);
  assert.throws(() => writer.send(Uint8Array.from([1, 2, 3])), /broken/);
  assert.ok(wire.bytes.every((byte) => byte === 0));
  writer.free();
});

for (const name of names) {
  Deno.test(`OpenSSL and node:crypto make and read the same ${name} frames`, () => {
    const key = keyOf(name);
    const sealing = libcryptoGcm(name, key, "seal");
    const opening = libcryptoGcm(name, key, "open");
    // A machine without OpenSSL is served by node:crypto alone, which the other tests then use.
    if (!sealing || !opening) return;
    const node = new NodeGcm(name, key);
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 5000 }),
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        (frame, iv) => {
          const [one, other] = [frame.slice(), frame.slice()];
          sealing.seal(iv, one);
          node.seal(iv, other);
          assert.ok(equalBytes(one, other));
          assert.ok(opening.open(iv, one));
          assert.ok(node.open(iv, other));
          assert.ok(equalBytes(one.subarray(0, -16), frame.subarray(0, -16)));
          assert.ok(equalBytes(other.subarray(0, -16), frame.subarray(0, -16)));
        },
      ),
    );
    sealing.free();
    opening.free();
  });
}
