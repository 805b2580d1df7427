/** A cluster's authorities and an auth server on loopback that answers as a test tells it. */
import { fromBase64 } from "../base/bytes.ts";
import { NotFound } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import type { MethodName } from "../api/contract.ts";
import { serveApi } from "../api/server.ts";
import type { ApiService } from "../api/service.ts";
import { AUTH_API_SUBSYSTEM, type Caller, JOIN_USER } from "../api/types.ts";
import { checkCertificate, type TrustedAuthority } from "../cert/check.ts";
import { hostIdentityOf, type HostRole, userIdentityOf } from "../cert/identity.ts";
import { issueHostCertificate, issueUserCertificate } from "../cert/issue.ts";
import {
  caPin,
  createTlsAuthority,
  type TlsAuthority,
  tlsServerCertificate,
} from "../cert/x509.ts";
import type { CertAuthority } from "../resources/types.ts";
import { type HostKey, SshServer } from "../ssh/server.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import {
  formatAuthorizedKey,
  generatePrivateKey,
  type PrivateKey,
  type PublicKey,
} from "../sshwire/keys.ts";
import type { HostIdentity } from "./identity.ts";
import { newTlsKey } from "./join.ts";

const HOUR = 3_600_000;

/** The keys of one cluster, and what can be issued with them. */
export class TestCluster {
  readonly userCa = generatePrivateKey();
  readonly hostCa = generatePrivateKey();

  private constructor(readonly name: string, readonly tlsCa: TlsAuthority) {}

  static async create(name = "main"): Promise<TestCluster> {
    const hostCa = generatePrivateKey();
    const tls = await createTlsAuthority({
      cluster: name,
      type: "host",
      sshCaKey: hostCa.publicKey,
    });
    return Object.assign(new TestCluster(name, tls), { hostCa });
  }

  get pin(): string {
    return caPin(this.tlsCa.certPem);
  }

  get authorities(): CertAuthority[] {
    return [
      this.#authority("user", this.userCa, []),
      this.#authority("host", this.hostCa, [
        { cert: this.tlsCa.certPem },
      ]),
    ];
  }

  trusted(type: "user" | "host"): TrustedAuthority[] {
    const key = type === "user" ? this.userCa : this.hostCa;
    return [{ cluster: this.name, type, keys: [key.publicKey] }];
  }

  userCertificate(
    key: PublicKey,
    o: {
      user?: string;
      principals?: string[];
      ca?: PrivateKey;
      validAfterMs?: number;
      validBeforeMs?: number;
      routeToCluster?: string;
      criticalOptions?: Record<string, string>;
    } = {},
  ): Certificate {
    return issueUserCertificate({
      ca: o.ca ?? this.userCa,
      key,
      keyId: o.user ?? "joe",
      principals: o.principals ?? ["joe", "root"],
      validAfterMs: o.validAfterMs ?? Date.now() - 60_000,
      validBeforeMs: o.validBeforeMs ?? Date.now() + HOUR,
      extensions: {
        "permit-pty": "",
        "teleport-roles": JSON.stringify({ version: "v1", roles: ["admin"] }),
        ...(o.routeToCluster ? { "teleport-route-to-cluster": o.routeToCluster } : {}),
      },
      ...(o.criticalOptions ? { criticalOptions: o.criticalOptions } : {}),
    });
  }

  hostCertificate(
    key: PublicKey,
    role: HostRole,
    hostId = uuid(),
    names: string[] = [],
  ): Certificate {
    return issueHostCertificate({
      ca: this.hostCa,
      key,
      keyId: hostId,
      principals: [`${hostId}.${this.name}`, hostId, "localhost", "127.0.0.1", "::1", ...names],
      validAfterMs: Date.now() - 60_000,
      extensions: { "x-teleport-role": role, "x-teleport-authority": this.name },
    });
  }

  async identity(role: HostRole, hostId = uuid()): Promise<HostIdentity> {
    const key = generatePrivateKey();
    const { keyPem, spki } = newTlsKey();
    const { certPem } = await tlsServerCertificate({
      caKeyPem: this.tlsCa.keyPem,
      caCertPem: this.tlsCa.certPem,
      commonName: `${hostId}.${this.name}`,
      organizations: [role],
      dnsNames: ["localhost"],
      ips: ["127.0.0.1"],
      publicKeySpki: fromBase64(spki),
      ttlMs: HOUR,
    });
    return {
      role,
      hostId,
      cluster: this.name,
      key,
      certificate: this.hostCertificate(key.publicKey, role, hostId),
      tls: { keyPem, certPem: certPem + this.tlsCa.certPem },
      authorities: this.authorities,
    };
  }

  #authority(type: "user" | "host", key: PrivateKey, tls: { cert: string }[]): CertAuthority {
    return {
      kind: "cert_authority",
      version: "v2",
      metadata: { name: this.name, namespace: "default", labels: {} },
      spec: {
        type,
        cluster_name: this.name,
        checking_keys: [formatAuthorizedKey(key.publicKey)],
        tls_key_pairs: tls,
      },
    };
  }
}

type Handlers = { [M in keyof ApiService]?: ApiService[M] };

/** An auth server with real SSH and the real API in front of a test's own answers. */
export class TestAuth implements AsyncDisposable {
  /** Every call that reached it. */
  readonly calls: { method: string; params: unknown; caller: Caller }[] = [];
  readonly #server: SshServer<Caller>;
  readonly #listener: Deno.TcpListener;
  readonly #serving: Promise<void>;

  constructor(
    readonly cluster: TestCluster,
    handlers: Handlers = {},
    o: { hostKey?: HostKey; port?: number } = {},
  ) {
    const key = generatePrivateKey();
    const hostKey = o.hostKey ??
      { key, certificate: cluster.hostCertificate(key.publicKey, "Auth") };
    const service = this.#service(handlers);
    this.#server = new SshServer<Caller>({
      hostKeys: () => [hostKey],
      offered: () => true,
      authenticate: ({ username, key, certificate, remote }) => {
        if (!certificate) {
          if (username !== JOIN_USER) throw new Error("only a joining host has no certificate");
          return { kind: "joining", key, remote };
        }
        const want = { nowMs: Date.now(), principal: username };
        if (certificate.type === "user") {
          const authorities = cluster.trusted("user");
          const checked = checkCertificate(certificate, { type: "user", authorities, ...want });
          return { kind: "user", identity: userIdentityOf(checked) };
        }
        const authorities = cluster.trusted("host");
        const claims = hostIdentityOf(
          checkCertificate(certificate, { type: "host", authorities, ...want }),
        );
        if (claims.roles.includes("Admin")) return { kind: "admin", name: username };
        return {
          kind: claims.roles.includes("Proxy") ? "proxy" : "node",
          hostId: claims.hostId,
          cluster: claims.cluster,
          key,
          roles: claims.roles,
        };
      },
      onConnection: (connection) =>
        connection.handle({
          session: () => ({
            authorize: (request) => {
              if (request.kind === "subsystem" && request.name === AUTH_API_SUBSYSTEM) return;
              throw new Error("only the API is here");
            },
            start: (_request, channel) => {
              serveApi(channel.stream, { caller: connection.identity, service });
            },
          }),
        }),
    });
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: o.port ?? 0 });
    this.#serving = this.#server.serve(this.#listener);
  }

  get address(): string {
    return `127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}`;
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  methods(): string[] {
    return this.calls.map((call) => call.method);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    await this.#serving;
  }

  #service(handlers: Handlers): ApiService {
    const authorities = () => ({
      cluster_name: this.cluster.name,
      authorities: this.cluster.authorities,
    });
    const all: Handlers = { authorities, ...handlers };
    return new Proxy({}, {
      get: (_target, method: string) => (params: unknown, context: { caller: Caller }) => {
        this.calls.push({ method, params, caller: context.caller });
        const handler = all[method as Exclude<MethodName, "watch.stop">] as
          | ((params: unknown, context: unknown) => unknown)
          | undefined;
        if (!handler) throw new NotFound(`the test has no answer for ${method}`);
        return handler(params, context);
      },
    }) as ApiService;
  }
}
