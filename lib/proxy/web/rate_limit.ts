/** How many requests one client may make: a bucket of tokens for each address. */
import { type Clock, systemClock } from "../../base/clock.ts";
import { LimitExceeded } from "../../base/errors.ts";
import { isIpAddress, normalizeIp } from "../../base/net.ts";

export interface RateLimitOptions {
  /** Requests a second, in the long run. */
  readonly perSecond: number;
  /** Requests at once after a pause; a second's worth when omitted. */
  readonly burst?: number;
  /** Clients that are remembered; the one unseen for longest makes room. 10,000 when omitted. */
  readonly maxClients?: number;
  readonly clock?: Clock;
}

export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #maxClients: number;
  readonly #clock: Clock;
  /** In the order of last use. */
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();

  constructor(o: RateLimitOptions) {
    this.#perMs = o.perSecond / 1000;
    this.#burst = o.burst ?? o.perSecond;
    this.#maxClients = o.maxClients ?? 10_000;
    this.#clock = o.clock ?? systemClock;
  }

  /** @throws LimitExceeded when the client has used up what it may */
  take(address: string): void {
    const client = clientOf(address);
    const now = this.#clock.now();
    const last = this.#buckets.get(client) ?? { tokens: this.#burst, atMs: now };
    const grown = Math.max(0, now - last.atMs) * this.#perMs;
    const tokens = Math.min(this.#burst, last.tokens + grown);
    this.#buckets.delete(client);
    this.#buckets.set(client, { tokens: tokens < 1 ? tokens : tokens - 1, atMs: now });
    if (this.#buckets.size > this.#maxClients) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    if (tokens < 1) throw new LimitExceeded("too many requests from your address; wait a second");
  }
}

/** Who counts as one: an IPv4 address, and the /64 network that one IPv6 host has to itself. */
function clientOf(address: string): string {
  if (!isIpAddress(address)) return address;
  const ip = normalizeIp(address);
  if (!ip.includes(":")) return ip;
  const [head = "", tail] = ip.split("%")[0]!.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? [] : Array(8 - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].slice(0, 4).join(":");
}
