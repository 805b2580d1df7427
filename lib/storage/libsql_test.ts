/** What only a storage file has: other processes, crashes, permissions, damage. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { AccessDenied, BadParameter, LimitExceeded, TeleportError } from "../base/errors.ts";
import { BackendClosed, WatchExpired } from "./backend.ts";
import { openLibsql } from "./libsql.ts";
import { LibsqlFile } from "./libsql_file.ts";
import { openBackend } from "./open.ts";

const child = fileURLToPath(import.meta.resolve("./libsql_child.ts"));

function onFile(name: string, run: (path: string) => Promise<void>): void {
  Deno.test(`libSQL file: ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    try {
      await run(`${directory}/s.db`);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

function spawn(path: string, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", child, `file:${path}`, ...args],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

onFile("what was written is there after closing and opening again", async (path) => {
  const first = await openBackend({ type: "libsql", path });
  await first.put("/a", "1");
  await first.delete("/a");
  await first.put("/b", "2");
  await first.close();
  const second = await openBackend({ type: "libsql", path });
  assert.deepEqual(await second.range("/"), [{ key: "/b", value: "2", revision: 3 }]);
  assert.equal(await second.put("/c", "3"), 4);
  await second.close();
});

onFile("a revision is never used twice, even when everything was deleted", async (path) => {
  const first = await openLibsql({ url: `file:${path}`, changeLogSize: 1 });
  for (let i = 0; i < 5; i++) await first.put("/a", `${i}`);
  await first.deleteRange("/");
  await first.close();
  const second = await openLibsql({ url: `file:${path}` });
  assert.equal(await second.revision(), 6);
  assert.equal(await second.put("/a", ""), 7);
  await second.close();
});

onFile("kill -9 during writes loses nothing that was acknowledged", async (path) => {
  for (let round = 0; round < 3; round++) {
    const process = spawn(path, "write");
    let printed = "";
    const decoder = new TextDecoder();
    for await (const chunk of process.stdout) {
      printed += decoder.decode(chunk);
      if (printed.split("\n").length > 100 + round * 50) process.kill("SIGKILL");
    }
    assert.equal((await process.status).signal, "SIGKILL");
    // A last line without its newline was still acknowledged, if it is whole.
    const acknowledged = printed.split("\n").slice(0, -1);
    assert.ok(acknowledged.length >= 100);

    const backend = await openLibsql({ url: `file:${path}` });
    for (const key of acknowledged) {
      const item = await backend.get(key);
      assert.ok(item, `${key} was lost`);
      assert.equal(JSON.parse(item.value).key, key);
    }
    await backend.close();
  }
});

onFile("two processes count together without losing one", async (path) => {
  const backend = await openLibsql({ url: `file:${path}` });
  await backend.put("/counter", "0");
  const each = 100;
  const processes = [spawn(path, "count", `${each}`), spawn(path, "count", `${each}`)];
  for (const { success } of await Promise.all(processes.map((process) => process.output()))) {
    assert.ok(success);
  }
  assert.equal((await backend.get("/counter"))?.value, `${2 * each}`);
  await backend.close();
});

onFile("a watch sees what another process writes", async (path) => {
  const backend = await openLibsql({ url: `file:${path}`, pollMs: 20 });
  const abort = new AbortController();
  const events = backend.watch("/other/", { signal: abort.signal });
  await backend.put("/own", "");
  const process = spawn(path, "put", "20");
  const keys: string[] = [];
  for await (const event of events) {
    keys.push(event.type === "put" ? event.item.key : event.type);
    if (keys.length === 20) abort.abort();
  }
  assert.ok((await process.output()).success);
  assert.deepEqual(keys, Array.from({ length: 20 }, (_, i) => `/other/${i}`));
  await backend.close();
});

onFile("a watcher is expired when another process trimmed what it has not seen", async (path) => {
  const url = `file:${path}`;
  // Never polls by itself: as if it had been held up.
  const slow = await openLibsql({ url, pollMs: 1_000_000 });
  const iterator = slow.watch("/")[Symbol.asyncIterator]();
  await slow.put("/first", "");
  assert.equal((await iterator.next()).value.item.key, "/first");
  const quick = await openLibsql({ url, changeLogSize: 10 });
  for (let i = 0; i < 50; i++) await quick.put(`/${i}`, "");
  await quick.close();
  await slow.put("/last", "");
  await assert.rejects(iterator.next(), WatchExpired);
  await slow.close();
});

onFile("a watch that has just begun ends when the storage is closed", async (path) => {
  const backend = await openLibsql({ url: `file:${path}` });
  const iterator = backend.watch("/")[Symbol.asyncIterator]();
  const next = iterator.next();
  await backend.close();
  assert.equal((await next).done, true);
});

onFile("a full disk is said, and what is written later is committed", async (path) => {
  const { createClient } = await import("@libsql/client/sqlite3");
  const file = await LibsqlFile.open(`file:${path}`);
  await file.run("PRAGMA max_page_count = 30");
  const insert = "INSERT INTO changes (key, value) VALUES (?, ?)";
  await assert.rejects(async () => {
    for (let i = 0; i < 100; i++) await file.run(insert, [`/${i}`, "x".repeat(4000)]);
  }, (e) => e instanceof LimitExceeded && /cannot grow: the disk is full/.test(e.message));
  await file.run("PRAGMA max_page_count = 10000");
  await file.run(insert, ["/later", "x".repeat(4000)]);
  const other = createClient({ url: `file:${path}` });
  const { rows } = await other.execute("SELECT count(*) FROM items WHERE key = '/later'");
  assert.equal(rows[0]?.[0], 1);
  other.close();
  file.close();
});

onFile("two that open a new file at once share it", async (path) => {
  const both = await Promise.all([
    openLibsql({ url: `file:${path}` }),
    openLibsql({ url: `file:${path}` }),
  ]);
  await both[0].put("/a", "1");
  assert.equal((await both[1].get("/a"))?.value, "1");
  await Promise.all(both.map((backend) => backend.close()));
});

onFile("a write waits while another connection holds the lock", async (path) => {
  const { createClient } = await import("@libsql/client/sqlite3");
  const backend = await openLibsql({ url: `file:${path}` });
  const locker = createClient({ url: `file:${path}` });
  const lock = await locker.transaction("write");
  const order: string[] = [];
  const write = backend.put("/a", "1").then(() => order.push("written"));
  assert.equal(await backend.get("/a"), undefined);
  await new Promise((resolve) => setTimeout(resolve, 300));
  order.push("unlocked");
  await lock.rollback();
  await write;
  assert.deepEqual(order, ["unlocked", "written"]);
  // What is written after the wait is committed, not only said to be.
  await backend.put("/b", "2");
  const { rows } = await locker.execute("SELECT key FROM items ORDER BY key");
  assert.deepEqual(rows.map(({ key }) => key), ["/a", "/b"]);
  locker.close();
  await backend.close();
});

onFile("the file and its companions can be read by their owner only", async (path) => {
  const previous = Deno.umask(0o000);
  try {
    const backend = await openLibsql({ url: `file:${path}` });
    await backend.put("/a", "1");
    for (const suffix of ["", "-wal", "-shm"]) {
      assert.equal((Deno.statSync(path + suffix).mode ?? 0) & 0o777, 0o600, suffix);
    }
    await backend.close();
  } finally {
    Deno.umask(previous);
  }
});

onFile("a file that others could read is made private", async (path) => {
  await (await openLibsql({ url: `file:${path}` })).close();
  Deno.chmodSync(path, 0o644);
  await (await openLibsql({ url: `file:${path}` })).close();
  assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
});

onFile("a missing directory is made, and is private", async (path) => {
  const deeper = path.replace(/s\.db$/, "backend/with space %41/s.db");
  await (await openBackend({ type: "libsql", path: deeper })).close();
  assert.equal((Deno.statSync(deeper.replace("/s.db", "")).mode ?? 0) & 0o777, 0o700);
  assert.ok(Deno.statSync(deeper).isFile);
});

onFile("a file that is no database is refused and left as it is", async (path) => {
  const text = "this is somebody's diary\n".repeat(100);
  Deno.writeTextFileSync(path, text);
  await assert.rejects(openLibsql({ url: `file:${path}` }), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /s\.db is no database: name another file/);
    return true;
  });
  assert.equal(Deno.readTextFileSync(path), text);
});

onFile("a database of another program is refused and left as it is", async (path) => {
  const { createClient } = await import("@libsql/client/sqlite3");
  const other = createClient({ url: `file:${path}` });
  await other.execute("CREATE TABLE diary (text)");
  other.close();
  const before = Deno.readFileSync(path);
  await assert.rejects(openLibsql({ url: `file:${path}` }), /database of another program/);
  assert.deepEqual(Deno.readFileSync(path), before);
});

onFile("a storage of a later version is refused", async (path) => {
  const { createClient } = await import("@libsql/client/sqlite3");
  await (await openLibsql({ url: `file:${path}` })).close();
  const later = createClient({ url: `file:${path}` });
  await later.execute("PRAGMA user_version = 99");
  later.close();
  await assert.rejects(openLibsql({ url: `file:${path}` }), /storage format 99/);
});

onFile("a damaged file gives a clear error, not wrong answers", async (path) => {
  const backend = await openLibsql({ url: `file:${path}` });
  for (let i = 0; i < 200; i++) await backend.put(`/a/${i}`, "x".repeat(500));
  await backend.close();
  await checkpoint(path);
  const bytes = Deno.readFileSync(path);
  bytes.fill(0xaa, 4096);
  Deno.writeFileSync(path, bytes);
  await assert.rejects(
    async () => {
      const damaged = await openLibsql({ url: `file:${path}` });
      try {
        await damaged.range("/");
      } finally {
        await damaged.close();
      }
    },
    (e) =>
      e instanceof TeleportError && /s\.db is damaged: restore it from a backup/.test(e.message),
  );
});

async function checkpoint(path: string): Promise<void> {
  const { createClient } = await import("@libsql/client/sqlite3");
  const client = createClient({ url: `file:${path}` });
  await client.execute("PRAGMA wal_checkpoint(TRUNCATE)");
  client.close();
}

onFile("a directory in place of the file is refused", async (path) => {
  Deno.mkdirSync(path);
  await assert.rejects(openLibsql({ url: `file:${path}` }), (e) => {
    assert.ok(e instanceof AccessDenied);
    assert.match(e.message, /s\.db for the storage: it is not a file/);
    return true;
  });
});

Deno.test("libSQL file: storage of another kind is refused", async () => {
  await assert.rejects(openLibsql({ url: "libsql://db.example.com" }), BadParameter);
  await assert.rejects(openLibsql({ url: "file://host/path" }), BadParameter);
});

onFile("what is called after closing says that the storage is closed", async (path) => {
  const backend = await openLibsql({ url: `file:${path}` });
  await backend.close();
  await assert.rejects(backend.get("/a"), BackendClosed);
  await assert.rejects(backend.put("/a", "1"), BackendClosed);
});
