/** tsh as a program, against a cluster in this process. */
import assert from "node:assert/strict";
import { SftpServer } from "../../lib/ssh/test_sftp_server.ts";
import { FsHandler } from "../../lib/ssh/test_sftp_handler.ts";
import { type RunOnNode, TestCluster } from "../../lib/client/test_cluster.ts";
import { type FakeProxy, fakeProxy, otpSecret, signupToken } from "../../lib/client/test_web.ts";

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

const main = new URL("./main.ts", import.meta.url).pathname;
const decoder = new TextDecoder();

/** A cluster with a web API, and a person with a directory. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly cluster: TestCluster,
    readonly web: FakeProxy,
  ) {}

  static async create(): Promise<Scene> {
    const cluster = new TestCluster();
    const web = await fakeProxy({
      authority: cluster.authority,
      sshPort: cluster.address.port,
    });
    return new Scene(await Deno.makeTempDir(), cluster, web);
  }

  get env(): Record<string, string> {
    return {
      PATH: Deno.env.get("PATH") ?? "",
      HOME: Deno.env.get("HOME") ?? "",
      TELEPORT_HOME: `${this.dir}/tsh`,
      TELEPORT_PROXY: `localhost:${this.web.port}`,
      TELEPORT_USER: "joe",
      USER: "root",
      NO_COLOR: "1",
    };
  }

  command(args: string[]): string[] {
    return [Deno.execPath(), "run", "-A", "--quiet", "--no-check", main, ...args];
  }

  async tsh(
    args: string[],
    options: { stdin?: string; env?: Record<string, string> } = {},
  ): Promise<Result> {
    return await runCommand(this.command(args), { ...this.env, ...options.env }, options.stdin);
  }

  async login(...args: string[]): Promise<Result> {
    const result = await this.tsh(["login", `--ca-pin=${this.web.pin}`, ...args], {
      stdin: "secret\n123456\n",
    });
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    await this.web[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

async function runCommand(
  [program, ...args]: string[],
  env: Record<string, string>,
  stdin = "",
): Promise<Result> {
  const child = new Deno.Command(program!, {
    args,
    env,
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs commands with a shell, and serves files. */
const node: RunOnNode = (start, channel) => {
  if (start.kind === "subsystem") {
    const server = new SftpServer(
      new FsHandler(),
      (bytes) => void channel.stream.write(Uint8Array.from(bytes)),
    );
    let work = Promise.resolve();
    channel.stream.on("data", (chunk: Uint8Array) => {
      const copy = Uint8Array.from(chunk);
      work = work.then(() => server.feed(copy));
    });
    channel.stream.on("end", () => channel.exit(0));
    return;
  }
  if (start.kind === "shell") {
    channel.stream.write("welcome\r\n$ ");
    channel.stream.on("data", (chunk: Uint8Array) => {
      const text = decoder.decode(chunk);
      channel.stream.write(text);
      if (text.includes("q")) channel.exit(5);
    });
    return;
  }
  const child = new Deno.Command("sh", {
    args: ["-c", start.command],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  channel.stream.on("data", (chunk: Uint8Array) => void input.write(chunk).catch(() => {}));
  channel.stream.on("end", () => void input.close().catch(() => {}));
  void (async () => {
    const { code, stdout, stderr } = await child.output();
    channel.stream.write(stdout);
    channel.stderr.write(stderr);
    channel.exit(code);
  })();
};

Deno.test("tsh login, status, env, logout", async (t) => {
  await using scene = await Scene.create();

  await t.step("before a login everything says what to do", async () => {
    const status = await scene.tsh(["status"]);
    assert.deepEqual([status.code, status.stdout], [1, "Not logged in.\n"]);
    const ssh = await scene.tsh(["ssh", "root@db-1"]);
    assert.equal(ssh.code, 1);
    assert.equal(
      ssh.stderr,
      `error: Not logged in at localhost: run \`tsh login --proxy=localhost:${scene.web.port}\`\n`,
    );
  });

  await t.step("login takes its answers from stdin and prints the status", async () => {
    const { stdout, stderr } = await scene.login();
    assert.equal(stderr, "");
    assert.match(
      stdout,
      new RegExp(
        `^> Profile URL:  https://localhost:${scene.web.port}
  Logged in as: joe
  Cluster:      main
  Roles:        admin
  Logins:       root
  Valid until:  \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d \\+0000 UTC \\[valid for 1[12]h\\d+m0s\\]
  Extensions:   permit-pty
$`,
      ),
    );
  });

  await t.step("a second login uses the live certificate", async () => {
    const before = scene.web.requests.length;
    const { code, stdout } = await scene.tsh(["login"]);
    assert.equal(code, 0);
    assert.match(stdout, /Logged in as: joe/);
    assert.equal(scene.web.requests.length, before);
  });

  await t.step("status and login are to be had as JSON and YAML", async () => {
    const json = JSON.parse((await scene.tsh(["status", "--format=json"])).stdout);
    assert.equal(json.active.username, "joe");
    assert.deepEqual(json.active.logins, ["root"]);
    assert.deepEqual(json.active.traits, { logins: ["root"] });
    assert.equal(json.active.expired, false);
    assert.match(
      (await scene.tsh(["login", "--format=yaml"])).stdout,
      /^active:\n {2}profile_url:/,
    );
  });

  await t.step("env prints what a shell can evaluate", async () => {
    assert.equal(
      (await scene.tsh(["env"])).stdout,
      `export TELEPORT_PROXY=localhost:${scene.web.port}\nexport TELEPORT_CLUSTER=main\n`,
    );
    assert.equal(
      (await scene.tsh(["env", "--unset"])).stdout,
      "unset TELEPORT_PROXY\nunset TELEPORT_CLUSTER\n",
    );
  });

  await t.step("a wrong password is refused with one line", async () => {
    const { code, stdout, stderr } = await scene.tsh(
      ["login", "--user=ann", `--ca-pin=${scene.web.pin}`],
      { stdin: "wrong\n1\n" },
    );
    assert.deepEqual([code, stdout], [1, ""]);
    assert.equal(stderr, "error: invalid username, password or second factor\n");
  });

  await t.step("without a pin and a terminal an unknown proxy is refused", async () => {
    const { code, stderr } = await scene.tsh(["login"], {
      stdin: "secret\n123456\n",
      env: { TELEPORT_HOME: `${scene.dir}/other` },
    });
    assert.equal(code, 1);
    assert.ok(stderr.includes(scene.web.pin) && stderr.includes("--ca-pin"), stderr);
  });

  await t.step("logout forgets everything", async () => {
    const { code, stderr } = await scene.tsh(["logout"]);
    assert.deepEqual([code, stderr], [0, "Logged out all users from all proxies.\n"]);
    assert.deepEqual([...Deno.readDirSync(`${scene.dir}/tsh`)], []);
    assert.equal((await scene.tsh(["status"])).code, 1);
  });
});

Deno.test("tsh ssh, scp, clusters, config and proxy ssh", async (t) => {
  await using scene = await Scene.create();
  scene.cluster.addNode(["db-1"], node);
  await scene.login();

  await t.step("a command's output and status, and nothing else", async () => {
    assert.deepEqual(
      await scene.tsh(["ssh", "root@db-1", "echo out; echo err >&2; exit 7"]),
      { code: 7, stdout: "out\n", stderr: "err\n" },
    );
    assert.equal((await scene.tsh(["ssh", "db-1", "cat"], { stdin: "hello" })).stdout, "hello");
  });

  await t.step("an unknown node ends with 1, another cluster is refused by its name", async () => {
    const unknown = await scene.tsh(["ssh", "root@none", "true"]);
    assert.deepEqual([unknown.code, unknown.stderr], [1, 'error: no node "none" (0)\n']);
    const leaf = await scene.tsh(["ssh", "--cluster=leaf", "root@db-1", "true"]);
    assert.match(leaf.stderr, /--cluster=leaf is not supported/);
    assert.equal((await scene.tsh(["ssh", "--cluster=main", "root@db-1", "true"])).code, 0);
  });

  await t.step("forwards are read before anything is connected", async () => {
    const asked = scene.cluster.asked.length;
    const mistakes: [string[], RegExp][] = [
      [["-L", "80"], /Cannot read -L "80".*-L 8080:db\.internal:80/],
      [["-R", "1:a:b:c:d"], /Cannot read -R/],
      [["-D", "x"], /Cannot read -D "x": "x" is not a port/],
      [["-o", "LocalForward=80 host"], /Cannot read -L "80:host"/],
      [["-J", "a,b"], /only one jump host/],
      [["-N"], /-N runs nothing on the node/],
    ];
    for (const [flags, why] of mistakes) {
      const { code, stderr } = await scene.tsh(["ssh", ...flags, "root@db-1", "true"]);
      assert.notEqual(code, 0);
      assert.match(stderr, why);
    }
    assert.equal(scene.cluster.asked.length, asked);
  });

  await t.step(
    "-A and -X without an agent and a display say so, and the command runs",
    async () => {
      const env = { SSH_AUTH_SOCK: "", DISPLAY: "" };
      const { code, stderr } = await scene.tsh(["ssh", "-AX", "root@db-1", "true"], { env });
      assert.equal(code, 0);
      assert.match(stderr, /the agent is not forwarded: SSH_AUTH_SOCK is not set/);
      assert.match(stderr, /X11 is not forwarded: DISPLAY is not set/);
    },
  );

  await t.step(
    "-J goes through another address of the proxy, with a login of its own",
    async () => {
      const { host, port } = scene.cluster.address;
      const jump = (text: string) => scene.tsh(["ssh", "-J", text, "root@db-1", "echo here"]);
      assert.equal((await jump(`root@${host}:${port}`)).stdout, "here\n");
      const stranger = await jump(`nobody@${host}:${port}`);
      assert.deepEqual([stranger.code, stranger.stdout], [255, ""]);
      assert.match(stranger.stderr, /Access to the proxy at 127\.0\.0\.1:\d+ is denied/);
    },
  );

  await t.step("options of ssh are understood, warned about or refused", async () => {
    const odd = await scene.tsh(["ssh", "-o", "Compression=yes", "root@db-1", "true"]);
    assert.deepEqual([odd.code, odd.stderr], [
      0,
      "WARNING: Option 'Compression' is not supported.\n",
    ]);
    assert.equal((await scene.tsh(["ssh", "-o", "Nonsense=1", "root@db-1", "true"])).code, 2);
  });

  await t.step(
    "a shell on a terminal: raw keys, goodbye, status, and the terminal restored",
    async () => {
      const inner = scene.command(["ssh", "root@db-1"]).map((word) => `'${word}'`).join(" ");
      const { code, stdout } = await runCommand(
        [
          "script",
          "-qec",
          `${inner}; s=$?; stty -a; exit $s`,
          "/dev/null",
        ],
        { ...scene.env, TERM: "xterm" },
        "abq",
      );
      assert.equal(code, 5, stdout);
      assert.match(stdout, /welcome\r\n\$ abq/);
      assert.match(stdout, /the connection was closed on the remote side on {2}\d\d \w{3} \d\d/);
      assert.match(stdout, / icanon /);
      assert.match(stdout, /^opost /m);
      assert.match(scene.cluster.sizes[0] ?? "", /^xterm \d+x\d+$/);
    },
  );

  await t.step("scp copies both ways", async () => {
    await Deno.mkdir(`${scene.dir}/from`);
    await Deno.writeTextFile(`${scene.dir}/from/a file`, "content");
    const up = await scene.tsh(["scp", "-rq", `${scene.dir}/from`, `root@db-1:${scene.dir}/up`]);
    assert.deepEqual(up, { code: 0, stdout: "", stderr: "" });
    const down = await scene.tsh(["scp", `root@db-1:${scene.dir}/up/a*`, `${scene.dir}/down`]);
    assert.equal(down.code, 0, down.stderr);
    assert.equal(await Deno.readTextFile(`${scene.dir}/down`), "content");
    const missing = await scene.tsh(["scp", "root@db-1:/no such file", `${scene.dir}/x`]);
    assert.deepEqual(
      [missing.code, missing.stderr],
      [1, "error: db-1:/no such file: No such file or directory\n"],
    );
    assert.match((await scene.tsh(["scp", "a", "b"])).stderr, /All paths are on this computer/);
  });

  await t.step("clusters", async () => {
    assert.equal(
      (await scene.tsh(["clusters"])).stdout,
      "Cluster Name Status \n------------ ------ \nmain         online \n",
    );
    assert.equal((await scene.tsh(["clusters", "-q"])).stdout, "main online \n");
  });

  await t.step("ls prints a table, names and resources", async () => {
    scene.cluster.nodes = [{
      kind: "node",
      version: "v2",
      metadata: { name: "11111111-2222-4333-8444-555555555555", labels: { env: "prod" } },
      spec: {
        addr: "10.0.0.2:3022",
        hostname: "db-1",
        cmd_labels: { arch: { period: "1h", command: ["uname"], result: "x86_64" } },
      },
    }];
    assert.equal(
      (await scene.tsh(["ls"])).stdout,
      [
        "Node Name Address       Labels                ",
        "--------- ------------- --------------------- ",
        "db-1      10.0.0.2:3022 env=prod, arch=x86_64 ",
        "",
      ].join("\n"),
    );
    assert.equal((await scene.tsh(["ls", "-f", "names"])).stdout, "db-1\n");
    assert.equal(
      JSON.parse((await scene.tsh(["ls", "-f", "json"])).stdout)[0].spec.hostname,
      "db-1",
    );
  });

  await t.step("stock ssh goes through tsh config and tsh proxy ssh", async () => {
    const { stdout } = await scene.tsh(["config"]);
    // Run from source, tsh has no path of its own that a shell could call.
    const tsh = scene.command([]).join(" ");
    await Deno.writeTextFile(
      `${scene.dir}/ssh_config`,
      stdout.replace(" tsh proxy ssh ", ` ${tsh} proxy ssh `),
    );
    scene.cluster.addNode(
      ["db-1"],
      node,
      scene.cluster.authority.host(["db-1", "db-1.main"], "Node"),
    );
    const result = await runCommand(
      [
        "ssh",
        "-F",
        `${scene.dir}/ssh_config`,
        "-o",
        "BatchMode=yes",
        "root@db-1.main",
        "echo $((6*7))",
      ],
      scene.env,
    );
    assert.deepEqual([result.code, result.stdout], [0, "42\n"], result.stderr);
    const unknown = await runCommand(
      ["ssh", "-F", `${scene.dir}/ssh_config`, "-o", "BatchMode=yes", "root@none.main", "true"],
      scene.env,
    );
    assert.equal(unknown.code, 255);
    assert.match(unknown.stderr, /error: no node "none"/);
  });

  await t.step("an identity file is enough, and nothing is written", async () => {
    const file = `${scene.dir}/identity`;
    const { stderr } = await scene.login("--out", file);
    assert.equal(stderr, `The certificate has been written to ${file}\n`);
    const proxy = `localhost:${scene.web.port},${scene.cluster.address.port}`;
    const env = { TELEPORT_HOME: `${scene.dir}/nowhere`, TELEPORT_USER: "" };
    for (const address of [proxy, `localhost:${scene.web.port}`]) {
      const result = await scene.tsh(
        [`--proxy=${address}`, "-i", file, "ssh", "root@db-1", "id -un"],
        { env },
      );
      assert.deepEqual([result.code, result.stdout], [0, "root\n"], result.stderr);
    }
    assert.throws(() => Deno.statSync(`${scene.dir}/nowhere`), Deno.errors.NotFound);
  });
});

Deno.test("tsh asks for a new login when the certificate has expired, and goes on", async () => {
  await using scene = await Scene.create();
  scene.cluster.addNode(["db-1"], node);
  await scene.login();
  await expire(scene);
  const alone = await runCommand(
    ["setsid", "-w", ...scene.command(["ssh", "root@db-1", "true"])],
    scene.env,
  );
  assert.equal(alone.code, 255);
  assert.match(alone.stderr, /The certificate of joe expired at .*: run `tsh login/);
  // On a terminal; stdin of the command is a pipe all the same.
  const inner = scene.command(["ssh", "root@db-1", "cat"]).map((word) => `'${word}'`).join(" ");
  const again = await answer(
    ["script", "-qec", `echo data | ${inner}`, "/dev/null"],
    scene.env,
    [[/password for Teleport user joe: $/, "secret\r"], [/OTP token: $/, "123456\r"]],
  );
  assert.equal(again.code, 0, again.stdout);
  assert.match(again.stdout, /please log in again/);
  assert.match(again.stdout, /Enter password for Teleport user joe: /);
  assert.match(again.stdout, /^data\r$/m);
  assert.ok(!again.stdout.includes("secret"));
});

/** Runs a program and types each answer when its question is on the screen. */
async function answer(
  [program, ...args]: string[],
  env: Record<string, string>,
  answers: [RegExp, string][],
): Promise<{ code: number; stdout: string }> {
  const child = new Deno.Command(program!, {
    args,
    env,
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  const left = [...answers];
  let stdout = "";
  for await (const chunk of child.stdout) {
    stdout += decoder.decode(chunk);
    const [next] = left;
    if (!next?.[0].test(stdout)) continue;
    left.shift();
    await writer.write(new TextEncoder().encode(next[1]));
  }
  await writer.close().catch(() => {});
  return { code: (await child.status).code, stdout };
}

/** Puts a certificate of the past in the place of joe's. */
async function expire(scene: Scene): Promise<void> {
  const { formatCertificateLine } = await import("../../lib/sshwire/certificate.ts");
  const { encodePrivateKey } = await import("../../lib/sshwire/private_key.ts");
  const { key, certificate } = scene.cluster.authority.identity({ ttlMs: -60_000 });
  const path = `${scene.dir}/tsh/keys/localhost/joe`;
  await Deno.writeTextFile(path, encodePrivateKey(key));
  await Deno.writeTextFile(`${path}-cert.pub`, `${formatCertificateLine(certificate)}\n`);
}

Deno.test("tsh signup shows the secret before it reads the code", async (t) => {
  await using scene = await Scene.create();
  const link = `https://localhost:${scene.web.port}/web/invite/${signupToken}`;
  const pin = `--ca-pin=${scene.web.pin}`;

  await t.step("by a script", async () => {
    const { code, stdout, stderr } = await scene.tsh(["signup", pin, link], {
      stdin: "new password\nnew password\n123456\n",
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${otpSecret}\n`);
    assert.match(stderr, /[█▀▄]{8}/);
    assert.match(stderr, /Done\. Now log in: tsh login --proxy=localhost:\d+ --user=joe/);
    assert.deepEqual(scene.web.requests.at(-1), {
      path: "/webapi/users/password/token",
      token: signupToken,
      password: "new password",
      second_factor_token: "123456",
    });
  });

  await t.step("refusals", async () => {
    const attempt = async (own: string, stdin: string) =>
      (await scene.tsh(["signup", pin, own], { stdin })).stderr;
    assert.match(await attempt(link, "new password\nother\n"), /two passwords are not the same/);
    assert.match(await attempt(link, "short\nshort\n"), /too short: use at least 6/);
    assert.match(
      await attempt(link, "new password\nnew password\n000000\n"),
      /invalid second factor/,
    );
    assert.match(await attempt(link.replace("0123", "ffff"), ""), /this link is not valid/);
    assert.match(await attempt("https://localhost/", ""), /is not an invitation or reset link/);
  });
});

Deno.test("tsh starts without the code of other commands, and tsh ssh without that of forwarding", async () => {
  await using scene = await Scene.create();
  const { stdout } = await scene.tsh(["version", "--format=json"]);
  assert.match(JSON.parse(stdout).version, /^\d+\.\d+\.\d+$/);
  const info = await runCommand([Deno.execPath(), "info", "--json", main], scene.env);
  const graph = JSON.parse(info.stdout) as {
    modules: {
      specifier: string;
      dependencies?: { code?: { specifier: string }; isDynamic?: boolean }[];
    }[];
  };
  const modules = new Map(graph.modules.map((module) => [module.specifier, module]));
  /** What is loaded before anything is asked for. */
  const closure = (root: string, seen = new Set<string>()): Set<string> => {
    if (seen.has(root)) return seen;
    seen.add(root);
    for (const { code, isDynamic } of modules.get(root)?.dependencies ?? []) {
      if (code && !isDynamic) closure(code.specifier, seen);
    }
    return seen;
  };
  const of = (file: string) => [...closure(new URL(file, import.meta.url).href)].join("\n");
  assert.doesNotMatch(of("./main.ts"), /npm:|\/lib\/(?!cli|base)/);
  for (const verb of ["./ssh.ts", "./proxy_ssh.ts", "./scp.ts"]) {
    assert.doesNotMatch(of(verb), /npm:\/*(?:zod|yaml|hono|qrcode|@peculiar|otplib|reflect)/, verb);
  }
  assert.doesNotMatch(of("./ssh.ts"), /client\/forward\/|forwarding\.ts|without_session/);
});
