import { Daemon } from "./daemon.ts";
import { freePort } from "./ports.ts";
import { bin, must, run, type RunOptions, type RunResult } from "./run.ts";
import { Authenticator } from "./totp.ts";

/** The ports of one daemon on 127.0.0.1; only those of its roles are used. */
export interface Ports {
  auth: number;
  proxySsh: number;
  proxyWeb: number;
  node: number;
}

export function freePorts(): Ports {
  return { auth: freePort(), proxySsh: freePort(), proxyWeb: freePort(), node: freePort() };
}

export const PASSWORD = "correct horse battery staple";

/** A person with a home directory of their own, as far as `tsh` and `ssh` are concerned. */
export class Person {
  constructor(
    readonly cluster: Cluster,
    readonly name: string,
    readonly home: string,
    readonly authenticator: Authenticator | undefined,
  ) {}

  get env(): Record<string, string> {
    return {
      HOME: this.home,
      TELEPORT_PROXY: this.cluster.proxy,
      TELEPORT_USER: this.name,
      SSH_AUTH_SOCK: "",
      NO_COLOR: "1",
    };
  }

  /** Runs `tsh` as this person. */
  tsh(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return run([bin("tsh"), ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** Logs in by password and the next code; throws when that is refused. */
  async login(args: string[] = []): Promise<RunResult> {
    const code = this.authenticator ? `${await this.authenticator.code()}\n` : "";
    const result = await this.tsh(
      ["login", `--ca-pin=${await this.cluster.caPin()}`, ...args],
      { stdin: `${PASSWORD}\n${code}` },
    );
    if (result.code !== 0) throw new Error(`tsh login failed: ${result.stdout}${result.stderr}`);
    return result;
  }

  /** Runs any command in this person's environment; throws when it fails. */
  must(argv: string[], options: RunOptions = {}): Promise<RunResult> {
    return must(argv, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Writes the block of `tsh config` to a file; gives the arguments that make `ssh` use it alone. */
  async sshArgs(): Promise<string[]> {
    const { stdout } = await must([bin("tsh"), "config"], { env: this.env });
    const file = `${this.home}/ssh_config`;
    await Deno.writeTextFile(file, stdout);
    return ["-F", file, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"];
  }
}

/** Daemons of one cluster on this machine, in a directory of their own. */
export class Cluster {
  readonly daemons = new Map<string, Daemon>();
  readonly #runsAs = new Map<string, string>();
  #pin: string | undefined;

  private constructor(
    readonly name: string,
    readonly dir: string,
    readonly ports: Ports,
    readonly secondFactor: "off" | "otp",
  ) {}

  /** `host:https,ssh`, as `tsh --proxy` takes it. */
  get proxy(): string {
    return `localhost:${this.ports.proxyWeb},${this.ports.proxySsh}`;
  }

  /** One daemon with all three roles, started and ready. */
  static async allInOne(
    options: {
      name?: string;
      secondFactor?: "off" | "otp";
      nodename?: string;
      /** Further lines of the section teleport, and of auth_service. */
      teleport?: string;
      auth?: string;
    } = {},
  ): Promise<Cluster> {
    const cluster = await Cluster.#create(options);
    await cluster.start("main", ["auth", "proxy", "node"], {
      ...(options.teleport ? { teleport: options.teleport } : {}),
      nodename: options.nodename ?? "node-1",
      ports: cluster.ports,
      ...(options.auth ? { auth: options.auth } : {}),
    });
    return cluster;
  }

  /** Three daemons: auth; proxy; one node for each name given, joined by token and pin. */
  static async separate(
    options: {
      name?: string;
      secondFactor?: "off" | "otp";
      nodes?: string[];
      /** Further lines of auth_service and of proxy_service. */
      auth?: string;
      proxy?: string;
    } = {},
  ): Promise<Cluster> {
    const cluster = await Cluster.#create(options);
    await cluster.start("auth", ["auth"], {
      nodename: "auth-1",
      ports: cluster.ports,
      ...(options.auth ? { auth: options.auth } : {}),
    });
    const pin = await cluster.caPin();
    const token = await cluster.token("proxy,node");
    const join = `auth_token: ${token}\n  ca_pin: "${pin}"`;
    await cluster.start("proxy", ["proxy"], {
      nodename: "proxy-1",
      ports: cluster.ports,
      teleport: join,
      ...(options.proxy ? { proxy: options.proxy } : {}),
    });
    for (const node of options.nodes ?? ["node-1", "node-2"]) {
      await cluster.startNode(node, { teleport: join });
    }
    return cluster;
  }

  static async #create(
    options: { name?: string; secondFactor?: "off" | "otp" },
  ): Promise<Cluster> {
    const dir = await Deno.makeTempDir({ prefix: "tp-e2e-" });
    return new Cluster(
      options.name ?? "main",
      dir,
      freePorts(),
      options.secondFactor ?? "otp",
    );
  }

  /** Starts a daemon that only serves as a node of this cluster. */
  async startNode(
    name: string,
    options: { teleport?: string; ssh?: string; port?: number; key?: string; as?: string } = {},
  ): Promise<Daemon> {
    const ports = { ...this.ports, node: options.port ?? freePort() };
    return await this.start(options.key ?? name, ["node"], {
      nodename: name,
      ports,
      ...(options.teleport ? { teleport: options.teleport } : {}),
      ...(options.as ? { as: options.as } : {}),
      ssh: options.ssh ?? `labels:\n    env: test\n    name: ${name}`,
    });
  }

  /** Writes a configuration and starts a daemon with it, ready when all its roles are. */
  async start(
    key: string,
    roles: ("auth" | "proxy" | "node")[],
    options: {
      nodename: string;
      ports: Ports;
      teleport?: string;
      auth?: string;
      proxy?: string;
      ssh?: string;
      /** The OS user that the daemon runs as, in place of the test's own. */
      as?: string;
    },
  ): Promise<Daemon> {
    const { ports } = options;
    const enabled = (role: "auth" | "proxy" | "node") => roles.includes(role) ? "yes" : "no";
    await Deno.mkdir(`${this.dir}/${key}`, { recursive: true });
    await Deno.writeTextFile(
      `${this.dir}/${key}.yaml`,
      `teleport:
  nodename: ${options.nodename}
  data_dir: ${this.dir}/${key}
  auth_servers: ["127.0.0.1:${ports.auth}"]
  ${options.teleport ?? ""}
auth_service:
  enabled: ${enabled("auth")}
  cluster_name: ${this.name}
  listen_addr: 127.0.0.1:${ports.auth}
  authentication:
    type: local
    second_factor: ${this.secondFactor}
  ${options.auth ?? ""}
proxy_service:
  enabled: ${enabled("proxy")}
  listen_addr: 127.0.0.1:${ports.proxySsh}
  web_listen_addr: 127.0.0.1:${ports.proxyWeb}
  public_addr: localhost:${ports.proxyWeb}
  ${options.proxy ?? ""}
ssh_service:
  enabled: ${enabled("node")}
  listen_addr: 127.0.0.1:${ports.node}
  ${options.ssh ?? ""}
`,
    );
    if (options.as) {
      await must(["chown", `${options.as}:`, `${this.dir}/${key}`, `${this.dir}/${key}.yaml`]);
      this.#runsAs.set(key, options.as);
    }
    return await this.restart(key);
  }

  /** Starts a daemon again, with the configuration it had. */
  async restart(key: string, env: Record<string, string> = {}): Promise<Daemon> {
    const daemon = Daemon.start(["-c", `${this.dir}/${key}.yaml`], env, this.#runsAs.get(key));
    this.daemons.set(key, daemon);
    await daemon.logged(/teleport is ready/i);
    return daemon;
  }

  daemon(key: string): Daemon {
    const daemon = this.daemons.get(key);
    if (!daemon) throw new Error(`no daemon ${key} in this cluster`);
    return daemon;
  }

  /** The configuration file of the daemon that holds the auth role. */
  get authConfig(): string {
    return `${this.dir}/${this.daemons.has("auth") ? "auth" : "main"}.yaml`;
  }

  /** Runs `tctl` on the auth host; throws when it fails. */
  tctl(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return must([bin("tctl"), "-c", this.authConfig, ...args], options);
  }

  /** Like `tctl`, for a test that looks at the failure. */
  tryTctl(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return run([bin("tctl"), "-c", this.authConfig, ...args], options);
  }

  async caPin(): Promise<string> {
    this.#pin ??= (await this.tctl(["status"])).stdout.match(/sha256:[0-9a-f]{64}/)![0];
    return this.#pin;
  }

  /** A join token for these roles. */
  async token(roles: string): Promise<string> {
    const { stdout } = await this.tctl(["tokens", "add", `--type=${roles}`]);
    return stdout.match(/[0-9a-f]{32}/)![0];
  }

  /** Adds a user and completes the invitation on the command line with `tsh signup`. */
  async enrol(name: string, logins: string[] = ["root"]): Promise<Person> {
    const { stdout } = await this.tctl(["users", "add", name, logins.join(",")]);
    const link = stdout.match(/https:\S+\/web\/invite\/[0-9a-f]{32}/)![0];
    return await this.signUp(name, link);
  }

  /** A user with one role, logged in. */
  async personWith(name: string, role: string): Promise<Person> {
    const person = await this.enrol(name);
    await this.tctl(["users", "update", name, `--set-roles=${role}`]);
    await person.login();
    return person;
  }

  /** Completes an invitation or reset link. */
  async signUp(name: string, link: string): Promise<Person> {
    const home = `${this.dir}/home-${name}`;
    await Deno.mkdir(home, { recursive: true, mode: 0o700 });
    const child = new Deno.Command(bin("tsh"), {
      args: ["signup", `--ca-pin=${await this.caPin()}`, link],
      env: { HOME: home, NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    const encoder = new TextEncoder();
    await writer.write(encoder.encode(`${PASSWORD}\n${PASSWORD}\n`));
    // The secret is shown before the first code is asked for: an authenticator has to see it.
    let said = "";
    const decoder = new TextDecoder();
    let authenticator: Authenticator | undefined;
    let answered: Promise<void> | undefined;
    const listen = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) {
        said += decoder.decode(chunk, { stream: true });
        const secret = said.match(/\b[A-Z2-7]{32}\b/)?.[0];
        if (secret && !answered) {
          authenticator = new Authenticator(secret);
          answered = authenticator.code().then((code) => writer.write(encoder.encode(`${code}\n`)));
        }
      }
    };
    await Promise.all([listen(child.stdout), listen(child.stderr)]);
    await answered;
    await writer.close().catch(() => {});
    const status = await child.status;
    if (!status.success) throw new Error(`tsh signup failed: ${said}`);
    return new Person(this, name, home, authenticator);
  }

  /** All audit events of the cluster so far, oldest first. */
  async events(): Promise<Record<string, unknown>[]> {
    const key = this.daemons.has("auth") ? "auth" : "main";
    const files = await must([
      ...["find", `${this.dir}/${key}/log`, "-name", "*.log", "-type", "f"],
    ]);
    const events: Record<string, unknown>[] = [];
    for (const file of files.stdout.split("\n").filter(Boolean).sort()) {
      for (const line of (await Deno.readTextFile(file)).split("\n")) {
        if (line) events.push(JSON.parse(line));
      }
    }
    return events;
  }

  /** Ends what was started and removes the directory. */
  async stop(): Promise<void> {
    await Promise.all([...this.daemons.values()].map((daemon) => daemon.stop()));
    await Deno.remove(this.dir, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
