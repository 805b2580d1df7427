/**
 * The cluster's two certificate authorities. Each is an Ed25519 key for SSH and a P-256 one for
 * X.509, made once, at the first start.
 */
import { AlreadyExists, InternalError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { TrustedAuthority } from "../cert/check.ts";
import { caPin, createTlsAuthority } from "../cert/x509.ts";
import { withoutSecrets } from "../resources/labels.ts";
import type { CertAuthority } from "../resources/types.ts";
import {
  fingerprint,
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
  type PrivateKey,
} from "../sshwire/keys.ts";
import { decodePrivateKey, encodePrivateKey } from "../sshwire/private_key.ts";
import type { AuthorityStatus, HostSigner } from "../api/types.ts";
import type { ResourceStore } from "./store.ts";

export type AuthorityType = "user" | "host";

/** One authority with what it signs with. */
export interface SigningAuthority {
  resource: CertAuthority;
  sshKey: PrivateKey;
  tls: { keyPem: string; certPem: string };
}

export class Authorities {
  private constructor(
    readonly cluster: string,
    readonly user: SigningAuthority,
    readonly host: SigningAuthority,
  ) {}

  /** Makes what is missing. Of several that start at once, one makes it and all use the same. */
  static async open(store: ResourceStore, cluster: string, clock: Clock): Promise<Authorities> {
    const open = (type: AuthorityType) => openAuthority(store, type, cluster, clock);
    return new Authorities(cluster, await open("user"), await open("host"));
  }

  /** For the checker. */
  trusted(type: AuthorityType): TrustedAuthority[] {
    const keys = this[type].resource.spec.checking_keys.map((line) => parseAuthorizedKey(line).key);
    return [{ cluster: this.cluster, type, keys }];
  }

  publicResources(): CertAuthority[] {
    return [withoutSecrets(this.user.resource), withoutSecrets(this.host.resource)];
  }

  hostSigners(): HostSigner[] {
    const { checking_keys, tls_key_pairs } = this.host.resource.spec;
    return [{
      domain_name: this.cluster,
      checking_keys,
      tls_certs: tls_key_pairs.map(({ cert }) => cert),
    }];
  }

  caPins(): string[] {
    return this.host.resource.spec.tls_key_pairs.map(({ cert }) => caPin(cert));
  }

  status(type: AuthorityType): AuthorityStatus {
    const { checking_keys, rotation } = this[type].resource.spec;
    return {
      fingerprints: checking_keys.map((line) => fingerprint(parseAuthorizedKey(line).key)),
      ...(rotation?.last_rotated === undefined ? {} : { last_rotated: rotation.last_rotated }),
    };
  }
}

async function openAuthority(
  store: ResourceStore,
  type: AuthorityType,
  cluster: string,
  clock: Clock,
): Promise<SigningAuthority> {
  const name = `${type}/${cluster}`;
  let resource = await store.find("cert_authority", name);
  if (resource === undefined) {
    const made = await makeAuthority(type, cluster, clock);
    try {
      await store.create(made);
      resource = made;
    } catch (e) {
      if (!(e instanceof AlreadyExists)) throw e;
      resource = await store.get("cert_authority", name);
    }
  }
  const signing = resource.spec.signing_keys?.[0];
  const tls = resource.spec.tls_key_pairs[0];
  if (signing === undefined || tls?.key === undefined) {
    throw new InternalError(`the ${type} authority of ${cluster} has no private keys`);
  }
  return {
    resource,
    sshKey: decodePrivateKey(signing).key,
    tls: { keyPem: tls.key, certPem: tls.cert },
  };
}

async function makeAuthority(
  type: AuthorityType,
  cluster: string,
  clock: Clock,
): Promise<CertAuthority> {
  const key = generatePrivateKey("ssh-ed25519");
  const tls = await createTlsAuthority({
    cluster,
    type,
    sshCaKey: key.publicKey,
    nowMs: clock.now(),
  });
  return {
    kind: "cert_authority",
    version: "v2",
    metadata: { name: cluster, namespace: "default", labels: {} },
    spec: {
      type,
      cluster_name: cluster,
      checking_keys: [formatAuthorizedKey(key.publicKey)],
      signing_keys: [encodePrivateKey(key)],
      tls_key_pairs: [{ cert: tls.certPem, key: tls.keyPem }],
    },
  };
}
