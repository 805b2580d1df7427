import assert from "node:assert/strict";
import { writePidFile } from "./pid_file.ts";

async function inTempDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("writePidFile() replaces the file of an earlier process and removes its own", async () => {
  await inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/pid`, "1\n");
    const remove = await writePidFile(`${dir}/pid`);
    assert.equal(await Deno.readTextFile(`${dir}/pid`), `${Deno.pid}\n`);
    await remove();
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  });
});

Deno.test("writePidFile() leaves a file alone that another process has taken over", async () => {
  await inTempDir(async (dir) => {
    const remove = await writePidFile(`${dir}/pid`);
    await Deno.writeTextFile(`${dir}/pid`, "1\n");
    await remove();
    assert.equal(await Deno.readTextFile(`${dir}/pid`), "1\n");
  });
});

Deno.test("writePidFile() replaces a link instead of writing through it", async () => {
  await inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/precious`, "data");
    await Deno.symlink(`${dir}/precious`, `${dir}/pid`);
    await writePidFile(`${dir}/pid`);
    assert.equal(await Deno.readTextFile(`${dir}/precious`), "data");
    assert.equal(Deno.lstatSync(`${dir}/pid`).isSymlink, false);
  });
});

Deno.test("writePidFile() names the file that cannot be written", async () => {
  await inTempDir(async (dir) => {
    await assert.rejects(writePidFile(`${dir}/gone/pid`), /cannot write the pid file .*gone\/pid/);
  });
});
