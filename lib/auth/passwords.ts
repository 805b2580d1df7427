/** Passwords: argon2id, the parameters in the stored string, so that they can be raised later. */
import { BadParameter } from "../base/errors.ts";
import { constantTimeEqual, utf8Encode } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Backend } from "../storage/backend.ts";
import type { Argon2Pool } from "./argon2_pool.ts";
import type { Argon2Parameters } from "./argon2_worker.ts";
import { deleteIfThere, readJson } from "./store.ts";

export const MIN_PASSWORD = 6;
export const MAX_PASSWORD = 128;

/**
 * Of the settings that OWASP holds to be equally strong (19 MiB and 2 passes is another) the one
 * that is fastest in WebAssembly: some 60 ms of one processor a login, and least memory.
 */
const PARAMETERS: Argon2Parameters = { memoryKiB: 7 * 1024, passes: 5 };
const SALT_BYTES = 16;
const TAG_BYTES = 32;
/** Never used up by a stored string, whoever wrote it. */
const MAX_MEMORY_KIB = 256 * 1024;
const MAX_PASSES = 16;

interface StoredPassword {
  hash: string;
  changed: string;
}

export class Passwords {
  /** Hash of nothing that anybody can type: checked when there is no user. */
  readonly #dummy: string;

  constructor(
    private readonly backend: Backend,
    private readonly pool: Argon2Pool,
    private readonly clock: Clock,
  ) {
    this.#dummy = format(PARAMETERS, random(SALT_BYTES), random(TAG_BYTES));
  }

  /** @throws BadParameter unless the password has 6 to 128 characters */
  async set(user: string, password: string): Promise<void> {
    assertPassword(password);
    const salt = random(SALT_BYTES);
    const tag = await this.#hash(password, salt, PARAMETERS);
    const stored: StoredPassword = {
      hash: format(PARAMETERS, salt, tag),
      changed: new Date(this.clock.now()).toISOString(),
    };
    await this.backend.put(key(user), JSON.stringify(stored));
  }

  /** Takes the same time whether the user has a password, or exists at all, or not. */
  async check(user: string, password: string): Promise<boolean> {
    const stored = await readJson<StoredPassword>(this.backend, key(user));
    const { parameters, salt, tag } = parse(stored?.value.hash ?? this.#dummy);
    // What cannot be a password costs as much as one that can.
    const candidate = isPassword(password) ? password : "no password of anybody";
    const equal = constantTimeEqual(await this.#hash(candidate, salt, parameters), tag);
    return equal && candidate === password && stored !== undefined;
  }

  delete(user: string): Promise<void> {
    return deleteIfThere(this.backend, key(user));
  }

  #hash(password: string, salt: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array> {
    return this.pool.hash({ password: utf8Encode(normalize(password)), salt, parameters });
  }
}

/** @throws BadParameter unless the password has 6 to 128 characters */
export function assertPassword(password: string): void {
  if (isPassword(password)) return;
  throw new BadParameter(`the password must have ${MIN_PASSWORD} to ${MAX_PASSWORD} characters`);
}

function isPassword(password: string): boolean {
  const length = Array.from(normalize(password)).length;
  return length >= MIN_PASSWORD && length <= MAX_PASSWORD;
}

/** The same password typed on another keyboard may come as other code points (NIST SP 800-63B). */
function normalize(password: string): string {
  return password.normalize("NFKC");
}

function key(user: string): string {
  return `/passwords/${user}`;
}

/** PHC string format. */
function format({ memoryKiB, passes }: Argon2Parameters, salt: Uint8Array, tag: Uint8Array) {
  return `$argon2id$v=19$m=${memoryKiB},t=${passes},p=1$${base64(salt)}$${base64(tag)}`;
}

function parse(hash: string): { parameters: Argon2Parameters; salt: Uint8Array; tag: Uint8Array } {
  const match =
    /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=1\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(
      hash,
    );
  const [, memory, passes, salt = "", tag = ""] = match ?? [];
  const parameters = { memoryKiB: Number(memory), passes: Number(passes) };
  if (
    !match || parameters.memoryKiB < 8 || parameters.memoryKiB > MAX_MEMORY_KIB ||
    parameters.passes < 1 || parameters.passes > MAX_PASSES
  ) {
    throw new BadParameter("a stored password hash is malformed");
  }
  return { parameters, salt: unbase64(salt), tag: unbase64(tag) };
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("=", "");
}

function unbase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

function random(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}
