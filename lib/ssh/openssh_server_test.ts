/** Our client against stock sshd. */
import assert from "node:assert/strict";
import { buffer, text } from "node:stream/consumers";
import { AccessDenied } from "../base/errors.ts";
import { type ConnectOptions, connectSsh, type SshClient } from "./client.ts";
import { SFTP_OPEN, SftpClient } from "./sftp.ts";
import { dialTcp } from "./stream.ts";
import { osUser, Sshd } from "./test_openssh.ts";
import {
  clientOptions,
  keyTypes,
  source,
  testKey,
  testServer,
  userCertificate,
  verifyHost,
} from "./testing.ts";

async function connect(sshd: Sshd, options: Partial<ConnectOptions> = {}): Promise<SshClient> {
  const key = testKey("alice");
  return await connectSsh({
    ...clientOptions(),
    stream: options.stream ?? await dialTcp({ host: "127.0.0.1", port: sshd.port }),
    username: osUser,
    credentials: [{ key, certificate: userCertificate(key, [osUser]) }],
    ...options,
  });
}

for (const keyType of keyTypes) {
  Deno.test(`connectSsh() logs in at sshd with ${keyType} certificates on both sides`, async () => {
    await using sshd = await Sshd.start(testKey("host", keyType));
    const key = testKey("alice", keyType);
    const client = await connect(sshd, {
      credentials: [{ key, certificate: userCertificate(key, [osUser]) }],
    });
    assert.match(client.serverVersion, /^OpenSSH/);
    const channel = await client.exec("cat; echo to stderr >&2; exit 9");
    channel.stream.end("to stdout");
    assert.equal(await text(channel.stream), "to stdout");
    assert.equal(await text(channel.stderr), "to stderr\n");
    assert.deepEqual(await channel.exited, { code: 9 });
    client.close();
    await client.closed;
  });
}

Deno.test("exec() at sshd: signals, terminals, variables", async () => {
  await using sshd = await Sshd.start(testKey("host"), ["AcceptEnv LC_*"]);
  const client = await connect(sshd);
  const killed = await client.exec("kill -KILL $$");
  killed.stream.resume();
  const status = await killed.exited;
  assert.ok("signal" in status && status.signal === "KILL");
  const pty = { term: "vt100", cols: 91, rows: 33, widthPx: 0, heightPx: 0 };
  const channel = await client.exec("stty size; stty -a; echo $TERM $LC_A", {
    env: { LC_A: "value" },
    pty: { ...pty, modes: new Map([[53, 0], [3, 8]]) },
  });
  const output = await text(channel.stream);
  assert.match(output, /^33 91\r\n/);
  assert.match(output, /-echo\b/);
  assert.match(output, /erase = \^H/);
  assert.match(output, /vt100 value/);
  client.close();
  await client.closed;
});

Deno.test("32 MiB go to sshd and come back unchanged while both sides exchange keys", async () => {
  await using sshd = await Sshd.start(testKey("host"), ["RekeyLimit 2M"]);
  const client = await connect(sshd, { rekeyBytes: 1_500_000 });
  const size = 32 * 1024 * 1024;
  const channel = await client.exec("cat");
  source(channel.stream, size, () => channel.stream.end());
  const echoed = await buffer(channel.stream);
  assert.equal(echoed.length, size);
  const again = await client.exec("cksum");
  again.stream.end(echoed);
  const there = (await text(again.stream)).trim();
  const local = new Deno.Command("cksum", { stdin: "piped", stdout: "piped" }).spawn();
  const writer = local.stdin.getWriter();
  const output = local.output();
  const pair = await connectInMemory(size);
  await writer.write(pair);
  await writer.close();
  assert.equal(there, new TextDecoder().decode((await output).stdout).trim());
  client.close();
  await client.closed;
});

Deno.test("directTcpip() through sshd carries another SSH connection", async () => {
  await using sshd = await Sshd.start(testKey("host"));
  const client = await connect(sshd);
  const server = testServer();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  server.serve(listener);
  const stream = await client.directTcpip("127.0.0.1", listener.addr.port);
  const inner = await connectSsh({ ...clientOptions(), stream });
  const channel = await inner.exec("echo");
  channel.stream.end("through sshd");
  assert.equal(await text(channel.stream), "through sshd");
  inner.close();
  await inner.closed;
  await server.close();
  await assert.rejects(client.directTcpip("127.0.0.1", 1), /refused/i);
  client.close();
  await client.closed;
});

Deno.test("SftpClient works with sshd's server", async () => {
  await using sshd = await Sshd.start(testKey("host"));
  const client = await connect(sshd);
  const sftp = await SftpClient.open((await client.subsystem("sftp")).stream);
  assert.ok(sftp.supports("fsync@openssh.com"));
  assert.ok(sftp.maxData.read > 200_000);
  const path = Deno.makeTempFileSync();
  const content = crypto.getRandomValues(new Uint8Array(65_000));
  const file = await sftp.open(path, SFTP_OPEN.READ | SFTP_OPEN.WRITE | SFTP_OPEN.TRUNCATE);
  await file.writeAll(Array(50).fill(content));
  await file.sync();
  let size = 0;
  for await (const chunk of file.chunks()) size += chunk.length;
  assert.equal(size, 50 * 65_000);
  await file.close();
  await sftp.remove(path);
  client.close();
  await client.closed;
});

/** A refused client's connection is closed a little after the refusal. */
async function refused(
  sshd: Sshd,
  options: Partial<ConnectOptions>,
  expected: Parameters<typeof assert.rejects>[1],
): Promise<void> {
  const stream = await dialTcp({ host: "127.0.0.1", port: sshd.port });
  await assert.rejects(connect(sshd, { stream, ...options }), expected);
  if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
}

Deno.test("connectSsh() refuses an sshd whose certificate is for another name", async () => {
  await using sshd = await Sshd.start(testKey("host"));
  await refused(sshd, { verifyHost: verifyHost("other") }, AccessDenied);
});

Deno.test("connectSsh() tells that sshd refuses the user", async () => {
  await using sshd = await Sshd.start(testKey("host"));
  const key = testKey("alice");
  const credentials = [{ key, certificate: userCertificate(key, ["somebody"]) }];
  await refused(sshd, { credentials }, /Access denied/);
});

/** The bytes of source(), by another way. */
async function connectInMemory(size: number): Promise<Uint8Array<ArrayBuffer>> {
  const { PassThrough } = await import("node:stream");
  const stream = new PassThrough();
  source(stream, size, () => stream.end());
  return Uint8Array.from(await buffer(stream));
}
