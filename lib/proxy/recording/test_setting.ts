/** A proxy that records, its clients, and hosts behind it, all in memory. For tests. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import type { AuditEvent } from "../../audit/events.ts";
import { systemClock } from "../../base/clock.ts";
import { AccessDenied, LimitExceeded, type TeleportError } from "../../base/errors.ts";
import { equalBytes } from "../../base/bytes.ts";
import { checkCertificate } from "../../cert/check.ts";
import { issueHostCertificate, issueUserCertificate } from "../../cert/issue.ts";
import { RunningSessions } from "../../host/running_sessions.ts";
import { TestCluster } from "../../host/test_cluster.ts";
import type { ConnectionLease } from "../../host/connection_leases.ts";
import type { Tape, TapeOptions, TapeStarter } from "../../recording/tape.ts";
import type { ClusterConfigSpec, Role } from "../../resources/types.ts";
import { parseResources } from "../../resources/codec.ts";
import { type ConnectOptions, connectSsh, type SshClient } from "../../ssh/client.ts";
import {
  type ConnectionHandlers,
  type HostKey,
  type ServerConnection,
  SshServer,
} from "../../ssh/server.ts";
import {
  AgentFrames,
  type AgentIdentity,
  decodeAgentRequest,
  encodeAgentAnswer,
  frameAgentMessage,
} from "../../sshwire/agent.ts";
import { type Certificate, formatCertificateLine } from "../../sshwire/certificate.ts";
import { generatePrivateKey, parseAuthorizedKey, type PrivateKey } from "../../sshwire/keys.ts";
import { NodeIndex } from "../node_index.ts";
import { Router } from "../route.ts";
import { SshFront } from "../ssh_front.ts";
import { HostCertificates } from "./host_certificates.ts";
import { RecordingProxy } from "./recording_proxy.ts";
import { streamPair } from "./stream_pair.ts";

const HOUR = 3_600_000;
const CLIENT = { host: "192.0.2.1", port: 40_000 };
const PROXY = { host: "192.0.2.2", port: 3023 };
/** Every foreign name leads here. */
const TARGET_IP = "198.51.100.7";

export interface Credential {
  readonly key: PrivateKey;
  readonly certificate: Certificate;
}

/** A tape that keeps all in memory. */
export class TestTape implements Tape {
  readonly recorded = true;
  readonly lost = "nothing";
  readonly said: string[] = [];
  readonly #failed = Promise.withResolvers<TeleportError>();
  readonly failed = this.#failed.promise;
  isEnded = false;
  /** Output is held back until it resolves. */
  hold: Promise<void> | undefined;

  constructor(readonly options: TapeOptions) {}

  get text(): string {
    return this.said.filter((each) => !each.startsWith("[")).join("");
  }

  output(chunk: Uint8Array): Promise<void> | undefined {
    this.said.push(new TextDecoder().decode(chunk));
    return this.hold;
  }

  resize({ cols, rows }: { cols: number; rows: number }): void {
    this.said.push(`[${cols}x${rows}]`);
  }

  mark(label: string): void {
    this.said.push(`[${label}]`);
  }

  snapshot(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(0));
  }

  fail(error: TeleportError): void {
    this.#failed.resolve(error);
  }

  end(): Promise<void> {
    this.isEnded = true;
    return Promise.resolve();
  }
}

/** An agent in memory, that remembers what it was asked to sign with. */
export class TestAgent {
  readonly signedWith: Uint8Array[] = [];
  #opened = 0;

  constructor(readonly held: readonly (Partial<Credential> & { key: PrivateKey })[]) {}

  get timesOpened(): number {
    return this.#opened;
  }

  open(): Promise<Duplex> {
    this.#opened++;
    const [near, far] = streamPair();
    const frames = new AgentFrames();
    far.on("data", (chunk: Buffer) => {
      for (const message of frames.push(chunk)) far.write(this.#answer(message));
    });
    far.on("end", () => far.end());
    return Promise.resolve(near);
  }

  #answer(message: Uint8Array): Uint8Array {
    const request = decodeAgentRequest(message);
    if (request.kind === "identities") {
      const identities: AgentIdentity[] = this.held.map(({ key, certificate }) => ({
        blob: certificate?.blob ?? key.publicKey.blob,
        comment: "",
      }));
      return frameAgentMessage(encodeAgentAnswer({ kind: "identities", identities }));
    }
    if (request.kind !== "sign") throw new Error(`an agent is not to be asked: ${request.kind}`);
    this.signedWith.push(request.blob);
    const found = this.held.find(({ key, certificate }) =>
      equalBytes(certificate?.blob ?? key.publicKey.blob, request.blob)
    );
    const signature = found?.key.sign(request.data);
    return frameAgentMessage(
      encodeAgentAnswer(signature ? { kind: "signature", signature } : { kind: "failure" }),
    );
  }
}

export interface SettingOptions {
  /** What the host behind does; it refuses everything when omitted. */
  handlers?: () => ConnectionHandlers;
  /** Told of each login at the host behind. */
  onTarget?: (connection: ServerConnection<string>) => void;
  /** What the host shows; a certificate of the cluster for "web-1" when omitted. */
  hostKeys?: (cluster: TestCluster) => HostKey[];
  config?: Partial<ClusterConfigSpec>;
  /** YAML of the options of the role that everybody has. */
  role?: string;
}

export class Setting implements AsyncDisposable {
  readonly events: AuditEvent[] = [];
  readonly tapes: TestTape[] = [];
  /** Names that were certified. */
  readonly certified: string[] = [];
  /** Why a name is not certified. */
  refusal: Error | undefined;
  /** Why the host behind cannot be reached. */
  unreachable: Error | undefined;
  /** Why no session can be recorded. */
  noTape: Error | undefined;
  auditIsFull = false;
  readonly leases = new Set<ConnectionLease>();
  readonly #clients: SshClient[] = [];

  private constructor(
    readonly cluster: TestCluster,
    readonly front: SshFront,
    readonly proxy: RecordingProxy,
    readonly target: SshServer<string>,
    readonly sessions: RunningSessions,
    readonly index: NodeIndex,
    readonly config: ClusterConfigSpec,
  ) {}

  static async create(o: SettingOptions = {}): Promise<Setting> {
    const cluster = await TestCluster.create();
    const identity = await cluster.identity("Proxy");
    const hostKey = generatePrivateKey();
    const hostKeys = o.hostKeys?.(cluster) ??
      [{ key: hostKey, certificate: hostCertificate(cluster, hostKey, ["web-1"]) }];
    const target = new SshServer<string>({
      hostKeys: () => hostKeys,
      authenticate: ({ username, certificate, remote }) => {
        if (!certificate) throw new AccessDenied("no certificate");
        checkCertificate(certificate, {
          type: "user",
          authorities: cluster.trusted("user"),
          principal: username,
          address: remote.host,
          nowMs: Date.now(),
          understood: { forceCommand: true },
        });
        return certificate.keyId;
      },
      clientAddressFrom: () => true,
      onConnection: (connection) => {
        connection.handle(o.handlers?.() ?? {});
        o.onTarget?.(connection);
      },
    });
    const config: ClusterConfigSpec = {
      client_idle_timeout: "never",
      disconnect_expired_cert: false,
      keep_alive_interval: "5m0s",
      keep_alive_count_max: 3,
      session_control_timeout: "2m0s",
      session_recording: "proxy",
      proxy_checks_host_keys: true,
      recording_on_full: "refuse",
      ...o.config,
    };
    const sessions = new RunningSessions();
    // What follows refers to the setting, which is made last.
    const made: { setting?: Setting } = {};
    const self = () => made.setting!;
    const dial = () => {
      const { unreachable } = self();
      if (unreachable) return Promise.reject(unreachable);
      const [near, far] = streamPair();
      target.accept(far, PROXY, { host: TARGET_IP, port: 22 });
      return Promise.resolve(near);
    };
    const tapes: TapeStarter = {
      start(options) {
        if (self().noTape) return Promise.reject(self().noTape);
        const tape = new TestTape(options);
        self().tapes.push(tape);
        return Promise.resolve(tape);
      },
    };
    const audit = {
      emit: (event: AuditEvent) => void self().events.push(event),
      get full() {
        return self().auditIsFull;
      },
    };
    const proxy = new RecordingProxy({
      identity: () => identity,
      hostname: "proxy-1",
      addr: "192.0.2.2:3023",
      cache: {
        authorities: (type) => cluster.trusted(type),
        get: (_kind: string, name: string) =>
          (name === "dev" ? testRole(o.role ?? "{}") : undefined) as never,
        list: () => [{ spec: config }] as never,
      },
      audit,
      tapes,
      sessions,
      clock: systemClock,
      leases: {
        acquire: (user, max) => {
          if (self().leases.size >= max) {
            throw new LimitExceeded(`too many concurrent ssh connections for user "${user}"`);
          }
          const lease: ConnectionLease = {
            hold: () => {},
            release: () => self().leases.delete(lease),
          };
          self().leases.add(lease);
          return Promise.resolve(lease);
        },
      },
      certificates: new HostCertificates({
        sign: (host, publicKey) => {
          if (self().refusal) return Promise.reject(self().refusal);
          self().certified.push(host);
          const { key } = parseAuthorizedKey(publicKey);
          return Promise.resolve(formatCertificateLine(issueHostCertificate({
            ca: cluster.hostCa,
            key,
            keyId: host,
            principals: [host],
            validAfterMs: Date.now() - 60_000,
            validBeforeMs: Date.now() + 24 * HOUR,
            extensions: {},
          })));
        },
      }),
      dial,
    });
    const index = new NodeIndex("main");
    const front = new SshFront({
      cluster: "main",
      identity: () => identity,
      userAuthorities: () => cluster.trusted("user"),
      router: new Router({
        cluster: "main",
        index,
        targets: ["*:22"],
        resolve: () => Promise.resolve([TARGET_IP]),
      }),
      authServers: [],
      clusterStatus: () => ({ online: true }),
      audit,
      recording: proxy,
      dial,
    });
    return made.setting = new Setting(cluster, front, proxy, target, sessions, index, config);
  }

  /** A user's key and certificate with everything permitted, unless told otherwise. */
  credential(
    o: {
      user?: string;
      principals?: string[];
      extensions?: string[];
      roles?: string[];
      forceCommand?: string;
    } = {},
  ): Credential {
    const key = generatePrivateKey();
    const permits = o.extensions ??
      ["permit-pty", "permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding"];
    const roles = o.roles ?? ["dev"];
    return {
      key,
      certificate: issueUserCertificate({
        ca: this.cluster.userCa,
        key: key.publicKey,
        keyId: o.user ?? "joe",
        principals: o.principals ?? ["root"],
        validAfterMs: Date.now() - 60_000,
        validBeforeMs: Date.now() + HOUR,
        extensions: {
          ...Object.fromEntries(permits.map((name) => [name, ""])),
          ...(roles.length > 0
            ? { "teleport-roles": JSON.stringify({ version: "v1", roles }) }
            : {}),
        },
        ...(o.forceCommand ? { criticalOptions: { "force-command": o.forceCommand } } : {}),
      }),
    };
  }

  /** Logs in to the proxy. */
  async logIn(credential: Credential, username = "root"): Promise<SshClient> {
    const [near, far] = streamPair();
    this.front.server.accept(far, CLIENT, PROXY);
    return this.#keep(
      await connectSsh({
        stream: near,
        username,
        credentials: [credential],
        verifyHost: () => {},
      }),
    );
  }

  /** Logs in to a host, through an own connection to the proxy. */
  async reach(
    credential: Credential,
    o: {
      outer?: Credential;
      host?: string;
      username?: string;
      agent?: TestAgent;
      by?: "subsystem" | "channel";
      verifyHost?: ConnectOptions["verifyHost"];
      onGlobalRequest?: NonNullable<ConnectOptions["onGlobalRequest"]>;
    } = {},
  ): Promise<SshClient> {
    const outer = await this.logIn(o.outer ?? credential);
    const host = o.host ?? "web-1";
    const stream = o.by === "channel"
      ? await outer.directTcpip(host, 22)
      : (await outer.subsystem(`proxy:${host}:22`)).stream;
    return this.#keep(
      await connectSsh({
        stream,
        username: o.username ?? "root",
        credentials: [credential],
        verifyHost: o.verifyHost ?? (({ certificate }) => {
          if (!certificate) throw new AccessDenied("a bare key");
          checkCertificate(certificate, {
            type: "host",
            authorities: this.cluster.trusted("host"),
            principal: host,
            nowMs: Date.now(),
          });
        }),
        ...(o.agent ? { onAgentChannel: () => o.agent!.open() } : {}),
        ...(o.onGlobalRequest ? { onGlobalRequest: o.onGlobalRequest } : {}),
      }),
    );
  }

  /** Events of these names, in their order. */
  of<N extends AuditEvent["event"]>(...names: N[]): Extract<AuditEvent, { event: N }>[] {
    return this.events.filter((each): each is Extract<AuditEvent, { event: N }> =>
      names.includes(each.event as N)
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.front.server.close();
    await this.proxy.close();
    await this.target.close();
  }

  #keep(client: SshClient): SshClient {
    this.#clients.push(client);
    return client;
  }
}

/** What comes about a little later. */
export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 5000) throw new Error(`it did not come about: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Without a role in the cluster, as `tctl auth sign --host` makes it. */
export function hostCertificate(
  cluster: TestCluster,
  key: PrivateKey,
  principals: string[],
  o: { ca?: PrivateKey; extensions?: Record<string, string> } = {},
): Certificate {
  return issueHostCertificate({
    ca: o.ca ?? cluster.hostCa,
    key: key.publicKey,
    keyId: principals[0]!,
    principals,
    validAfterMs: Date.now() - 60_000,
    extensions: o.extensions ?? {},
  });
}

function testRole(options: string): Role {
  return parseResources(
    `kind: role
version: v3
metadata: {name: dev}
spec:
  options: ${options === "{}" ? "{forward_agent: true, permit_x11_forwarding: true}" : options}
  allow: {logins: [root, joe], node_labels: {'*': '*'}}
`,
  )[0] as Role;
}
