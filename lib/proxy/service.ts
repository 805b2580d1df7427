/** The proxy role of a daemon: its SSH port, its HTTPS port, and what both stand on. */
import { AuditQueue } from "../host/audit_queue.ts";
import { BadParameter, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { formatAddr, parseAddr } from "../base/net.ts";
import type { Config } from "../config/mod.ts";
import type { AuthConnection } from "../host/auth_connection.ts";
import { ClusterCache } from "../host/cache.ts";
import { Heartbeat } from "../host/heartbeat.ts";
import type { HostIdentity } from "../host/identity.ts";
import { privateDirectory } from "../base/files.ts";
import { type Resolve, systemResolve } from "../host/dns.ts";
import type { Proxy } from "../resources/types.ts";
import { findAnswer, proxyResource } from "./describe.ts";
import type { DialTarget } from "./dialer.ts";
import { NodeIndex } from "./node_index.ts";
import { RecordingService } from "./recording/service.ts";
import { Router } from "./route.ts";
import { SshFront } from "./ssh_front.ts";
import { createWebHandler } from "./web/app.ts";
import { type CertificateFiles, loadCertificate } from "./web/certificate.ts";
import { WebServer } from "./web/server.ts";

export interface ProxyOptions {
  readonly config: Config;
  /** The host's identity with role Proxy, as it is now; its `tls` is what HTTPS shows. */
  readonly identity: () => HostIdentity;
  /** The proxy's own connection to the auth service; its servers are where `proxy:@cluster` leads. */
  readonly auth: Pick<
    AuthConnection,
    "api" | "call" | "state" | "onState" | "away" | "authServers"
  >;
  /** One is made, and kept below data_dir, when omitted. */
  readonly cache?: ClusterCache;
  /** A queue to the auth service is made when omitted. */
  readonly audit?: Pick<AuditQueue, "emit" | "full">;
  readonly resolve?: Resolve;
  readonly dial?: DialTarget;
}

/** How often the certificate files are looked at, in milliseconds. */
const CERTIFICATE_CHECK_MS = 60_000;
/** For how long the auth service's answer about second factors is good, in milliseconds. */
const PING_TTL_MS = 10_000;
const DEFAULT_DRAIN_MS = 2_000;
/** How long the last audit events may take at the end; what is left is sent at the next start. */
const FLUSH_MS = 1_000;

/**
 * Starts the proxy: both ports are open when this resolves.
 *
 * @throws BadParameter when the configuration or the TLS certificate cannot be used
 * @throws Deno.errors.* when an address cannot be listened on
 */
export async function startProxy(options: ProxyOptions): Promise<ProxyService> {
  const { config, identity, auth } = options;
  const files = certificateFiles(config);
  const tls = await loadCertificate(files, identity());
  const own: (() => Promise<void>)[] = [];
  const cache = options.cache ?? await makeCache(options, own);
  const audit = options.audit ?? makeAudit(options, own);
  const index = followNodes(cache, identity().cluster, own);
  let listener: Deno.TcpListener | undefined;
  try {
    await cache.ready;
    const ssh = parseAddr(config.proxy.sshListenAddr, 3023);
    listener = Deno.listen({ hostname: ssh.host, port: ssh.port });
    const recording = await openRecording(options, { listener, cache, audit });
    own.push(() => recording.close());
    const lastSeen = followState(auth, own);
    const front = new SshFront({
      cluster: identity().cluster,
      identity,
      userAuthorities: () => cache.authorities("user"),
      router: new Router({
        cluster: identity().cluster,
        index,
        targets: config.proxy.unregisteredTargets,
        resolve: options.resolve ?? systemResolve,
      }),
      authServers: auth.authServers,
      clusterStatus: () => {
        const lastSeenMs = lastSeen();
        const online = auth.state.status === "connected";
        return { online, ...(lastSeenMs === undefined ? {} : { lastSeenMs }) };
      },
      audit,
      recording: recording.proxy,
      ...(options.dial ? { dial: options.dial } : {}),
    });
    const service = new ProxyService(options, { listener, front, recording, own, files, tls });
    return service;
  } catch (error) {
    listener?.close();
    for (const close of own.toReversed()) await close();
    throw error;
  }
}

interface Parts {
  readonly listener: Deno.TcpListener;
  readonly front: SshFront;
  readonly recording: RecordingService;
  readonly own: (() => Promise<void>)[];
  readonly files: CertificateFiles | undefined;
  readonly tls: { keyPem: string; certPem: string };
}

export class ProxyService {
  /** Serving, and known to the cluster unless the auth service is away. */
  readonly ready: Promise<void>;
  readonly #options: ProxyOptions;
  readonly #parts: Parts;
  readonly #web: WebServer;
  readonly #heartbeat: Heartbeat<Proxy>;
  readonly #certificateTimer: number;
  readonly #log = log("proxy");
  /** Asked of the auth service once for all who ask at the same time. */
  #secondFactor: { answer: Promise<string>; atMs: number } | undefined;
  #lastSecondFactor = "otp";

  /** For {@linkcode startProxy}. */
  constructor(options: ProxyOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    const { config, identity, auth } = options;
    const web = parseAddr(config.proxy.webListenAddr, 3080);
    const handler = createWebHandler({
      call: (method, params, o) => auth.call(method, params, o),
      ping: () => this.#pingAnswer(),
      find: () => this.#findAnswer(),
    });
    this.#web = new WebServer(web, parts.tls, handler);
    parts.front.server.serve(parts.listener).catch((error) => {
      this.#log.error("The SSH port has failed", { error });
    });
    this.#heartbeat = new Heartbeat<Proxy>({
      describe: () => proxyResource(config, identity().hostId, formatNetAddr(this.sshAddr)),
      announce: (proxy, signal) => auth.call("proxies.heartbeat", { proxy }, { signal }),
    });
    this.ready = Promise.race([this.#heartbeat.announced, auth.away()]);
    this.ready.catch(() => {});
    this.#certificateTimer = setInterval(() => this.#checkCertificate(), CERTIFICATE_CHECK_MS);
    Deno.unrefTimer(this.#certificateTimer);
  }

  /** Where the SSH port listens. */
  get sshAddr(): Deno.NetAddr {
    return this.#parts.listener.addr as Deno.NetAddr;
  }

  /** Where the HTTPS port listens. */
  get webAddr(): Deno.NetAddr {
    return this.#web.addr;
  }

  /** Stops taking connections, and cuts those that are left after `drainMs` milliseconds. */
  async close(o: { drainMs?: number } = {}): Promise<void> {
    const drainMs = o.drainMs ?? DEFAULT_DRAIN_MS;
    clearInterval(this.#certificateTimer);
    await Promise.all([
      this.#heartbeat.close(),
      this.#web.close({ drainMs }),
      this.#parts.front.server.close({ drainMs }),
      this.#parts.recording.proxy.close({ drainMs }),
    ]);
    for (const close of this.#parts.own.toReversed()) await close();
  }

  /** Takes the certificate files, or a renewed identity, into use when they have changed. */
  async #checkCertificate(): Promise<void> {
    try {
      const tls = await loadCertificate(this.#parts.files, this.#options.identity());
      this.#web.replaceCertificate(tls);
    } catch (error) {
      this.#log.warn("The TLS certificate cannot be replaced, serving with the old one", {
        error: messageOf(error),
      });
    }
  }

  #findAnswer(): Record<string, unknown> {
    const { config, identity } = this.#options;
    return findAnswer(config, identity().cluster, formatNetAddr(this.sshAddr));
  }

  async #pingAnswer(): Promise<Record<string, unknown>> {
    const now = performance.now();
    if (!this.#secondFactor || now - this.#secondFactor.atMs > PING_TTL_MS) {
      this.#secondFactor = { answer: this.#askSecondFactor(), atMs: now };
    }
    const answer = { auth: { type: "local", second_factor: await this.#secondFactor.answer } };
    return { ...answer, ...this.#findAnswer() };
  }

  /** While auth is away nobody can log in: the last answer, or the strict one, does no harm. */
  async #askSecondFactor(): Promise<string> {
    const { auth } = this.#options;
    if (auth.state.status === "away") return this.#lastSecondFactor;
    try {
      const { second_factor } = await auth.call("ping", {}, { timeoutMs: 5_000 });
      this.#lastSecondFactor = second_factor;
    } catch (error) {
      this.#log.debug("The auth service was not there to ask", { error: messageOf(error) });
    }
    return this.#lastSecondFactor;
  }
}

function certificateFiles(config: Config): CertificateFiles | undefined {
  const { httpsKeyFile, httpsCertFile } = config.proxy;
  if (!httpsKeyFile && !httpsCertFile) return undefined;
  if (httpsKeyFile && httpsCertFile) return { keyFile: httpsKeyFile, certFile: httpsCertFile };
  throw new BadParameter("https_key_file and https_cert_file must be set together");
}

async function makeCache(
  { config, identity, auth }: ProxyOptions,
  own: (() => Promise<void>)[],
): Promise<ClusterCache> {
  const directory = await privateDirectory(`${config.dataDir}/cache`);
  const cache = new ClusterCache({
    api: (signal) => auth.api({ waitMs: Infinity, signal }),
    kinds: ["node", "cert_authority", "role", "cluster_config"],
    path: `${directory}/proxy.json`,
    authorities: identity().authorities,
  });
  own.push(() => cache.close());
  return cache;
}

function openRecording(
  { config, identity, auth, dial }: ProxyOptions,
  { listener, cache, audit }: {
    listener: Deno.TcpListener;
    cache: ClusterCache;
    audit: Pick<AuditQueue, "emit" | "full">;
  },
): Promise<RecordingService> {
  const sshAddr = formatNetAddr(listener.addr as Deno.NetAddr);
  const { spec } = proxyResource(config, identity().hostId, sshAddr);
  return RecordingService.open({
    dataDir: config.dataDir,
    identity,
    hostname: spec.hostname,
    addr: spec.addr,
    auth,
    cache,
    audit,
    ...(dial ? { dial } : {}),
  });
}

function makeAudit(
  { config, auth }: ProxyOptions,
  own: (() => Promise<void>)[],
): AuditQueue {
  const queue = new AuditQueue({
    directory: `${config.dataDir}/log/spool/proxy`,
    send: (events, signal) => auth.call("audit.emit", { events }, { signal }),
  });
  own.push(() => queue.close({ drainMs: auth.state.status === "connected" ? FLUSH_MS : 0 }));
  return queue;
}

function followNodes(
  cache: ClusterCache,
  cluster: string,
  own: (() => Promise<void>)[],
): NodeIndex {
  const index = new NodeIndex(cluster);
  const stop = cache.subscribe((event) => {
    if (event.resource.kind !== "node") return;
    if (event.type === "put") index.put(event.resource);
    else index.remove(event.resource.metadata.name);
  });
  for (const node of cache.list("node")) index.put(node);
  own.push(() => {
    stop();
    return Promise.resolve();
  });
  return index;
}

/** @returns when the auth service was there last, in milliseconds since the epoch, if it was */
function followState(
  auth: ProxyOptions["auth"],
  own: (() => Promise<void>)[],
): () => number | undefined {
  let seenMs: number | undefined;
  let connected = auth.state.status === "connected";
  const stop = auth.onState(({ status }) => {
    if (connected) seenMs = Date.now();
    connected = status === "connected";
  });
  own.push(() => {
    stop();
    return Promise.resolve();
  });
  return () => connected ? Date.now() : seenMs;
}

function formatNetAddr(addr: Deno.NetAddr): string {
  return formatAddr({ host: addr.hostname, port: addr.port });
}
