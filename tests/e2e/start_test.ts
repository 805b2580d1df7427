import assert from "node:assert/strict";
import { Daemon } from "../harness/daemon.ts";
import { freePort } from "../harness/ports.ts";
import { bin, run } from "../harness/run.ts";

/** A directory with a configuration of one daemon that runs all roles. */
class Site implements AsyncDisposable {
  readonly port = freePort();
  private constructor(readonly dir: string) {}

  static async make(): Promise<Site> {
    const site = new Site(await Deno.makeTempDir({ prefix: "tp-start-" }));
    await Deno.writeTextFile(
      site.config,
      `teleport:
  nodename: one
  data_dir: ${site.dir}/data
  pid_file: ${site.dir}/teleport.pid
  auth_servers: ["127.0.0.1:${site.port}"]
auth_service:
  cluster_name: main
  listen_addr: 127.0.0.1:${site.port}
proxy_service:
  listen_addr: 127.0.0.1:0
  web_listen_addr: 127.0.0.1:0
ssh_service:
  listen_addr: 127.0.0.1:0
`,
    );
    return site;
  }

  get config(): string {
    return `${this.dir}/teleport.yaml`;
  }

  /** Starts a daemon that has to fail; gives what it said, one line. */
  async fails(args: string[], command: string[] = [bin("teleport")]): Promise<string> {
    const result = await run([...command, "start", ...args], { timeoutMs: 20_000 });
    assert.equal(result.code, 1, result.stdout + result.stderr);
    const errors = result.stderr.split("\n").filter((line) => line.startsWith("error: "));
    assert.equal(errors.length, 1, result.stderr);
    assert.doesNotMatch(result.stderr, /^ +at /m);
    return errors[0] ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}

const modeOf = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;

Deno.test("teleport start announces its services in order and keeps its data to itself", async () => {
  await using site = await Site.make();
  const daemon = Daemon.start(["-c", site.config]);
  await daemon.logged(/Teleport is ready/);
  const lines = daemon.log.split("\n").filter((line) => line.includes("starting on"));
  assert.equal(lines[0], `[AUTH]  Auth service is starting on 127.0.0.1:${site.port}`);
  assert.match(lines[1] ?? "", /^\[PROXY\] Web proxy service is starting on 127\.0\.0\.1:\d+$/);
  assert.match(lines[2] ?? "", /^\[PROXY\] SSH proxy service is starting on 127\.0\.0\.1:\d+$/);
  assert.match(lines[3] ?? "", /^\[SSH\] {3}Service is starting on 127\.0\.0\.1:\d+$/);
  assert.equal(Number(await Deno.readTextFile(`${site.dir}/teleport.pid`)), daemon.pid);
  assert.equal(modeOf(`${site.dir}/data`), 0o700);
  assert.equal(modeOf(`${site.dir}/data/host_uuid`), 0o400);
  assert.equal(modeOf(`${site.dir}/data/proc/admin/key`), 0o600);
  // The native addon is loaded from a directory that nobody else can write.
  assert.equal(modeOf(`${site.dir}/data/tmp`), 0o700);
  const maps = await Deno.readTextFile(`/proc/${daemon.pid}/maps`);
  assert.match(maps, new RegExp(`${site.dir}/data/tmp/\\S+\\.node`));

  const status = await daemon.stop("SIGINT");
  assert.equal(status.code, 0, daemon.log);
  assert.doesNotMatch(daemon.log, /ERROR/);
  await assert.rejects(Deno.stat(`${site.dir}/teleport.pid`), Deno.errors.NotFound);
});

Deno.test("teleport keeps its identity over a restart", async () => {
  await using site = await Site.make();
  const seen: string[] = [];
  for (let round = 0; round < 2; round++) {
    const daemon = Daemon.start(["-c", site.config]);
    await daemon.logged(/Teleport is ready/);
    seen.push(await Deno.readTextFile(`${site.dir}/data/host_uuid`));
    seen.push(await Deno.readTextFile(`${site.dir}/data/proc/node/key`));
    assert.equal((await daemon.stop()).code, 0, daemon.log);
  }
  assert.deepEqual(seen.slice(0, 2), seen.slice(2));
});

Deno.test("teleport start says in one line what keeps it from starting", async (t) => {
  await using site = await Site.make();

  await t.step("a port that is in use, with its key", async () => {
    using _taken = Deno.listen({ hostname: "127.0.0.1", port: site.port });
    const error = await site.fails(["-c", site.config]);
    assert.match(
      error,
      new RegExp(`cannot listen on 127\\.0\\.0\\.1:${site.port}: the port is in use`),
    );
    assert.match(error, /auth_service\.listen_addr/);
  });

  await t.step("a data directory that cannot be written", async () => {
    await Deno.writeTextFile(`${site.dir}/bad.yaml`, "teleport: {data_dir: /proc/none}\n");
    assert.match(
      await site.fails(["-c", `${site.dir}/bad.yaml`]),
      /cannot use the data directory \/proc\/none: .*set teleport\.data_dir/,
    );
  });

  await t.step("an unknown key, with its line", async () => {
    await Deno.writeTextFile(`${site.dir}/bad.yaml`, "teleport:\n  nodenam: x\n");
    assert.match(await site.fails(["-c", `${site.dir}/bad.yaml`]), /nodenam.*line 2/);
  });

  await t.step("a configuration file that is not there", async () => {
    assert.match(await site.fails(["-c", `${site.dir}/gone.yaml`]), /gone\.yaml/);
  });

  await t.step("no token on a host that has not joined", async () => {
    assert.match(
      await site.fails(["-c", site.config, "--roles=node"]),
      /has no token; run `tctl tokens add --type=node`/,
    );
  });
});

Deno.test("a signal stops a daemon that still waits for its auth server", async () => {
  await using site = await Site.make();
  const daemon = Daemon.start([
    "-c",
    site.config,
    "--roles=node",
    "--token=0123456789abcdef",
    `--ca-pin=sha256:${"a".repeat(64)}`,
  ]);
  await daemon.logged(/No auth server answers/);
  assert.equal((await daemon.stop("SIGTERM")).code, 0, daemon.log);
});

Deno.test("a second signal ends the daemon at once", async () => {
  await using site = await Site.make();
  const daemon = Daemon.start(["-c", site.config]);
  await daemon.logged(/Teleport is ready/);
  Deno.kill(daemon.pid, "SIGTERM");
  Deno.kill(daemon.pid, "SIGINT");
  const { code } = await daemon.ended;
  // 128 and the number of whichever came second.
  assert.ok(code === 130 || code === 143, `status ${code}\n${daemon.log}`);
  await daemon.stop();
});
