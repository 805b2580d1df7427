/**
 * A host's identity on its own disk: the key, the host certificate, the TLS pair where there is
 * one, and the authorities it trusts.
 *
 * A key is made once, at the join, and kept by renewals: so every file is consistent with the
 * others whenever it is replaced by itself, and the certificate, written last, says that the
 * whole identity is there.
 */
import { equalBytes } from "../base/bytes.ts";
import { BadParameter, messageOf } from "../base/errors.ts";
import { uuid } from "../base/ids.ts";
import type { HostRole } from "../cert/identity.ts";
import { parseResource } from "../resources/codec.ts";
import type { CertAuthority } from "../resources/types.ts";
import {
  type Certificate,
  formatCertificateLine,
  parseCertificateLine,
} from "../sshwire/certificate.ts";
import type { PrivateKey } from "../sshwire/keys.ts";
import { decodePrivateKey, encodePrivateKey } from "../sshwire/private_key.ts";
import { privateDirectory, readTextIfExists, writeFileAtomic } from "../base/files.ts";

/** TLS key and chain (leaf first, then the cluster's CA) of a host, as PEM. */
export interface TlsPair {
  readonly keyPem: string;
  readonly certPem: string;
}

export interface HostIdentity {
  readonly role: HostRole;
  /** UUID of the host, one for all its roles. */
  readonly hostId: string;
  readonly cluster: string;
  readonly key: PrivateKey;
  readonly certificate: Certificate;
  readonly tls?: TlsPair;
  /** The cluster's authorities without secrets, as they were when the identity was written. */
  readonly authorities: readonly CertAuthority[];
}

/** The SSH user name by which a host calls the auth API: `<host uuid>.<cluster>`. */
export function hostUserName(identity: Pick<HostIdentity, "hostId" | "cluster">): string {
  return `${identity.hostId}.${identity.cluster}`;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The host's UUID from `<dataDir>/host_uuid` (mode 0400), made at the first call.
 *
 * @throws BadParameter when the file holds something else
 */
export async function hostUuid(dataDir: string): Promise<string> {
  const path = `${dataDir}/host_uuid`;
  const known = await readTextIfExists(path);
  if (known !== undefined) {
    const id = known.trim().toLowerCase();
    if (!UUID.test(id)) {
      throw new BadParameter(
        `${path} does not hold a UUID; restore it from a backup, or remove it to join as a new host`,
      );
    }
    return id;
  }
  await Deno.mkdir(dataDir, { recursive: true });
  const id = uuid();
  try {
    // createNew: of two daemons starting at once, one makes the name and the other takes it.
    await Deno.writeTextFile(path, id, { createNew: true, mode: 0o400 });
    return id;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return await hostUuid(dataDir);
    throw error;
  }
}

/** Where the identity of a role is kept: `<dataDir>/proc/<role>`, in lower case. */
export function identityDirectory(dataDir: string, role: HostRole): string {
  return `${dataDir}/proc/${role.toLowerCase()}`;
}

/**
 * Reads an identity from a directory.
 *
 * @returns undefined when the host has not joined (no certificate is there)
 * @throws BadParameter when files are damaged or do not belong together
 */
export async function readIdentity(directory: string): Promise<HostIdentity | undefined> {
  const certLine = await readTextIfExists(`${directory}/cert`);
  if (certLine === undefined) return undefined;
  try {
    const { key } = decodePrivateKey(await Deno.readTextFile(`${directory}/key`));
    const certificate = parseCertificateLine(certLine.trim());
    if (!equalBytes(certificate.key.blob, key.publicKey.blob)) {
      throw new BadParameter("the certificate belongs to another key");
    }
    const about = parseAbout(await Deno.readTextFile(`${directory}/authorities.json`));
    const tlsKey = await readTextIfExists(`${directory}/tls.key`);
    const tlsCert = await readTextIfExists(`${directory}/tls.crt`);
    return {
      ...about,
      key,
      certificate,
      ...(tlsKey !== undefined && tlsCert !== undefined
        ? { tls: { keyPem: tlsKey, certPem: tlsCert } }
        : {}),
    };
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) throw error;
    throw new BadParameter(
      `the identity in ${directory} cannot be used (${
        messageOf(error)
      }); remove the directory and join again`,
      { cause: error },
    );
  }
}

/** Writes an identity: directory 0700, every file 0600 and replaced in one step. */
export async function writeIdentity(directory: string, identity: HostIdentity): Promise<void> {
  await privateDirectory(directory);
  if (!await holdsKey(`${directory}/key`, identity.key)) {
    // Another key: until all is written, there is no identity rather than a mixed one.
    await Deno.remove(`${directory}/cert`).catch(() => {});
    await writeFileAtomic(`${directory}/key`, encodePrivateKey(identity.key));
  }
  if (identity.tls) {
    if (await readTextIfExists(`${directory}/tls.key`) !== identity.tls.keyPem) {
      await Deno.remove(`${directory}/tls.crt`).catch(() => {});
      await writeFileAtomic(`${directory}/tls.key`, identity.tls.keyPem);
    }
    await writeFileAtomic(`${directory}/tls.crt`, identity.tls.certPem);
  }
  const about: About = {
    role: identity.role,
    hostId: identity.hostId,
    cluster: identity.cluster,
    authorities: identity.authorities,
  };
  await writeFileAtomic(`${directory}/authorities.json`, JSON.stringify(about, null, 2) + "\n");
  await writeFileAtomic(`${directory}/cert`, formatCertificateLine(identity.certificate) + "\n");
}

async function holdsKey(path: string, key: PrivateKey): Promise<boolean> {
  const pem = await readTextIfExists(path);
  if (pem === undefined) return false;
  try {
    return equalBytes(decodePrivateKey(pem).key.publicKey.blob, key.publicKey.blob);
  } catch {
    return false;
  }
}

type About = Pick<HostIdentity, "role" | "hostId" | "cluster" | "authorities">;

function parseAbout(text: string): About {
  const value = JSON.parse(text) as Partial<About> | null;
  if (
    typeof value?.role !== "string" || typeof value.hostId !== "string" ||
    typeof value.cluster !== "string" || !Array.isArray(value.authorities)
  ) {
    throw new BadParameter("authorities.json is damaged");
  }
  return {
    role: value.role,
    hostId: value.hostId,
    cluster: value.cluster,
    authorities: value.authorities.map((authority) => {
      const resource = parseResource(authority);
      if (resource.kind !== "cert_authority") throw new BadParameter("authorities.json is damaged");
      return resource;
    }),
  };
}
