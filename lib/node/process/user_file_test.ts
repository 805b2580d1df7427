import assert from "node:assert/strict";
import { libc } from "../os/libc.ts";
import * as fs from "../os/fs.ts";
import { launchTestUser } from "./test_user.ts";
import { readUserFile } from "./user_file.ts";

// Loaded for the life of the process, so not within a test.
libc();
fs.umask(fs.umask(0o022));

const user = await launchTestUser();

async function inTempDir(body: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("readUserFile() reads a user's own file", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/f`, "A=1\n", { mode: 0o600 });
    assert.equal(readUserFile(user, `${dir}/f`, 100), "A=1\n");
  }));

Deno.test("attack 41: readUserFile() does not follow a link to what only the daemon may read", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/secret`, "KEY=secret\n", { mode: 0o600 });
    await Deno.symlink(`${dir}/secret`, `${dir}/link`);
    assert.equal(readUserFile(user, `${dir}/link`, 100), undefined);
    assert.equal(readUserFile({ ...user, uid: user.uid + 1 }, `${dir}/secret`, 100), undefined);
  }));

Deno.test("readUserFile() gives nothing of what others may write, of pipes, directories and large files", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/shared`, "A=1\n");
    await Deno.chmod(`${dir}/shared`, 0o620);
    await Deno.writeTextFile(`${dir}/large`, "x".repeat(101), { mode: 0o600 });
    await new Deno.Command("mkfifo", { args: [`${dir}/pipe`] }).output();
    for (const name of ["shared", "large", "pipe", ".", "missing"]) {
      assert.equal(readUserFile(user, `${dir}/${name}`, 100), undefined, name);
    }
  }));
