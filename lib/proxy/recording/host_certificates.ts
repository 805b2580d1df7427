/**
 * The certificates that a recording proxy shows in the place of hosts: asked of the auth service
 * once a name, kept in memory for as long as they are good.
 */
import { type Clock, systemClock } from "../../base/clock.ts";
import { ConnectionProblem } from "../../base/errors.ts";
import type { HostKey } from "../../ssh/server.ts";
import { type Certificate, parseCertificateLine } from "../../sshwire/certificate.ts";
import {
  equalKeys,
  formatAuthorizedKey,
  generatePrivateKey,
  type PrivateKey,
} from "../../sshwire/keys.ts";

export interface HostCertificatesOptions {
  /** Asks the auth service: the name, and an authorized_keys line; gives the certificate's line. */
  readonly sign: (host: string, publicKey: string) => Promise<string>;
  readonly clock?: Clock;
  /** Names that are kept; 4000. */
  readonly max?: number;
}

const DEFAULT_MAX = 4000;
/** A certificate is asked for anew when so much of its life is left, milliseconds. */
const RENEW_MS = 3_600_000;

interface Entry {
  readonly hostKey: HostKey & { readonly certificate: Certificate };
  readonly endMs: number;
}

export class HostCertificates {
  readonly #options: HostCertificatesOptions;
  readonly #clock: Clock;
  readonly #max: number;
  /** The one used longest ago comes first. */
  readonly #entries = new Map<string, Entry>();
  /** Asked once for all who wait for the same name. */
  readonly #asked = new Map<string, Promise<Entry>>();

  constructor(options: HostCertificatesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#max = options.max ?? DEFAULT_MAX;
  }

  /** How many names are kept. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * A key and a certificate for this host.
   *
   * @throws what the auth service says: AccessDenied for names that it protects
   */
  async get(host: string): Promise<HostKey> {
    const name = host.toLowerCase();
    const known = this.#entries.get(name);
    const leftMs = known ? known.endMs - this.#clock.now() : 0;
    if (known && leftMs > RENEW_MS) return this.#use(name, known);
    try {
      return this.#use(name, await this.#ask(name));
    } catch (error) {
      // While auth is away, what is still valid serves.
      if (known && leftMs > 0 && error instanceof ConnectionProblem) return known.hostKey;
      this.#entries.delete(name);
      throw error;
    }
  }

  #use(name: string, entry: Entry): HostKey {
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#max) break;
      this.#entries.delete(oldest);
    }
    return entry.hostKey;
  }

  #ask(name: string): Promise<Entry> {
    const asked = this.#asked.get(name) ??
      this.#mint(name).finally(() => this.#asked.delete(name));
    this.#asked.set(name, asked);
    return asked;
  }

  async #mint(name: string): Promise<Entry> {
    const key: PrivateKey = generatePrivateKey();
    const line = await this.#options.sign(name, formatAuthorizedKey(key.publicKey));
    const certificate = parseCertificateLine(line);
    if (!equalKeys(certificate.key, key.publicKey)) {
      throw new ConnectionProblem("the auth service certified another key than was asked for");
    }
    return { hostKey: { key, certificate }, endMs: Number(certificate.validBefore) * 1000 };
  }
}
