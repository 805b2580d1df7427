/** Stock OpenSSH's clients against our server. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { SftpServer } from "./test_sftp_server.ts";
import { listen, OpenSsh, run } from "./test_openssh.ts";
import { FsHandler } from "./test_sftp_handler.ts";
import {
  Counter,
  hostCertificate,
  keyTypes,
  sourceCount,
  testHandlers,
  testKey,
  testServer,
  userCa,
  userCertificate,
} from "./testing.ts";

for (const keyType of keyTypes) {
  Deno.test(`ssh logs in with ${keyType} certificates on both sides`, async () => {
    using openssh = new OpenSsh();
    openssh.identity(testKey("alice", keyType));
    const server = testServer({}, keyType);
    const port = listen(server);
    const output = await openssh.ssh(port, ["127.0.0.1", "echo"], Buffer.from("hello"));
    assert.equal(output.stdout.toString(), "hello");
    assert.equal(output.stderr, "");
    assert.equal(output.code, 0);
    await server.close();
  });
}

for (const kex of ["curve25519-sha256", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"]) {
  Deno.test(`ssh exchanges keys by ${kex} and uses aes256-gcm`, async () => {
    using openssh = new OpenSsh();
    const server = testServer();
    const port = listen(server);
    const options = ["-o", `KexAlgorithms=${kex}`, "-c", "aes256-gcm@openssh.com"];
    assert.equal((await openssh.ssh(port, [...options, "127.0.0.1", "exit 3"])).code, 3);
    await server.close();
  });
}

Deno.test("ssh sees exit statuses, signals and both outputs", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const both = await openssh.ssh(port, ["127.0.0.1", "stderr"]);
  assert.equal(both.stdout.toString(), "to stdout\n");
  assert.equal(both.stderr, "to stderr\n");
  assert.equal(both.code, 1);
  assert.equal((await openssh.ssh(port, ["127.0.0.1", "exit 255"])).code, 255);
  const killed = await openssh.ssh(port, ["-v", "127.0.0.1", "kill TERM"]);
  assert.equal(killed.code, 255);
  assert.match(killed.stderr, /exit-signal/);
  await server.close();
});

Deno.test("ssh is told why a command is refused", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const output = await openssh.ssh(port, ["127.0.0.1", "forbidden"]);
  assert.notEqual(output.code, 0);
  assert.match(output.stderr, /This command is forbidden/);
  await server.close();
});

Deno.test("ssh is told why the user is refused", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const output = await openssh.ssh(port, ["-l", "mallory", "127.0.0.1", "exit 0"]);
  assert.equal(output.code, 255);
  assert.match(output.stderr, /it is not for the login "mallory"/);
  await server.close();
});

Deno.test("ssh gets a terminal with its size, its name and its modes", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const command = ["ssh", "-F", "none", ...openssh.options(port), "-tt", "127.0.0.1", "env"];
  const script = `stty rows 31 cols 97; export TERM=vt220; ${command.map(quote).join(" ")}`;
  const output = await run("script", ["-qec", script, "/dev/null"]);
  const found = /\{"env".*\}/.exec(output.stdout.toString());
  assert.ok(found, output.stdout.toString());
  const [term, size, modes] = (JSON.parse(found[0]) as { pty: string }).pty.split(" ");
  assert.equal(term, "vt220");
  assert.equal(size, "97x31");
  assert.ok(Number(modes) > 20, `${modes} modes`);
  await server.close();
});

Deno.test("ssh sends variables and uses subsystems", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const env = await openssh.ssh(port, ["-o", "SetEnv=LC_TEST=a=b", "127.0.0.1", "env"]);
  assert.equal(JSON.parse(env.stdout.toString()).env.LC_TEST, "a=b");
  const echo = await openssh.ssh(port, ["-s", "127.0.0.1", "echo"], Buffer.from("through"));
  assert.equal(echo.stdout.toString(), "through");
  await server.close();
});

Deno.test("ssh jumps over our server to our server", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const jump = ["ssh", "-F", "none", ...openssh.options(port), "-W", "%h:%p", "127.0.0.1"];
  const args = ["-o", `ProxyCommand=${jump.join(" ")}`, "127.0.0.1", "sink"];
  const big = Buffer.alloc(3_000_000, "jump");
  const output = await openssh.ssh(port, args, big);
  assert.match(output.stdout.toString(), /^3000000 /);
  assert.equal(output.code, 0);
  const refused = await openssh.ssh(port, ["-W", "forbidden:1", "127.0.0.1"]);
  assert.match(refused.stderr, /Not to that host/);
  await server.close();
});

for (const options of [[], ["-o", "RekeyLimit=1M"]]) {
  const how = options.length > 0 ? " with RekeyLimit=1M" : "";
  Deno.test(`ssh carries 32 MiB both ways unchanged${how}`, async () => {
    using openssh = new OpenSsh();
    const server = testServer({ limits: { rekeyBytes: options.length > 0 ? 3_000_000 : 2 ** 30 } });
    const port = listen(server);
    const size = 32 * 1024 * 1024;
    const down = await openssh.ssh(port, [...options, "127.0.0.1", `source ${size}`]);
    const got = new Counter();
    got.add(down.stdout);
    assert.deepEqual(got, sourceCount(size));
    const up = await openssh.ssh(port, [...options, "127.0.0.1", "sink"], down.stdout);
    assert.equal(up.stdout.toString(), `${got.bytes} ${got.sum}\n`);
    const echo = await openssh.ssh(port, [...options, "127.0.0.1", "echo"], down.stdout);
    assert.ok(echo.stdout.equals(down.stdout));
    await server.close();
  });
}

Deno.test("ssh refuses our server's certificate of another CA, for another name, and a plain key", async () => {
  using openssh = new OpenSsh();
  const key = testKey("host");
  const refused = async (certificate?: ReturnType<typeof hostCertificate>) => {
    const server = testServer({ hostKeys: () => [{ key, ...(certificate && { certificate }) }] });
    const port = listen(server);
    const output = await openssh.ssh(port, ["127.0.0.1", "exit 0"]);
    assert.equal(output.code, 255);
    assert.match(output.stderr, /Host key verification failed|No .* host key is known/);
    await server.close();
  };
  await refused(hostCertificate(key, ["127.0.0.1"], userCa));
  await refused(hostCertificate(key, ["elsewhere"]));
  await refused();
});

Deno.test("ssh with a plain key is refused", async () => {
  using openssh = new OpenSsh();
  Deno.removeSync(join(openssh.dir, "id-cert.pub"));
  const server = testServer();
  const port = listen(server);
  const output = await openssh.ssh(port, ["127.0.0.1", "exit 0"]);
  assert.equal(output.code, 255);
  assert.match(output.stderr, /Permission denied \(publickey\)/);
  await server.close();
});

Deno.test("ssh with a certificate of another CA is refused", async () => {
  using openssh = new OpenSsh();
  const key = testKey("alice");
  openssh.identity(key, userCertificate(key, ["alice"], testKey("another CA")));
  const server = testServer();
  const port = listen(server);
  const output = await openssh.ssh(port, ["127.0.0.1", "exit 0"]);
  assert.equal(output.code, 255);
  assert.match(output.stderr, /Permission denied \(publickey\)/);
  await server.close();
});

Deno.test("forty ssh at once all get their answer", async () => {
  using openssh = new OpenSsh();
  const server = testServer();
  const port = listen(server);
  const body = Buffer.alloc(200_000, "x");
  const outputs = await Promise.all(
    Array.from({ length: 40 }, () => openssh.ssh(port, ["127.0.0.1", "sink"], body)),
  );
  for (const { code, stdout } of outputs) {
    assert.equal(code, 0);
    assert.match(stdout.toString(), /^200000 /);
  }
  await server.close();
});

Deno.test("sftp and scp copy files both ways", async () => {
  using openssh = new OpenSsh();
  const server = testServer({
    onConnection: (connection) =>
      connection.handle({
        session: () => ({
          start(_start, { stream, exit }) {
            const sftp = new SftpServer(new FsHandler(), (bytes) => stream.write(bytes));
            let turn = Promise.resolve();
            stream.on("data", (chunk) => turn = turn.then(() => sftp.feed(chunk)));
            stream.on("end", () => turn.then(() => exit(0)));
          },
        }),
      }),
  });
  const port = listen(server);
  const content = crypto.getRandomValues(new Uint8Array(60_000));
  const local = join(openssh.dir, "local ü");
  const remote = join(openssh.dir, "remote 'x'");
  const back = join(openssh.dir, "back");
  Deno.writeFileSync(local, Buffer.concat(Array(100).fill(content)));
  const options = ["-F", "none", ...openssh.options(port)];
  const up = await run("scp", ["-s", ...options, local, `127.0.0.1:${remote}`]);
  assert.equal(up.code, 0, up.stderr);
  const batch = openssh.write("batch", `get ${quote(remote)} ${back}\nls -l ${openssh.dir}\n`);
  const down = await run("sftp", [...options, "-b", batch, "127.0.0.1"]);
  assert.equal(down.code, 0, down.stderr);
  assert.ok(Buffer.from(Deno.readFileSync(back)).equals(Deno.readFileSync(local)));
  await server.close();
});

Deno.test("ssh waits for a command whose stdin ended long ago", async () => {
  using openssh = new OpenSsh();
  const server = testServer({
    onConnection: (connection) =>
      connection.handle({
        ...testHandlers(),
        session: () => ({
          start(_start, channel) {
            channel.stream.resume().on("end", () => {
              setTimeout(() => {
                channel.stream.write("late");
                channel.exit(4);
              }, 50);
            });
          },
        }),
      }),
  });
  const port = listen(server);
  const output = await openssh.ssh(port, ["127.0.0.1", "x"], Buffer.from("in"));
  assert.equal(output.stdout.toString(), "late");
  assert.equal(output.code, 4);
  await server.close();
});

function quote(text: string): string {
  return `"${text.replaceAll(/["\\$`]/g, "\\$&")}"`;
}
