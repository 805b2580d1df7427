import assert from "node:assert/strict";
import { privateDirectory, readTextIfExists, writeFileAtomic } from "./files.ts";

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("writeFileAtomic() replaces the file, keeps it private and leaves nothing else behind", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/key`;
    await Deno.writeTextFile(path, "old", { mode: 0o644 });
    await writeFileAtomic(path, "new");
    assert.equal(await Deno.readTextFile(path), "new");
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    assert.deepEqual([...Deno.readDirSync(directory)].map((e) => e.name), ["key"]);
  }));

Deno.test("writeFileAtomic() does not follow a symbolic link at the target", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/victim`, "untouched");
    await Deno.symlink(`${directory}/victim`, `${directory}/link`);
    await writeFileAtomic(`${directory}/link`, "secret");
    assert.equal(await Deno.readTextFile(`${directory}/victim`), "untouched");
    assert.equal((await Deno.lstat(`${directory}/link`)).isSymlink, false);
  }));

Deno.test("writeFileAtomic() keeps the old file and cleans up when it cannot replace it", () =>
  inDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/taken`);
    await assert.rejects(writeFileAtomic(`${directory}/taken`, "x"));
    assert.deepEqual([...Deno.readDirSync(directory)].map((e) => e.name), ["taken"]);
  }));

Deno.test("readTextIfExists() gives undefined for a file that is not there", () =>
  inDirectory(async (directory) => {
    assert.equal(await readTextIfExists(`${directory}/none`), undefined);
    await Deno.writeTextFile(`${directory}/some`, "x");
    assert.equal(await readTextIfExists(`${directory}/some`), "x");
  }));

Deno.test("privateDirectory() tightens a directory that exists", () =>
  inDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/d`, { mode: 0o755 });
    await privateDirectory(`${directory}/d`);
    assert.equal((await Deno.stat(`${directory}/d`)).mode! & 0o777, 0o700);
  }));
