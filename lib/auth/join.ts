/**
 * Hosts that join with a token. A host id belongs to whoever joined with it first: another key
 * cannot take it over, and no token gives a role that it does not name.
 */
import type { HostCertificates } from "../api/types.ts";
import {
  AccessDenied,
  AlreadyExists,
  CompareFailed,
  LimitExceeded,
  NotFound,
} from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { log } from "../base/log.ts";
import type { HostRole } from "../cert/options.ts";
import type { JoinRole } from "../resources/types.ts";
import type { PeerAddress } from "../ssh/server.ts";
import { fingerprint, type PublicKey } from "../sshwire/keys.ts";
import type { Backend } from "../storage/backend.ts";
import type { Authorities } from "./authorities.ts";
import type { HostSignRequest, Signer } from "./sign.ts";
import { deleteIfThere, readJson } from "./store.ts";
import type { JoinTokens } from "./tokens.ts";

export interface JoinRequest {
  token: string;
  host_id: string;
  node_name: string;
  role: JoinRole;
  additional_principals: string[];
  dns_names: string[];
  tls_public_key?: string | undefined;
}

interface Claim {
  /** Where the host joined from: a second service of the same machine comes from there too. */
  address: string;
  roles: Partial<
    Record<HostRole, {
      /** Fingerprint of the certified key. */
      key: string;
      /** The host has used its certificate; before, a join that broke off may be repeated. */
      confirmed: boolean;
    }>
  >;
}

/** Wrong tokens from one address, before more are refused unseen. */
const MAX_FAILURES = 10;
const FAILURE_WINDOW_MS = 60_000;
const MAX_ADDRESSES = 10_000;

export class Joins {
  readonly #failures = new Map<string, { count: number; sinceMs: number }>();
  readonly #confirmed = new Set<string>();

  constructor(
    private readonly o: {
      backend: Backend;
      clock: Clock;
      tokens: JoinTokens;
      signer: Signer;
      authorities: Authorities;
    },
  ) {}

  /** @throws AccessDenied, LimitExceeded, BadParameter */
  async join(
    request: JoinRequest,
    host: { key: PublicKey; remote: PeerAddress },
  ): Promise<HostCertificates> {
    const who = `${
      JSON.stringify(request.node_name)
    } [${request.host_id}] can not join the cluster`;
    this.#limitFailures(host.remote.host);
    const roles = await this.o.tokens.rolesOf(request.token);
    if (roles === undefined) {
      this.#countFailure(host.remote.host);
      throw new AccessDenied(`${who} with role ${request.role}, the token is not valid`);
    }
    if (!roles.includes(request.role)) {
      throw new AccessDenied(
        `${who} with role ${request.role}, the token does not allow "${request.role}" role`,
      );
    }
    const signed: HostSignRequest = {
      hostId: request.host_id,
      nodeName: request.node_name,
      role: request.role,
      key: host.key,
      additionalPrincipals: request.additional_principals,
      dnsNames: request.dns_names,
      tlsPublicKey: request.tls_public_key,
    };
    // Signed before the id is taken: names that are refused must not leave a claim behind.
    const certificates = await this.o.signer.host(signed);
    await this.#claim(request.host_id, request.role, host);
    log("auth").info("a host has joined", {
      host: request.host_id,
      name: request.node_name,
      role: request.role,
      address: host.remote.host,
    });
    return this.#result(request.host_id, certificates);
  }

  /** For a service of our own process or data directory; takes the id, whoever had it. */
  async issue(request: HostSignRequest): Promise<HostCertificates> {
    const certificates = await this.o.signer.host(request);
    const own: Claim["roles"] = {
      [request.role]: { key: fingerprint(request.key), confirmed: true },
    };
    await this.#update(request.hostId, (claim) => ({
      address: LOCAL,
      roles: claim?.address === LOCAL ? { ...claim.roles, ...own } : own,
    }));
    return this.#result(request.hostId, certificates);
  }

  /** New certificates for a host that has one; its key, id and role stay. */
  async renew(request: HostSignRequest): Promise<HostCertificates> {
    return this.#result(request.hostId, await this.o.signer.host(request));
  }

  /** From now on only this key is this host in this role. */
  async confirm(hostId: string, role: HostRole): Promise<void> {
    const known = `${hostId} ${role}`;
    if (this.#confirmed.has(known)) return;
    await this.#update(hostId, (claim) => {
      const mine = claim?.roles[role];
      if (claim === undefined || mine === undefined || mine.confirmed) return undefined;
      return { ...claim, roles: { ...claim.roles, [role]: { ...mine, confirmed: true } } };
    });
    this.#confirmed.add(known);
  }

  /** @throws AccessDenied when the host id has gone to another key since */
  async assertCurrent(hostId: string, role: HostRole, key: PublicKey): Promise<void> {
    const stored = await readJson<Claim>(this.o.backend, claimKey(hostId));
    const current = stored?.value.roles[role];
    if (current !== undefined && current.key !== fingerprint(key)) {
      throw new AccessDenied(`another host has joined as ${hostId} since: join again with a token`);
    }
  }

  /** The id may be taken by a new host: an administrator has removed the old one. */
  async release(hostId: string): Promise<void> {
    for (const known of [...this.#confirmed]) {
      if (known.startsWith(hostId)) this.#confirmed.delete(known);
    }
    await deleteIfThere(this.o.backend, claimKey(hostId));
  }

  async #claim(
    hostId: string,
    role: HostRole,
    { key, remote }: { key: PublicKey; remote: PeerAddress },
  ): Promise<void> {
    const mine = { key: fingerprint(key), confirmed: false };
    await this.#update(hostId, (claim) => {
      const same = claim?.roles[role];
      const taken = claim !== undefined &&
        (claim.address !== remote.host || (same?.confirmed && same.key !== mine.key));
      if (taken) {
        throw new AccessDenied(
          `host id ${hostId} belongs to another host; if that one is gone, an administrator ` +
            `removes it with: tctl rm node/${hostId}`,
        );
      }
      return { address: remote.host, roles: { ...claim?.roles, [role]: mine } };
    });
  }

  /** `change` gives the new claim, or undefined to leave it; it may be called several times. */
  async #update(
    hostId: string,
    change: (claim: Claim | undefined) => Claim | undefined,
  ): Promise<void> {
    for (;;) {
      const stored = await readJson<Claim>(this.o.backend, claimKey(hostId));
      const next = change(stored?.value);
      if (next === undefined) return;
      const value = JSON.stringify(next);
      try {
        if (stored === undefined) await this.o.backend.create(claimKey(hostId), value);
        else await this.o.backend.compareAndSwap(claimKey(hostId), stored, value);
        return;
      } catch (e) {
        const raced = e instanceof CompareFailed || e instanceof NotFound ||
          e instanceof AlreadyExists;
        if (!raced) throw e;
      }
    }
  }

  #result(
    hostId: string,
    certificates: { certificate: string; tls_certificate?: string },
  ): HostCertificates {
    return {
      host_id: hostId,
      cluster_name: this.o.authorities.cluster,
      authorities: this.o.authorities.publicResources(),
      ...certificates,
    };
  }

  #limitFailures(address: string): void {
    const failures = this.#failures.get(address);
    if (failures === undefined) return;
    if (this.o.clock.now() - failures.sinceMs >= FAILURE_WINDOW_MS) this.#failures.delete(address);
    else if (failures.count >= MAX_FAILURES) {
      throw new LimitExceeded("too many wrong tokens from this address, try again in a minute");
    }
  }

  #countFailure(address: string): void {
    const failures = this.#failures.get(address) ?? { count: 0, sinceMs: this.o.clock.now() };
    failures.count++;
    this.#failures.set(address, failures);
    if (this.#failures.size <= MAX_ADDRESSES) return;
    for (const oldest of this.#failures.keys()) {
      this.#failures.delete(oldest);
      break;
    }
  }
}

/** Claims of our own services have no address that somebody could come from. */
const LOCAL = "local";

function claimKey(hostId: string): string {
  return `/hosts/${hostId}`;
}
