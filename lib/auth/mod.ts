/** The auth role of a daemon. */
import type { ApiResult } from "../api/contract.ts";
import { AuditLog } from "../audit/audit_log.ts";
import { DiskAlert } from "../audit/disk_alert.ts";
import { FileLog } from "../audit/file_log.ts";
import {
  FileDestination,
  HttpDestination,
  StdoutDestination,
} from "../audit/forward/destinations.ts";
import { Forwarder } from "../audit/forward/forwarder.ts";
import type { EventHistory } from "../audit/history.ts";
import { formatDuration } from "../base/duration.ts";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { parseAddr } from "../base/net.ts";
import type { HostRole } from "../cert/identity.ts";
import type { Config } from "../config/types.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import { generatePrivateKey, type PublicKey } from "../sshwire/keys.ts";
import { openBackend } from "../storage/mod.ts";
import { AuthService } from "./auth_service.ts";
import { EventIndex } from "./event_index.ts";
import { authSshServer } from "./ssh_server.ts";
import { hashSecret } from "./store.ts";

export interface StartAuthOptions {
  config: Config;
  /** UUID of this host. */
  hostId: string;
}

/** What a service of the same process, or `tctl` on the same machine, needs a certificate for. */
export interface IssueHostRequest {
  role: HostRole;
  hostId: string;
  nodeName: string;
  additionalPrincipals: readonly string[];
  dnsNames: readonly string[];
  publicKey: PublicKey;
  /** Base64 of the SPKI. */
  tlsPublicKey?: string;
}

export interface AuthDaemon {
  readonly clusterName: string;
  /** Where it listens. */
  readonly addr: Deno.NetAddr;
  issueHost(request: IssueHostRequest): Promise<ApiResult<"join">>;
  /** Waits up to `drainMs` for calls under way, milliseconds. */
  close(options?: { drainMs?: number }): Promise<void>;
}

/**
 * Opens storage and audit log, makes what is missing in a new cluster, and serves the API.
 * @throws BadParameter for a data directory of another cluster, Deno.errors.AddrInUse
 */
export async function startAuth({ config, hostId }: StartAuthOptions): Promise<AuthDaemon> {
  const { auth } = config;
  const { host, port } = parseAddr(auth.listenAddr);
  await using undo = new AsyncDisposableStack();
  const listener = undo.adopt(
    Deno.listen({ hostname: host, port }),
    (each) => closeQuietly(() => each.close()),
  );
  const backend = undo.adopt(await openBackend(config.storage), (each) => each.close());
  const sink = new FileLog({ directory: `${config.dataDir}/log`, serverId: hostId });
  const eventIndex = undo.adopt(
    new EventIndex({ path: `${config.dataDir}/log/index.db`, logs: `${config.dataDir}/log` }),
    (each) => each.close(),
  );
  const forwarders = forwardEvents(config, hostId);
  for (const each of forwarders) undo.defer(() => each.close());
  const history: EventHistory = {
    lookUp: (question) => eventIndex.lookUp(question),
    wrote: () => {
      eventIndex.wrote();
      for (const each of forwarders) each.wrote();
    },
  };
  const audit = undo.adopt(new AuditLog({ sink, history }), (each) => each.close());
  undo.adopt(new DiskAlert(`${config.dataDir}/log`), (each) => each.close());
  const service = undo.adopt(
    await AuthService.open({
      backend,
      audit,
      eventIndex,
      recordingsDirectory: `${config.dataDir}/log/records`,
      settings: {
        ...settingsOf(config),
        ownNames: [hostId, config.nodename, ...ownAddresses(config)],
      },
    }),
    (each) => each.close(),
  );
  const hostKey = await ownHostKey(service, config, hostId);
  const server = authSshServer({
    service,
    hostId,
    hostKeys: () => [hostKey],
    limits: {
      keepAliveIntervalMs: auth.keepAliveIntervalMs,
      keepAliveCountMax: auth.keepAliveCountMax,
    },
  });
  const serving = server.serve(listener);
  const resources = undo.move();
  return {
    clusterName: auth.clusterName,
    addr: listener.addr as Deno.NetAddr,
    issueHost: ({ publicKey, ...request }) =>
      service.parts.joins.issue({ ...request, key: publicKey }),
    close: async (options = {}) => {
      await server.close(options);
      await serving;
      await resources.disposeAsync();
    },
  };
}

/** One for each further place that the configuration names. */
function forwardEvents({ dataDir, auditEvents }: Config, hostId: string): Forwarder[] {
  return auditEvents.map((to) => {
    const destination = to.kind === "file"
      ? new FileDestination(`${to.directory}/${hostId}`)
      : to.kind === "stdout"
      ? new StdoutDestination()
      : new HttpDestination(to);
    const id = hashSecret(to.kind === "http" ? to.url : destination.name).slice(0, 16);
    return new Forwarder({
      logs: `${dataDir}/log/${hostId}`,
      positionPath: `${dataDir}/log/forwarded-${id}`,
      destination,
    });
  });
}

function settingsOf({ auth }: Config) {
  return {
    clusterName: auth.clusterName,
    secondFactor: auth.secondFactor,
    staticTokens: auth.tokens,
    clusterConfig: {
      client_idle_timeout: auth.clientIdleTimeoutMs === 0
        ? "never"
        : formatDuration(auth.clientIdleTimeoutMs),
      disconnect_expired_cert: auth.disconnectExpiredCert,
      keep_alive_interval: formatDuration(auth.keepAliveIntervalMs),
      keep_alive_count_max: auth.keepAliveCountMax,
      session_control_timeout: formatDuration(auth.sessionControlTimeoutMs),
      session_recording: auth.sessionRecording,
      proxy_checks_host_keys: auth.proxyChecksHostKeys,
      recording_on_full: auth.recordingOnFull,
    },
  };
}

/** A new key at each start: who calls trusts the host authority, not the key. */
async function ownHostKey(service: AuthService, config: Config, hostId: string) {
  const key = generatePrivateKey();
  const { certificate } = await service.parts.signer.host({
    hostId,
    nodeName: config.nodename,
    role: "Auth",
    key: key.publicKey,
    additionalPrincipals: ownAddresses(config),
    dnsNames: [],
  });
  return { key, certificate: parseCertificateLine(certificate) };
}

/** Names and addresses, besides the node name, by which the auth service is called. */
function ownAddresses({ auth, advertiseIp }: Config): string[] {
  const names = [...auth.publicAddrs, auth.listenAddr]
    .map((addr) => parseAddr(addr, 0).host)
    .filter((name) => !["0.0.0.0", "::"].includes(name));
  return advertiseIp === undefined ? names : [...names, advertiseIp];
}

function closeQuietly(close: () => void): void {
  try {
    close();
  } catch (e) {
    // The server has closed it.
    log("auth").debug("already closed", { error: messageOf(e) });
  }
}
