import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { deflateRawSync } from "node:zlib";
import { unzipSingleFile, withoutPayload } from "./denort.ts";

/** A zip archive of one file, written by hand from the format's specification (APPNOTE 4.3). */
function zipOf(content: string, method: 0 | 8, count = 1): Uint8Array<ArrayBuffer> {
  const data = method === 8 ? deflateRawSync(content) : Buffer.from(content);
  const name = Buffer.from("denort");
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(name.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(method, 10);
  central.writeUInt32LE(data.length, 20);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(local.length + name.length + data.length, 16);
  return new Uint8Array(Buffer.concat([local, name, data, central, name, end]));
}

Deno.test("unzipSingleFile() gives the content of a deflated and of a stored file", async () => {
  for (const method of [0, 8] as const) {
    const bytes = await unzipSingleFile(zipOf("denort ".repeat(1000), method));
    assert.equal(new TextDecoder().decode(bytes), "denort ".repeat(1000));
  }
});

Deno.test("unzipSingleFile() gives nothing for several files and for what is no archive", async () => {
  assert.equal(await unzipSingleFile(zipOf("x", 0, 2)), undefined);
  assert.equal(
    await unzipSingleFile(new Uint8Array(Buffer.from("<html>not here</html>"))),
    undefined,
  );
  assert.equal(await unzipSingleFile(new Uint8Array()), undefined);
});

Deno.test("withoutPayload() cuts an ELF program behind its section headers", async () => {
  const program = await Deno.readFile("/bin/true");
  const fat = new Uint8Array(program.length + 1000);
  fat.set(program);
  assert.deepEqual(withoutPayload(fat), program);
});

Deno.test("withoutPayload() refuses a script and a program cut short", async () => {
  assert.throws(() => withoutPayload(new Uint8Array(100)), /no 64-bit ELF/);
  const program = await Deno.readFile("/bin/true");
  assert.throws(() => withoutPayload(program.slice(0, 4096)), /cut short/);
});
