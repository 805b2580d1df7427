import assert from "node:assert/strict";
import { BadParameter } from "../../lib/base/errors.ts";
import { prepareDataDir } from "./data_dir.ts";

async function inTempDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const modeOf = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;

Deno.test("prepareDataDir() makes private directories and names the one for temporary files", async () => {
  await inTempDir(async (dir) => {
    assert.equal(await prepareDataDir(`${dir}/a/data`), `${dir}/a/data/tmp`);
    assert.equal(modeOf(`${dir}/a/data`), 0o700);
    assert.equal(modeOf(`${dir}/a/data/tmp`), 0o700);
  });
});

Deno.test("prepareDataDir() closes a directory that is open to others", async () => {
  await inTempDir(async (dir) => {
    await Deno.mkdir(`${dir}/data/tmp`, { recursive: true });
    await Deno.chmod(`${dir}/data`, 0o755);
    await Deno.chmod(`${dir}/data/tmp`, 0o777);
    await prepareDataDir(`${dir}/data`);
    assert.equal(modeOf(`${dir}/data`), 0o700);
    assert.equal(modeOf(`${dir}/data/tmp`), 0o700);
  });
});

Deno.test("prepareDataDir() removes addons of older versions and keeps the rest", async () => {
  await inTempDir(async (dir) => {
    await Deno.mkdir(`${dir}/tmp`);
    for (const name of ["old.node", "new.node", "old.txt"]) {
      await Deno.writeTextFile(`${dir}/tmp/${name}`, "");
    }
    const long = new Date(Date.now() - 48 * 3_600_000);
    await Deno.utime(`${dir}/tmp/old.node`, long, long);
    await Deno.utime(`${dir}/tmp/old.txt`, long, long);
    await prepareDataDir(dir);
    const left = [...Deno.readDirSync(`${dir}/tmp`)].map(({ name }) => name).sort();
    assert.deepEqual(left, ["new.node", "old.txt"]);
  });
});

Deno.test("prepareDataDir() says why a directory cannot be used, and what to do", async () => {
  await inTempDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/file`, "");
    for (const path of [`${dir}/file`, `${dir}/file/data`]) {
      await assert.rejects(prepareDataDir(path), (e: unknown) => {
        assert.ok(e instanceof BadParameter);
        assert.match(e.message, /^cannot use the data directory .*directory; start as the user/);
        assert.match(e.message, /teleport\.data_dir/);
        return true;
      });
    }
  });
});
