/**
 * Join tokens: static ones from the configuration, which never expire, and short-lived ones. Any
 * number of hosts may use a token until it expires. Only hashes are kept.
 */
import { BadParameter, NotFound } from "../base/errors.ts";
import { constantTimeEqual } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { randomHex } from "../base/ids.ts";
import type { JoinTokenInfo } from "../api/types.ts";
import { assertTokenName } from "../resources/names.ts";
import type { JoinRole } from "../resources/types.ts";
import type { Backend } from "../storage/backend.ts";
import { hashSecret, readJson } from "./store.ts";

const PREFIX = "/tokens/";
const MINUTE = 60_000;
export const DEFAULT_TOKEN_TTL_MS = 60 * MINUTE;
export const MAX_TOKEN_TTL_MS = 48 * 60 * MINUTE;
/** Hexadecimal digits of the hash that a token is shown by. */
const ID_LENGTH = 16;

export interface StaticToken {
  roles: JoinRole[];
  value: string;
}

interface StoredToken {
  roles: JoinRole[];
  /** RFC 3339. */
  expires: string;
}

export class JoinTokens {
  readonly #static: { hash: string; roles: JoinRole[] }[];

  constructor(
    private readonly backend: Backend,
    private readonly clock: Clock,
    staticTokens: readonly StaticToken[] = [],
  ) {
    this.#static = staticTokens.map(({ value, roles }) => ({ hash: hashSecret(value), roles }));
  }

  /** @throws BadParameter for a TTL over 48 h or a token that cannot be written on a command line */
  async create(
    roles: JoinRole[],
    ttlMs = DEFAULT_TOKEN_TTL_MS,
    value = randomHex(16),
  ): Promise<{ token: string; expires: string }> {
    if (ttlMs > MAX_TOKEN_TTL_MS) {
      throw new BadParameter("a token may be valid for at most 48h; use a static token for more");
    }
    assertTokenName(value);
    const hash = hashSecret(value);
    if (this.#findStatic(hash) !== undefined) {
      throw new BadParameter("this token is a static one of the configuration already");
    }
    const expiresMs = this.clock.now() + ttlMs;
    const stored: StoredToken = { roles, expires: new Date(expiresMs).toISOString() };
    await this.backend.put(PREFIX + hash, JSON.stringify(stored), { expiresMs });
    return { token: value, expires: stored.expires };
  }

  /** What a host may join as with this token; undefined when the token is not valid. */
  async rolesOf(token: string): Promise<readonly JoinRole[] | undefined> {
    const hash = hashSecret(token);
    const fixed = this.#findStatic(hash);
    const stored = await readJson<StoredToken>(this.backend, PREFIX + hash);
    return fixed ?? stored?.value.roles;
  }

  async list(): Promise<JoinTokenInfo[]> {
    const dynamic = (await this.backend.range(PREFIX)).map(({ key, value }) => {
      const { roles, expires } = JSON.parse(value) as StoredToken;
      return { id: idOf(key.slice(PREFIX.length)), roles, expires, static: false };
    });
    const fixed = this.#static.map(({ hash, roles }) => ({ id: idOf(hash), roles, static: true }));
    return [...fixed, ...dynamic];
  }

  /**
   * @param token itself, or its id
   * @throws NotFound, BadParameter for a static token
   */
  async delete(token: string): Promise<void> {
    const hash = hashSecret(token);
    if (this.#static.some((each) => each.hash === hash || idOf(each.hash) === token)) {
      throw new BadParameter("a static token is removed from the auth server's configuration");
    }
    const found = (await this.backend.range(PREFIX)).find(({ key }) => {
      const stored = key.slice(PREFIX.length);
      return stored === hash || idOf(stored) === token;
    });
    if (found === undefined) throw new NotFound("this token is not found");
    await this.backend.delete(found.key);
  }

  /** Compares with all of them, whichever it is. */
  #findStatic(hash: string): JoinRole[] | undefined {
    let found: JoinRole[] | undefined;
    for (const each of this.#static) {
      if (constantTimeEqual(each.hash, hash)) found = each.roles;
    }
    return found;
  }
}

function idOf(hash: string): string {
  return hash.slice(0, ID_LENGTH);
}
