/** For tests: a node on loopback, its cluster in this process, and stock OpenSSH to reach it. */
import assert from "node:assert/strict";
import type { AuditEvent } from "../../audit/events.ts";
import type { ActiveSession, WatchEvent } from "../../api/types.ts";
import { fromBase64 } from "../../base/bytes.ts";
import { ConnectionProblem, LimitExceeded } from "../../base/errors.ts";
import { issueUserCertificate } from "../../cert/issue.ts";
import type { Config } from "../../config/mod.ts";
import type { AuthState } from "../../host/auth_connection.ts";
import type { HostIdentity } from "../../host/identity.ts";
import { TestCluster } from "../../host/test_cluster.ts";
import type { AnyResource, Labels, Node, Role } from "../../resources/types.ts";
import { adminRole } from "../../resources/roles.ts";
import { formatCertificateLine } from "../../sshwire/certificate.ts";
import { generatePrivateKey, type PrivateKey } from "../../sshwire/keys.ts";
import { formatCertAuthorityLine } from "../../sshwire/known_hosts.ts";
import { encodePrivateKey } from "../../sshwire/private_key.ts";
import { poller } from "../os/poller.ts";
import { type NodeOptions, type NodeService, startNode } from "./node_service.ts";

const entry = new URL("../test_entry.ts", import.meta.url).pathname;

/** A role that lets people log in as root everywhere; `change` is merged into its spec. */
export function role(name: string, change: (role: Role) => void = () => {}): Role {
  const made = adminRole();
  made.metadata.name = name;
  made.spec.allow.logins = ["root"];
  change(made);
  return made;
}

/** The auth service, as far as a node sees it. */
export class FakeAuth {
  readonly events: AuditEvent[] = [];
  readonly heartbeats: Node[] = [];
  /** What the node said last of its sessions. */
  sessions: ActiveSession[] = [];
  /** Of connections, as far as their number is limited. */
  readonly leases = new Set<string>();
  readonly resources: AnyResource[];
  state: AuthState = { status: "connected", address: "test", sinceMs: 0 };
  readonly #away = Promise.withResolvers<void>();
  readonly #watches = new Set<(event: WatchEvent) => void>();

  constructor(resources: AnyResource[]) {
    this.resources = resources;
  }

  /** What the node takes for its connection. */
  get connection(): NodeOptions["auth"] {
    return {
      getState: () => this.state,
      get state() {
        return (this as unknown as { getState(): AuthState }).getState();
      },
      away: () => this.#away.promise,
      api: async ({ signal }: { signal?: AbortSignal }) => {
        if (this.state.status !== "connected") {
          await new Promise((_, reject) =>
            signal?.addEventListener("abort", () => reject(signal.reason))
          );
        }
        return { watch: (_: unknown, o: { signal?: AbortSignal }) => this.#watch(o) };
      },
      call: (method: string, params: unknown) => this.#call(method, params),
    } as unknown as NodeOptions["auth"];
  }

  goAway(): void {
    this.state = { status: "away", sinceMs: 0, error: "the test says so" };
    this.#away.resolve();
  }

  put(resource: AnyResource): void {
    for (const watch of this.#watches) watch({ type: "put", resource });
  }

  kill(sid: string, by: string): void {
    for (const watch of this.#watches) watch({ type: "delete", kind: "session", name: sid, by });
  }

  #call(method: string, params: unknown): Promise<unknown> {
    if (this.state.status !== "connected") {
      return Promise.reject(new ConnectionProblem("the auth service is away"));
    }
    if (method === "audit.emit") {
      this.events.push(...(params as { events: AuditEvent[] }).events);
      return Promise.resolve({ rejected: [] });
    }
    if (method === "sessions.heartbeat") {
      this.sessions = (params as { sessions: ActiveSession[] }).sessions;
      return Promise.resolve({});
    }
    if (method === "connections.acquire") {
      const { lease, max } = params as { lease: string; max: number };
      if (this.leases.size >= max) {
        return Promise.reject(
          new LimitExceeded(`too many concurrent ssh connections (max=${max})`),
        );
      }
      this.leases.add(lease);
      return Promise.resolve({ expires: new Date().toISOString() });
    }
    if (method === "connections.renew") return Promise.resolve({ lost: [] });
    if (method === "connections.release") {
      this.leases.delete((params as { lease: string }).lease);
      return Promise.resolve({});
    }
    if (method === "recordings.state") return Promise.resolve({ size: 0, finished: false });
    if (method === "recordings.append") {
      const { offset, data } = params as { offset: number; data: string };
      return Promise.resolve({ size: offset + fromBase64(data).length });
    }
    if (method === "recordings.finish") return Promise.resolve({ stored: true });
    assert.equal(method, "nodes.heartbeat");
    this.heartbeats.push((params as { node: Node }).node);
    return Promise.resolve({});
  }

  async *#watch({ signal }: { signal?: AbortSignal }): AsyncGenerator<WatchEvent> {
    const queue: WatchEvent[] = [
      ...this.resources.map((resource): WatchEvent => ({ type: "put", resource })),
      { type: "init" },
    ];
    let wake = () => {};
    const add = (event: WatchEvent) => {
      queue.push(event);
      wake();
    };
    this.#watches.add(add);
    signal?.addEventListener("abort", () => wake());
    try {
      while (!signal?.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      this.#watches.delete(add);
    }
  }
}

export interface TestNodeOptions {
  readonly labels?: Labels;
  readonly roles?: Role[];
  readonly resources?: AnyResource[];
  readonly permitUserEnv?: boolean;
  readonly commands?: Config["ssh"]["commands"];
}

export interface LoginOptions {
  readonly login?: string;
  readonly user?: string;
  readonly roles?: string[];
  readonly principals?: string[];
  readonly extensions?: Record<string, string>;
  readonly criticalOptions?: Record<string, string>;
  readonly validForMs?: number;
  readonly ca?: PrivateKey;
}

export interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class TestNode implements AsyncDisposable {
  readonly identity: HostIdentity;
  #people = 0;

  private constructor(
    readonly dir: string,
    readonly cluster: TestCluster,
    readonly auth: FakeAuth,
    identity: HostIdentity,
    public node: NodeService,
    readonly options: NodeOptions,
  ) {
    this.identity = identity;
  }

  static async start(o: TestNodeOptions = {}): Promise<TestNode> {
    const dir = await Deno.makeTempDir({ prefix: "lib-node-" });
    const cluster = await TestCluster.create();
    const identity = await cluster.identity("Node");
    const roles = o.roles ?? [role("access")];
    const auth = new FakeAuth([...cluster.authorities, ...roles, ...(o.resources ?? [])]);
    const options: NodeOptions = {
      config: {
        nodename: "node-1",
        dataDir: `${dir}/data`,
        ssh: {
          enabled: true,
          listenAddr: "127.0.0.1:0",
          publicAddrs: [],
          labels: o.labels ?? { env: "test" },
          commands: o.commands ?? [],
          permitUserEnv: o.permitUserEnv ?? false,
        },
        auth: { keepAliveIntervalMs: 300_000, keepAliveCountMax: 3 },
      } as unknown as Config,
      identity: () => identity,
      auth: auth.connection,
      teleportCommand: [Deno.execPath(), "run", "-A", "--no-check", entry],
    };
    const node = await startNode(options);
    await node.ready;
    const test = new TestNode(dir, cluster, auth, identity, node, options);
    await Deno.writeTextFile(
      `${dir}/known_hosts`,
      formatCertAuthorityLine(["*"], cluster.hostCa.publicKey) + "\n",
    );
    return test;
  }

  /** Options of ssh, sftp and scp for somebody with a new certificate. */
  async person(o: LoginOptions = {}): Promise<string[]> {
    const key = generatePrivateKey();
    const certificate = issueUserCertificate({
      ca: o.ca ?? this.cluster.userCa,
      key: key.publicKey,
      keyId: o.user ?? "joe",
      principals: o.principals ?? ["root", "no-such-os-user", "nobody"],
      validAfterMs: Date.now() - 60_000,
      validBeforeMs: Date.now() + (o.validForMs ?? 3_600_000),
      extensions: o.extensions ?? {
        "permit-pty": "",
        "teleport-roles": JSON.stringify({ version: "v1", roles: o.roles ?? ["access"] }),
        "teleport-traits": JSON.stringify({ logins: ["root"] }),
      },
      ...(o.criticalOptions ? { criticalOptions: o.criticalOptions } : {}),
    });
    const id = `${this.dir}/id${this.#people++}`;
    await Deno.writeTextFile(id, encodePrivateKey(key), { mode: 0o600 });
    await Deno.writeTextFile(`${id}-cert.pub`, formatCertificateLine(certificate) + "\n");
    return [
      ...["-F", "/dev/null", "-i", id, "-o", `CertificateFile=${id}-cert.pub`],
      ...["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"],
      ...["-o", `UserKnownHostsFile=${this.dir}/known_hosts`, "-o", "IdentityAgent=none"],
      ...["-o", `Port=${this.node.addr.port}`, "-o", `User=${o.login ?? "root"}`],
    ];
  }

  /** Runs ssh; words after the options are the command. */
  async ssh(
    o: LoginOptions,
    words: string[],
    input: string | Uint8Array = "",
    flags: string[] = [],
  ): Promise<Output> {
    return await run("ssh", [...await this.person(o), ...flags, "127.0.0.1", ...words], input);
  }

  /** The events that came so far, once the queue has been sent. */
  async events<E extends AuditEvent["event"]>(
    name: E,
    count = 1,
  ): Promise<Extract<AuditEvent, { event: E }>[]> {
    const found = () => this.auth.events.filter((event) => event.event === name);
    const giveUp = Date.now() + 20_000;
    while (found().length < count) {
      assert.ok(Date.now() < giveUp, `${count} × ${name} did not come`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return found() as Extract<AuditEvent, { event: E }>[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.close({ drainMs: 0 });
    await poller.idle();
    await Deno.remove(this.dir, { recursive: true });
  }
}

export async function run(
  program: string,
  args: string[],
  input: string | Uint8Array = "",
): Promise<Output> {
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = write(child.stdin, input);
  const { code, stdout, stderr } = await child.output();
  await writing;
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

async function write(to: WritableStream<Uint8Array>, input: string | Uint8Array): Promise<void> {
  const writer = to.getWriter();
  try {
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
    await writer.close();
  } catch {
    // It need not read its input.
  }
}
