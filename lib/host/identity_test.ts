import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import {
  hostUserName,
  hostUuid,
  identityDirectory,
  readIdentity,
  writeIdentity,
} from "./identity.ts";
import { TestCluster } from "./test_cluster.ts";

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("an identity that was written is read back whole, and only its owner can", () =>
  inDirectory(async (dataDir) => {
    const identity = await (await TestCluster.create()).identity("Proxy");
    const directory = identityDirectory(dataDir, "Proxy");
    assert.equal(directory, `${dataDir}/proc/proxy`);
    await writeIdentity(directory, identity);
    const read = await readIdentity(directory);
    assert.ok(read);
    assert.equal(read.hostId, identity.hostId);
    assert.deepEqual(read.certificate.blob, identity.certificate.blob);
    assert.deepEqual(read.key.publicKey.blob, identity.key.publicKey.blob);
    assert.deepEqual(read.tls, identity.tls);
    assert.deepEqual(read.authorities, identity.authorities);
    assert.equal(hostUserName(read), `${identity.hostId}.main`);
    assert.equal(Deno.statSync(directory).mode! & 0o777, 0o700);
    for (const entry of Deno.readDirSync(directory)) {
      assert.equal(Deno.statSync(`${directory}/${entry.name}`).mode! & 0o777, 0o600, entry.name);
    }
  }));

Deno.test("a host that has not joined has no identity", () =>
  inDirectory(async (dataDir) => {
    assert.equal(await readIdentity(`${dataDir}/none`), undefined);
  }));

Deno.test("a renewal keeps the key file, a new key leaves no mixture behind", () =>
  inDirectory(async (directory) => {
    const cluster = await TestCluster.create();
    const identity = await cluster.identity("Node");
    await writeIdentity(directory, identity);
    const key = await Deno.readTextFile(`${directory}/key`);
    const certificate = cluster.hostCertificate(identity.key.publicKey, "Node", identity.hostId);
    await writeIdentity(directory, { ...identity, certificate });
    assert.equal(await Deno.readTextFile(`${directory}/key`), key);
    const other = await cluster.identity("Node");
    await writeIdentity(directory, other);
    assert.deepEqual((await readIdentity(directory))?.key.publicKey.blob, other.key.publicKey.blob);
  }));

Deno.test("a certificate beside another key is refused with what to do", () =>
  inDirectory(async (directory) => {
    const cluster = await TestCluster.create();
    await writeIdentity(directory, await cluster.identity("Node"));
    const other = `${directory}/other`;
    await writeIdentity(other, await cluster.identity("Node"));
    await Deno.copyFile(`${other}/cert`, `${directory}/cert`);
    await assert.rejects(readIdentity(directory), (error: unknown) => {
      assert.ok(error instanceof BadParameter);
      assert.match(error.message, /join again/);
      return true;
    });
  }));

for (const file of ["key", "cert", "authorities.json"]) {
  Deno.test(`a damaged ${file} is refused`, () =>
    inDirectory(async (directory) => {
      await writeIdentity(directory, await (await TestCluster.create()).identity("Node"));
      await Deno.writeTextFile(`${directory}/${file}`, "garbage");
      await assert.rejects(readIdentity(directory), BadParameter);
    }));
}

Deno.test("hostUuid() makes a UUID once and keeps it read-only", () =>
  inDirectory(async (dataDir) => {
    const id = await hostUuid(dataDir);
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.equal(await hostUuid(dataDir), id);
    assert.equal(Deno.statSync(`${dataDir}/host_uuid`).mode! & 0o777, 0o400);
  }));

Deno.test("of two daemons that start at once both get the same UUID", () =>
  inDirectory(async (dataDir) => {
    const ids = await Promise.all(Array.from({ length: 8 }, () => hostUuid(dataDir)));
    assert.equal(new Set(ids).size, 1);
  }));

Deno.test("hostUuid() refuses a file that holds something else", () =>
  inDirectory(async (dataDir) => {
    await Deno.writeTextFile(`${dataDir}/host_uuid`, "../../etc");
    await assert.rejects(hostUuid(dataDir), BadParameter);
  }));
