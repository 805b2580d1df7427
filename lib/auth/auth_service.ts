/** The Auth service: puts its parts together, on one backend. */
import type { ApiService } from "../api/service.ts";
import type { AuditLog, HostFacts } from "../audit/audit_log.ts";
import { AlreadyExists, BadParameter } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { systemClock } from "../base/clock.ts";
import { parseDuration } from "../base/duration.ts";
import { uuid } from "../base/ids.ts";
import { assertClusterName } from "../cert/names.ts";
import { nodeLabels } from "../resources/labels.ts";
import type { ClusterConfig, ClusterConfigSpec } from "../resources/types.ts";
import type { Backend } from "../storage/backend.ts";
import { adminApi } from "./admin_api.ts";
import { Argon2Pool, type PoolOptions } from "./argon2_pool.ts";
import { Authorities } from "./authorities.ts";
import { ConnectionLeases } from "./connection_leases.ts";
import { connectionsApi } from "./connections_api.ts";
import { eventsApi } from "./events_api.ts";
import { hostsApi } from "./hosts_api.ts";
import { Invites } from "./invites.ts";
import { Joins } from "./join.ts";
import { Lockout } from "./lockout.ts";
import { Logins } from "./login.ts";
import type { AuthParts, AuthSettings } from "./parts.ts";
import { Passwords } from "./passwords.ts";
import { peopleApi } from "./people_api.ts";
import { proxiedHostsApi } from "./proxied_hosts_api.ts";
import { Recordings } from "./recordings.ts";
import { recordingsApi } from "./recordings_api.ts";
import { recordingsViewApi } from "./recordings_view_api.ts";
import { Roles } from "./roles.ts";
import { Signer } from "./sign.ts";
import { ActiveSessions } from "./sessions.ts";
import { sessionsApi } from "./sessions_api.ts";
import { ResourceStore } from "./store.ts";
import { JoinTokens } from "./tokens.ts";
import { OneTimeCodes } from "./totp.ts";
import { Users } from "./users.ts";
import { ResourceHub } from "./watch.ts";

export interface AuthServiceOptions {
  backend: Backend;
  settings: AuthSettings;
  audit: AuditLog;
  /** Without one, the audit log cannot be searched. */
  eventIndex?: AuthParts["eventIndex"];
  /** Where recordings are kept: `<data_dir>/log/records`. */
  recordingsDirectory: string;
  clock?: Clock;
  passwordPool?: PoolOptions;
}

/** How long a host may be out of touch before it ends the sessions whose number is limited. */
const SESSION_CONTROL_TIMEOUT = "2m0s";

export class AuthService {
  readonly api: ApiService;

  private constructor(
    readonly parts: AuthParts,
    private readonly pool: Argon2Pool,
  ) {
    this.api = {
      ...hostsApi(parts),
      ...peopleApi(parts),
      ...eventsApi(parts),
      ...connectionsApi(parts),
      ...proxiedHostsApi(parts),
      ...recordingsApi(parts),
      ...recordingsViewApi(parts),
      ...sessionsApi(parts),
      ...adminApi(parts),
    };
  }

  /**
   * Makes what is missing in the backend: cluster name, authorities, built-in role.
   * @throws BadParameter when the backend belongs to another cluster
   */
  static async open(options: AuthServiceOptions): Promise<AuthService> {
    const { backend, settings, audit, clock = systemClock } = options;
    const { clusterName: cluster, secondFactor } = settings;
    const store = new ResourceStore(backend);
    await claimClusterName(store, cluster);
    const authorities = await Authorities.open(store, cluster, clock);
    const roles = new Roles(store, audit, clock);
    await roles.ensureBuiltIn();
    await publishClusterConfig(store, settings.clusterConfig);

    const pool = new Argon2Pool(options.passwordPool);
    const signer = new Signer(authorities, clock);
    const tokens = new JoinTokens(backend, clock, settings.staticTokens);
    const credentials = {
      passwords: new Passwords(backend, pool, clock),
      codes: new OneTimeCodes(backend, clock),
      lockout: new Lockout(backend, clock),
    };
    const common = { store, clock, audit, secondFactor, ...credentials };
    const users = new Users({ ...common, cluster, invites: new Invites(backend, clock) });
    const logins = new Logins({ ...common, users, signer });
    const joins = new Joins({ backend, clock, tokens, signer, authorities });
    const hub = new ResourceHub(backend);
    await hub.ready;
    audit.describeHosts(({ kind, hostId }) => hostFacts(hub, kind, hostId));
    const controlTimeoutMs = parseDuration(
      settings.clusterConfig?.session_control_timeout ?? SESSION_CONTROL_TIMEOUT,
    );
    const parts = {
      settings,
      clock,
      audit,
      eventIndex: options.eventIndex,
      store,
      hub,
      authorities,
      signer,
      users,
      roles,
      logins,
      tokens,
      joins,
      connectionLeases: new ConnectionLeases(backend, clock, controlTimeoutMs),
      activeSessions: new ActiveSessions(clock),
      recordings: new Recordings({ directory: options.recordingsDirectory, cluster, audit }),
    };
    return new AuthService(parts, pool);
  }

  /** Leaves backend and audit log open: they are the caller's. */
  async close(): Promise<void> {
    this.pool.close();
    await this.parts.hub.close();
    await this.parts.recordings.close();
  }
}

/** As announced. What the host says elsewhere is not asked. */
function hostFacts(
  hub: ResourceHub,
  kind: "node" | "proxy",
  hostId: string,
): HostFacts | undefined {
  const host = hub.get(kind, hostId);
  return host &&
    { hostname: host.spec.hostname, addr: host.spec.addr, labels: nodeLabels(host) };
}

async function claimClusterName(store: ResourceStore, cluster: string): Promise<void> {
  assertClusterName(cluster);
  const name = "cluster-name";
  let stored = await store.find("cluster_name", name);
  if (stored === undefined) {
    await store.create({
      kind: "cluster_name",
      version: "v2",
      metadata: { name, namespace: "default", labels: {} },
      spec: { cluster_name: cluster, cluster_id: uuid() },
    }).catch((e: unknown) => {
      if (!(e instanceof AlreadyExists)) throw e;
    });
    stored = await store.get("cluster_name", name);
  }
  const known = stored.spec.cluster_name;
  if (known !== cluster) {
    throw new BadParameter(
      `the data directory is that of the cluster "${known}", and the configuration says ` +
        `"${cluster}": set auth_service.cluster_name to "${known}", or use another data_dir`,
    );
  }
}

async function publishClusterConfig(
  store: ResourceStore,
  spec: Partial<ClusterConfigSpec> = {},
): Promise<void> {
  const name = "cluster-config";
  const config: ClusterConfig = {
    kind: "cluster_config",
    version: "v3",
    metadata: { name, namespace: "default", labels: {} },
    spec: {
      client_idle_timeout: "never",
      disconnect_expired_cert: false,
      keep_alive_interval: "5m0s",
      keep_alive_count_max: 3,
      session_control_timeout: SESSION_CONTROL_TIMEOUT,
      session_recording: "node",
      proxy_checks_host_keys: true,
      recording_on_full: "refuse",
      ...spec,
    },
  };
  await store.put(config);
}
