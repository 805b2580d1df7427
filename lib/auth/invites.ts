/** One-time links: invites of new users, and resets. Only the hash of a link's token is kept. */
import { BadParameter, CompareFailed, NotFound } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { formatDuration } from "../base/duration.ts";
import { randomHex } from "../base/ids.ts";
import type { Backend } from "../storage/backend.ts";
import { hashSecret, readJson } from "./store.ts";
import { newSecret } from "./totp.ts";

export type InviteKind = "invite" | "reset";

const HOUR = 3600_000;
const LIMITS: Record<InviteKind, { ttlMs: number; maxMs: number }> = {
  invite: { ttlMs: HOUR, maxMs: 48 * HOUR },
  reset: { ttlMs: 8 * HOUR, maxMs: 24 * HOUR },
};

export interface Invite {
  user: string;
  kind: InviteKind;
  /** Base32: becomes the user's second factor when the link is used. */
  otpSecret: string;
  /** RFC 3339. */
  expires: string;
}

const PREFIX = "/invites/";

export class Invites {
  constructor(private readonly backend: Backend, private readonly clock: Clock) {}

  /**
   * A new link; earlier ones of the user stop to work.
   * @throws BadParameter for a TTL over the limit
   */
  async create(
    user: string,
    kind: InviteKind,
    ttlMs = LIMITS[kind].ttlMs,
  ): Promise<{ token: string; expires: string }> {
    assertLinkTtl(kind, ttlMs);
    await this.deleteFor(user);
    const token = randomHex(16);
    const expiresMs = this.clock.now() + ttlMs;
    const expires = new Date(expiresMs).toISOString();
    const invite: Invite = { user, kind, otpSecret: newSecret(), expires };
    await this.backend.create(key(token), JSON.stringify(invite), { expiresMs });
    return { token, expires };
  }

  /** @throws NotFound when the link is unknown, used or expired: it does not say which */
  async get(token: string): Promise<Invite> {
    return (await this.#read(token)).value;
  }

  /** As get(), and the link is used up: of two at once one gets it. @throws NotFound */
  async consume(token: string): Promise<Invite> {
    const { value, revision } = await this.#read(token);
    try {
      await this.backend.delete(key(token), { revision });
    } catch (e) {
      if (e instanceof NotFound || e instanceof CompareFailed) throw unknownLink();
      throw e;
    }
    return value;
  }

  /** Withdraws all links of the user. */
  async deleteFor(user: string): Promise<void> {
    for (const { key, value } of await this.backend.range(PREFIX)) {
      if ((JSON.parse(value) as Invite).user !== user) continue;
      await this.backend.delete(key).catch((e: unknown) => {
        if (!(e instanceof NotFound)) throw e;
      });
    }
  }

  async #read(token: string): Promise<{ value: Invite; revision: number }> {
    const stored = await readJson<Invite>(this.backend, key(token));
    if (stored === undefined) throw unknownLink();
    return stored;
  }
}

/** @throws BadParameter for a TTL over the limit */
export function assertLinkTtl(kind: InviteKind, ttlMs = 0): void {
  const { maxMs } = LIMITS[kind];
  if (ttlMs <= maxMs) return;
  throw new BadParameter(
    `the link may be valid for at most ${formatDuration(maxMs)}, not ${formatDuration(ttlMs)}`,
  );
}

function unknownLink(): NotFound {
  return new NotFound(
    "this link is not valid: it was used already, has expired or is mistyped; ask for a new one",
  );
}

function key(token: string): string {
  return PREFIX + hashSecret(token);
}
