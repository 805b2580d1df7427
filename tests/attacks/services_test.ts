import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { freePort } from "../harness/ports.ts";
import { eventually, run } from "../harness/run.ts";
import { Mint } from "./mint.ts";

Deno.test("what an honest certificate must not get", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const mint = await Mint.open(cluster);
  const key = await mint.certified();

  await t.step("attack 36: the proxy gives no shell, no command, no sftp, no agent", async () => {
    for (
      const [command, flags] of [[[], []], [["id"], []], [["sftp"], ["-s"]], [["tty"], [
        "-tt",
      ]]] as const
    ) {
      const result = await mint.ssh(key, [...command], { to: "proxy", flags: [...flags] });
      assert.notEqual(result.code, 0, `${command} on the proxy: ${result.stdout}`);
      assert.equal(result.stdout, "");
    }
  });

  await t.step(
    "attack 37: the proxy does not dial loopback, link-local or metadata addresses",
    async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
      let reached = 0;
      const accepting = (async () => {
        for await (const conn of listener) {
          reached++;
          conn.close();
        }
      })();
      const { port } = listener.addr as Deno.NetAddr;
      for (
        const target of [
          ...[
            `127.0.0.1:${port}`,
            `localhost:${port}`,
            `[::1]:${port}`,
            `[::ffff:127.0.0.1]:${port}`,
          ],
          ...[
            `0.0.0.0:${port}`,
            "127.0.0.1:22",
            "169.254.169.254:22",
            "[fe80::1]:22",
            `2130706433:${port}`,
          ],
        ]
      ) {
        const direct = await mint.ssh(key, [], { to: "proxy", flags: ["-W", target] });
        assert.notEqual(direct.code, 0, `direct-tcpip to ${target}`);
        const subsystem = await mint.ssh(key, [`proxy:${target}`], { to: "proxy", flags: ["-s"] });
        assert.notEqual(subsystem.code, 0, `subsystem to ${target}`);
      }
      listener.close();
      await accepting;
      assert.equal(reached, 0, "the proxy dialled a forbidden address");
    },
  );

  await t.step("attack 38: the proxy does not listen for the client", async () => {
    const port = freePort();
    const result = await mint.ssh(key, ["proxysites"], {
      to: "proxy",
      flags: ["-R", `0.0.0.0:${port}:127.0.0.1:1`, "-o", "ExitOnForwardFailure=yes", "-s"],
    });
    assert.notEqual(result.code, 0, "the proxy accepted a forwarding");
    await eventually(
      "the refusal to be audited",
      async () =>
        (await cluster.events()).some((e) =>
          e["event"] === "port" && e["success"] === false && e["addr"] === `0.0.0.0:${port}`
        ),
    );
  });

  await t.step(
    "attack 39: environment that steers the loader or the daemon does not arrive",
    async () => {
      const names = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "DENO_DIR",
        "BASH_ENV",
        "PATH",
      ];
      const flags = names.flatMap((name) => ["-o", `SetEnv=${name}=/evil`]);
      const result = await mint.ssh(key, ["env"], { flags });
      assert.equal(result.code, 0, result.stderr);
      assert.doesNotMatch(result.stdout, /\/evil/);
    },
  );

  await t.step("attack 40: login names that are paths, options, numbers or lines", async () => {
    for (
      const login of [
        "../root",
        "root/..",
        "-oProxyCommand=id",
        "0",
        "root\nx",
        "ro\u0000ot",

        "$(id)",
      ]
    ) {
      const result = await run([
        ...["ssh", "-F", "/dev/null", "-p", String(cluster.ports.node), "-i", key],
        ...["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"],
        ...["-o", `UserKnownHostsFile=${mint.dir}/known_hosts`, "-o", "HostKeyAlias=node-1.main"],
        ...["-o", `User=${login.replaceAll("\u0000", "%")}`, "127.0.0.1", "id"],
      ], { env: { SSH_AUTH_SOCK: "" } });
      assert.notEqual(result.code, 0, `${JSON.stringify(login)} got in: ${result.stdout}`);
    }
  });

  await t.step("attack 34: silent connections are closed and do not keep others out", async () => {
    const silent = await Promise.all(
      Array.from(
        { length: 90 },
        () => Deno.connect({ hostname: "127.0.0.1", port: cluster.ports.node }),
      ),
    );
    try {
      const result = await eventually("a session beside the silent ones", async () => {
        const tried = await mint.ssh(key, ["id", "-un"]);
        return tried.code === 0 ? tried : undefined;
      }, 60_000);
      assert.equal(result.stdout, "root\n");
    } finally {
      silent.forEach((conn) => conn.close());
    }
  });

  await t.step("attack 50: the web API keeps its shape under bad input", async () => {
    const client = Deno.createHttpClient({
      caCerts: [(await cluster.tctl(["auth", "export", "--type=tls"])).stdout],
    });
    const base = `https://localhost:${cluster.ports.proxyWeb}`;
    const send = (path: string, init: RequestInit) =>
      fetch(base + path, { ...init, client } as RequestInit);
    const bodies = [
      "",
      "{",
      "[]",
      '{"user":1}',
      '{"__proto__":{"admin":true}}',
      "x".repeat(1 << 20),
    ];
    for (const body of bodies) {
      const answer = await send("/webapi/ssh/certs", {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
      });
      assert.ok(
        answer.status >= 400 && answer.status < 500,
        `status ${answer.status} for ${body.slice(0, 40)}`,
      );
      const text = await answer.text();
      assert.doesNotMatch(text, /at .*\.ts|node_modules/);
      assert.equal(typeof JSON.parse(text).error.message, "string");
    }
    const get = await send("/webapi/ssh/certs?password=x", { method: "GET" });
    assert.ok(get.status === 404 || get.status === 405);
    await get.body?.cancel();
    client.close();
  });
});
