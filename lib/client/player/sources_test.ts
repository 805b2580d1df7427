import assert from "node:assert/strict";
import { equalBytes, toBase64 } from "../../base/bytes.ts";
import { BadParameter, ConnectionProblem, LimitExceeded } from "../../base/errors.ts";
import { FileSource, PipeSource, RemoteSource } from "./sources.ts";

const whole = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 31 % 251);

interface Call {
  offset: number;
  length: number;
}

/** An auth service that has `data()`, and may fail first. */
function fakeApi(data: () => Uint8Array, failures: Error[] = [], finished = true) {
  const calls: Call[] = [];
  const api = {
    call(_method: string, { offset, length }: Call) {
      calls.push({ offset, length });
      const failure = failures.shift();
      if (failure) return Promise.reject(failure);
      return Promise.resolve({
        data: toBase64(data().subarray(offset, offset + length)),
        size: data().length,
        finished,
      });
    },
  };
  return { api: api as never, calls };
}

/** deepEqual is slow for so many. */
function assertBytes(actual: Uint8Array, expected: Uint8Array): void {
  assert.ok(equalBytes(actual, expected), `${actual.length} bytes instead of ${expected.length}`);
}

async function readAll(source: { read(offset: number): Promise<Uint8Array> }, from = 0) {
  const parts: Uint8Array[] = [];
  for (let offset = from;;) {
    const bytes = await source.read(offset);
    if (bytes.length === 0) break;
    parts.push(bytes);
    offset += bytes.length;
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

Deno.test("RemoteSource fetches a small piece first, one ahead, and no piece twice", async () => {
  const { api, calls } = fakeApi(() => whole);
  const source = new RemoteSource(api, "sid");
  assert.equal((await source.read(0)).length, 65_536);
  assert.deepEqual(calls.map((call) => call.offset), [0]);
  assert.equal((await source.read(65_536)).length, (1 << 20) - 65_536);
  assert.deepEqual(calls.map((call) => call.offset), [0, 65_536, 1 << 20]);
  assertBytes(await readAll(source), whole);
  assertBytes(await readAll(source, 2_500_000), whole.subarray(2_500_000));
  assertBytes(await readAll(source), whole);
  assert.deepEqual(calls.map((call) => call.offset), [
    0,
    65_536,
    1 << 20,
    2 << 20,
    whole.length,
    whole.length,
    whole.length,
  ]);
  assert.ok(calls.every((call) => call.length <= 1 << 20));
  assert.equal(source.finished, true);
  assert.equal(source.size, whole.length);
});

Deno.test("RemoteSource reads on where a running session's recording has grown", async () => {
  let size = 1000;
  const { api } = fakeApi(() => whole.subarray(0, size), [], false);
  const source = new RemoteSource(api, "sid");
  assert.equal((await readAll(source)).length, 1000);
  assert.equal(source.finished, false);
  size = 200_000;
  assertBytes(await readAll(source, 1000), whole.subarray(1000, size));
});

Deno.test("RemoteSource waits when it asks too often, and gives other errors back", async () => {
  const busy = fakeApi(() => whole, [new LimitExceeded("too many requests, slow down")]);
  assert.equal((await new RemoteSource(busy.api, "sid").read(0)).length, 65_536);
  const gone = fakeApi(() => whole, [new ConnectionProblem("gone")]);
  const source = new RemoteSource(gone.api, "sid");
  await assert.rejects(source.read(0), ConnectionProblem);
  assert.equal((await source.read(0)).length, 65_536);
});

Deno.test("PipeSource reads each byte once, and says so when it cannot go back", async () => {
  let at = 0;
  const pipe = {
    read(buffer: Uint8Array): Promise<number | null> {
      if (at === whole.length) return Promise.resolve(null);
      const part = whole.subarray(at, at + 1000);
      buffer.set(part);
      at += part.length;
      return Promise.resolve(part.length);
    },
  };
  const source = new PipeSource(pipe, 1_000_000);
  assertBytes(await readAll(source), whole);
  assertBytes(await readAll(source, 2_100_000), whole.subarray(2_100_000));
  await assert.rejects(source.read(0), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /save it to a file/);
    return true;
  });
});

Deno.test("FileSource reads at any place", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, whole);
    using source = new FileSource(path);
    assertBytes(await readAll(source, 1_234_567), whole.subarray(1_234_567));
    assertBytes(await readAll(source), whole);
  } finally {
    await Deno.remove(path);
  }
});
