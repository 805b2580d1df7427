/** What a proxy that records has besides: recordings on disk, sessions that run, certificates. */
import { systemClock } from "../../base/clock.ts";
import { parseDuration } from "../../base/duration.ts";
import { log } from "../../base/log.ts";
import { printable } from "../../base/text.ts";
import type { AuditQueue } from "../../host/audit_queue.ts";
import type { AuthConnection } from "../../host/auth_connection.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { HostIdentity } from "../../host/identity.ts";
import { ConnectionLeases } from "../../host/connection_leases.ts";
import { HostRecordings } from "../../host/recordings.ts";
import { RunningSessions } from "../../host/running_sessions.ts";
import { SessionReports } from "../../host/session_reports.ts";
import type { DialTarget } from "../dialer.ts";
import { HostCertificates } from "./host_certificates.ts";
import { RecordingProxy } from "./recording_proxy.ts";

export interface RecordingServiceOptions {
  readonly dataDir: string;
  readonly identity: () => HostIdentity;
  /** Of the proxy, as the cluster knows them. */
  readonly hostname: string;
  readonly addr: string;
  readonly auth: Pick<AuthConnection, "api" | "call" | "state">;
  readonly cache: ClusterCache;
  readonly audit: Pick<AuditQueue, "emit" | "full">;
  readonly dial?: DialTarget;
}

/** For how long the auth service may take to certify a host, in milliseconds. */
const SIGN_MS = 10_000;
/** For how long recordings may be sent when the proxy stops, in milliseconds. */
const SPOOL_DRAIN_MS = 1_000;

export class RecordingService {
  readonly proxy: RecordingProxy;
  readonly #options: RecordingServiceOptions;
  readonly #recordings: HostRecordings;
  readonly #reports: SessionReports;
  readonly #leases: ConnectionLeases;

  /** @throws Deno.errors.* when the spool's directory cannot be used */
  static async open(options: RecordingServiceOptions): Promise<RecordingService> {
    const recordings = await HostRecordings.open({
      ...options,
      hostId: options.identity().hostId,
      role: "proxy",
    });
    return new RecordingService(options, recordings);
  }

  private constructor(options: RecordingServiceOptions, recordings: HostRecordings) {
    const { auth, cache, audit, identity, hostname, addr, dial } = options;
    this.#options = options;
    this.#recordings = recordings;
    const sessions = new RunningSessions();
    this.#reports = new SessionReports({
      auth,
      list: () => sessions.list(),
      end: (sid, by, reason) => {
        const why = reason ? `: ${printable(reason)}` : "";
        const found = sessions.end(sid, `The session was ended by ${printable(by)}${why}`);
        log("proxy").info("A session is to end", { sid, by, reason, found });
      },
    });
    sessions.onChange(() => this.#reports.changed());
    this.#leases = new ConnectionLeases({
      auth,
      timeoutMs: () =>
        parseDuration(cache.list("cluster_config")[0]?.spec.session_control_timeout ?? "2m"),
    });
    this.proxy = new RecordingProxy({
      identity,
      hostname,
      addr,
      cache,
      audit,
      tapes: recordings.recorder,
      leases: this.#leases,
      sessions,
      clock: systemClock,
      certificates: new HostCertificates({
        sign: async (host, public_key) => {
          const options = { timeoutMs: SIGN_MS };
          return (await auth.call("sign.proxied_host", { host, public_key }, options)).cert;
        },
      }),
      ...(dial ? { dial } : {}),
    });
  }

  /** When no client is left: what was recorded goes to disk, and as far as it can to auth. */
  async close(): Promise<void> {
    await this.proxy.close();
    this.#leases.close();
    await this.#reports.close();
    const isConnected = this.#options.auth.state.status === "connected";
    await this.#recordings.close({ drainMs: isConnected ? SPOOL_DRAIN_MS : 0 });
  }
}
