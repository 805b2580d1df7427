/** What forwarding must not give: other addresses, other people's agents, ways around the roles. */
import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { exists } from "../harness/files.ts";
import { OsUser } from "../harness/os_user.ts";
import { freePort } from "../harness/ports.ts";
import { eventually, run } from "../harness/run.ts";
import { SshAgent } from "../harness/ssh_agent.ts";
import { Mint, ROLES } from "./mint.ts";

Deno.test("forwarding gives no more than it is to give", async (t) => {
  await using owner = await OsUser.add("/bin/sh");
  await using stranger = await OsUser.add("/bin/sh");
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const mint = await Mint.open(cluster);
  const logins = [owner.name, "root", "no-such-os-user"];
  const traits = `extension:teleport-traits=${JSON.stringify({ logins })}`;
  const honest = [ROLES, traits];
  const key = await mint.certified({ principals: logins, options: honest });
  await using target = new Target();

  const refusedPort = (addr: string, why: RegExp, direction: string) =>
    eventually(
      `an event about ${addr}`,
      async () =>
        (await cluster.events()).some((e) =>
          e["event"] === "port" && e["code"] === "T3003E" && e["success"] === false &&
          e["addr"] === addr && e["direction"] === direction && why.test(String(e["error"]))
        ),
    );

  await t.step("attack 37: a login that the node does not have dials nothing", async () => {
    const result = await mint.ssh(key, [], {
      login: "no-such-os-user",
      flags: ["-W", `127.0.0.1:${target.port}`],
    });
    assert.equal(result.code, 255);
    assert.match(result.stderr, /no operating-system user "no-such-os-user"/);
    assert.equal(target.reached, 0);
  });

  await t.step("attack 37: Unix sockets are not reached with the daemon's right", async () => {
    const path = `${cluster.dir}/root-only.sock`;
    const listener = Deno.listen({ transport: "unix", path });
    let reached = 0;
    const accepting = (async () => {
      for await (const conn of listener) {
        reached++;
        conn.close();
      }
    })();
    const port = freePort();
    const result = await mint.ssh(key, ["sleep 1"], {
      login: owner.name,
      flags: ["-L", `127.0.0.1:${port}:${path}`, ...proxyCommandThatConnects(port)],
    });
    assert.match(result.stderr, /prohibited: Unix sockets are not forwarded here/);
    await refusedPort(`direct-streamlocal@openssh.com: ${path}`, /only TCP/, "local");
    const socket = `${owner.home}/remote.sock`;
    const remote = await mint.ssh(key, ["true"], {
      login: owner.name,
      flags: ["-o", "ExitOnForwardFailure=yes", "-R", `${socket}:127.0.0.1:1`],
    });
    assert.equal(remote.code, 255);
    await refusedPort(`streamlocal-forward@openssh.com: ${socket}`, /only TCP/, "remote");
    listener.close();
    await accepting;
    assert.equal(reached, 0);
  });

  await t.step("attack 38: the node listens on loopback, whatever is asked for", async () => {
    for (const bind of ["0.0.0.0:", "*:", ":", "[::]:", ""]) {
      const port = freePort();
      const result = await mint.ssh(key, ["cat /proc/net/tcp*"], {
        login: owner.name,
        flags: ["-o", "ExitOnForwardFailure=yes", "-R", `${bind}${port}:127.0.0.1:1`],
      });
      assert.equal(result.code, 0, result.stderr);
      const listening = listenersOf(result.stdout, port);
      assert.ok(listening.includes("0100007F"), `${bind}: ${listening}`);
      for (const address of listening) {
        assert.match(address, /^(0100007F|0{24}01000000)$/, `${bind} listens on ${address}`);
      }
    }
  });

  await t.step("attack 38: ports below 1024 are not for everybody", async () => {
    for (const port of [1, 22, 443, 1023]) {
      const result = await mint.ssh(key, ["true"], {
        login: owner.name,
        flags: ["-o", "ExitOnForwardFailure=yes", "-R", `${port}:127.0.0.1:1`],
      });
      assert.equal(result.code, 255);
      assert.match(result.stderr, new RegExp(`remote port forwarding failed for.* port ${port}`));
      await refusedPort(`127.0.0.1:${port}`, /only root may listen/, "remote");
    }
  });

  await t.step("attack 42: a lent agent is its session's user's alone", async () => {
    await using agent = await SshAgent.start(cluster.dir);
    await agent.addNewKey();
    const flags = ["-A", "-o", `IdentityAgent=${agent.socket}`];
    const session = mint.ssh(key, [
      "echo $SSH_AUTH_SOCK > ~/sock; while [ ! -e ~/stop ]; do sleep 0.1; done",
    ], {
      login: owner.name,
      flags,
      timeoutMs: 60_000,
    });
    const path = await eventually("the socket's name", async () => {
      const text = await Deno.readTextFile(`${owner.home}/sock`);
      return text.endsWith("\n") && text.trim();
    });
    const as = (user: OsUser, script: string) =>
      run(["setpriv", `--reuid=${user.name}`, `--regid=${user.name}`, "--init-groups", ...[
        "sh",
        "-c",
        script,
        "sh",
        path,
      ]]);
    const list = 'SSH_AUTH_SOCK="$1" ssh-add -l';
    assert.match((await as(owner, list)).stdout, /ED25519/);
    const denied = await as(stranger, list);
    assert.notEqual(denied.code, 0);
    assert.match(denied.stderr, /Permission denied|Error connecting/);
    for (const user of [owner, stranger]) {
      for (
        const script of [
          'rm "$1"',
          'mv "$1" "$1.old"',
          'ln -sf /etc/passwd "${1%/*}/agent.sock"',
          'mv "${1%/*}" "${1%/*}.old"',
          'ls "${1%/*}/.."',
        ]
      ) {
        assert.notEqual((await as(user, script)).code, 0, `${script} as ${user.name}`);
      }
    }
    assert.match((await as(owner, list)).stdout, /ED25519/);
    await Deno.writeTextFile(`${owner.home}/stop`, "");
    await session;
    await eventually("the socket to be gone", () => !exists(path));
  });

  await t.step("attack 14: a certificate without an extension forwards nothing", async () => {
    const options = ["clear", "permit-pty", ROLES, traits];
    const bare = await mint.certified({ principals: logins, options });
    const stdio = await mint.ssh(bare, [], { flags: ["-W", `127.0.0.1:${target.port}`] });
    assert.match(stdio.stderr, /certificate does not permit port forwarding/);
    await refusedPort(
      `127.0.0.1:${target.port}`,
      /certificate does not permit port forwarding/,
      "local",
    );
    const port = freePort();
    const remote = await mint.ssh(bare, ["true"], {
      flags: ["-o", "ExitOnForwardFailure=yes", "-R", `${port}:127.0.0.1:1`],
    });
    assert.equal(remote.code, 255);
    await refusedPort(`127.0.0.1:${port}`, /certificate does not permit/, "remote");
    await using agent = await SshAgent.start(cluster.dir);
    await agent.addNewKey();
    const lent = await mint.ssh(bare, ["echo [$SSH_AUTH_SOCK]"], {
      flags: ["-A", "-o", `IdentityAgent=${agent.socket}`],
    });
    assert.equal(lent.stdout, "[]\n");
    assert.match(lent.stderr, /agent forwarding is refused: the certificate does not permit/);
    assert.equal(target.reached, 0);
  });

  await t.step("attack 13: a certificate for one command forwards no ports", async () => {
    const options = [...honest, "force-command=echo forced"];
    const forced = await mint.certified({ principals: logins, options });
    const stdio = await mint.ssh(forced, [], { flags: ["-W", `127.0.0.1:${target.port}`] });
    assert.match(stdio.stderr, /for one command only/);
    const remote = await mint.ssh(forced, ["true"], {
      flags: ["-o", "ExitOnForwardFailure=yes", "-R", `${freePort()}:127.0.0.1:1`],
    });
    assert.equal(remote.code, 255);
    assert.equal(target.reached, 0);
  });

  await t.step("the honest certificate does reach what the others did not", async () => {
    const result = await mint.ssh(key, [], {
      login: owner.name,
      flags: ["-W", `127.0.0.1:${target.port}`],
    });
    assert.equal(result.stdout, "reached\n", result.stderr);
    assert.equal(target.reached, 1);
  });
});

/** Makes ssh itself connect once to a port that it forwards, when it has logged in. */
function proxyCommandThatConnects(port: number): string[] {
  return [
    ...["-o", "PermitLocalCommand=yes"],
    ...["-o", `LocalCommand=nc -w 2 127.0.0.1 ${port} < /dev/null &`],
  ];
}

/** Local addresses, in hexadecimal as the kernel shows them, at which a port is listened on. */
function listenersOf(table: string, port: number): string[] {
  const LISTEN = "0A";
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table.split("\n").map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN && fields[1]!.endsWith(suffix))
    .map((fields) => fields[1]!.slice(0, -suffix.length));
}

/** Counts who reaches it. */
class Target implements AsyncDisposable {
  reached = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor() {
    this.#done = (async () => {
      for await (const conn of this.#listener) {
        this.reached++;
        await conn.write(new TextEncoder().encode("reached\n"));
        conn.close();
      }
    })();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}
