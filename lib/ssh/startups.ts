/**
 * How many connections may be between their start and their authentication: overall and per
 * address. A moderate surplus waits, because two hundred sessions may well be opened at once; what
 * is beyond that is turned away.
 */
import { isIpAddress, normalizeIp } from "../base/net.ts";

export interface StartupLimits {
  max: number;
  maxPerAddress: number;
  /** How many may wait, in multiples of the limits. */
  waitFactor?: number;
}

/** Held while a connection starts up. */
export interface Startup {
  /** The connection turned out to come from elsewhere. */
  move(address: string): void;
  release(): void;
}

interface Entry {
  address: string;
  start: ((startup: Startup) => void) | undefined;
  isReleased: boolean;
}

export class Startups {
  readonly #limits: Required<StartupLimits>;
  readonly #active = new Map<string, number>();
  #activeCount = 0;
  readonly #waiting: Entry[] = [];
  readonly #waitingPer = new Map<string, number>();

  constructor(limits: StartupLimits) {
    this.#limits = { waitFactor: 10, ...limits };
  }

  get activeCount(): number {
    return this.#activeCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /**
   * Calls `start` now or when there is room. undefined when there are too many already. The
   * returned function gives the place up (also while waiting).
   */
  request(address: string, start: (startup: Startup) => void): (() => void) | undefined {
    const entry: Entry = { address: networkOf(address), start, isReleased: false };
    if (this.#hasRoom(entry.address)) {
      this.#run(entry);
    } else {
      const { max, maxPerAddress, waitFactor } = this.#limits;
      const waitingHere = this.#waitingPer.get(entry.address) ?? 0;
      if (this.#waiting.length >= max * waitFactor || waitingHere >= maxPerAddress * waitFactor) {
        return undefined;
      }
      this.#waiting.push(entry);
      add(this.#waitingPer, entry.address, 1);
    }
    return () => this.#release(entry);
  }

  #hasRoom(address: string): boolean {
    return this.#activeCount < this.#limits.max &&
      (this.#active.get(address) ?? 0) < this.#limits.maxPerAddress;
  }

  #run(entry: Entry): void {
    const start = entry.start;
    entry.start = undefined;
    this.#activeCount++;
    add(this.#active, entry.address, 1);
    start?.({
      move: (address) => this.#move(entry, networkOf(address)),
      release: () => this.#release(entry),
    });
  }

  #move(entry: Entry, address: string): void {
    if (entry.isReleased) return;
    add(this.#active, entry.address, -1);
    add(this.#active, address, 1);
    entry.address = address;
    this.#admit();
  }

  #release(entry: Entry): void {
    if (entry.isReleased) return;
    entry.isReleased = true;
    if (entry.start) {
      const at = this.#waiting.indexOf(entry);
      if (at >= 0) this.#unqueue(at);
      return;
    }
    this.#activeCount--;
    add(this.#active, entry.address, -1);
    this.#admit();
  }

  #admit(): void {
    for (let i = 0; i < this.#waiting.length && this.#activeCount < this.#limits.max;) {
      const entry = this.#waiting[i]!;
      if (this.#hasRoom(entry.address)) {
        this.#unqueue(i);
        this.#run(entry);
      } else {
        i++;
      }
    }
  }

  #unqueue(at: number): void {
    const [entry] = this.#waiting.splice(at, 1);
    if (entry) add(this.#waitingPer, entry.address, -1);
  }
}

/** One IPv4 address, or the /64 of an IPv6 address: who has one of it has them all. */
function networkOf(address: string): string {
  if (!isIpAddress(address)) return address;
  const ip = normalizeIp(address);
  if (!ip.includes(":")) return ip;
  const [head = "", tail = ""] = ip.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  while (ip.includes("::") && groups.length + after.length < 8) groups.push("0");
  return `${[...groups, ...after].slice(0, 4).join(":")}::/64`;
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
