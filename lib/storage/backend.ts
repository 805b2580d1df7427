/**
 * The key-value store that everything the cluster remembers is written on.
 *
 * Its shape is etcd's: one revision counter for the whole store, every write takes the next
 * revision, and a watch tells changes in the order of their revisions. Keys are paths such as
 * "/roles/admin"; order is that of the keys' UTF-8 bytes. Values are strings (JSON).
 *
 * A write that has resolved survives the end of the process, and on a persistent backend the end
 * of the machine too.
 */

import { BadParameter, ConnectionProblem, LimitExceeded } from "../base/errors.ts";

export interface Item {
  key: string;
  value: string;
  /** Revision of the write that made this value. */
  revision: number;
  /** Milliseconds since the epoch; from then on the item is not there any more. */
  expiresMs?: number;
}

export interface WriteOptions {
  /** Milliseconds since the epoch. Absent: never. A write replaces the expiry with the value. */
  expiresMs?: number;
}

export interface RangeOptions {
  /** Most items to return. */
  limit?: number;
  /** Only keys after this one: the last key of the page before. */
  after?: string;
}

export interface WatchOptions {
  signal?: AbortSignal;
  /** Revision that the watcher has seen already. Absent: from the call of `watch()` on. */
  after?: number;
}

export type BackendEvent =
  | { type: "put"; item: Item }
  /** Deleted or expired. */
  | { type: "delete"; key: string; revision: number };

export interface Backend {
  get(key: string): Promise<Item | undefined>;

  /** Writes whether the key is there or not. Resolves to the new revision, as all writes do. */
  put(key: string, value: string, options?: WriteOptions): Promise<number>;

  /** @throws AlreadyExists */
  create(key: string, value: string, options?: WriteOptions): Promise<number>;

  /**
   * Writes if the item still has the expected revision: of several at once, one wins.
   * @throws CompareFailed when it has another one, NotFound when there is no item
   */
  compareAndSwap(
    key: string,
    expected: { revision: number },
    value: string,
    options?: WriteOptions,
  ): Promise<number>;

  /** @throws NotFound, CompareFailed when `revision` is given and differs */
  delete(key: string, options?: { revision?: number }): Promise<void>;

  /** The items whose keys begin with `prefix`, in key order. */
  range(prefix: string, options?: RangeOptions): Promise<Item[]>;

  /** Resolves to how many were deleted. */
  deleteRange(prefix: string): Promise<number>;

  /**
   * Changes of the keys that begin with `prefix`, in order, each once, until `signal` is aborted
   * (then the iteration ends) or the backend is closed (then too).
   *
   * To list and then follow: `revision()`, `range()`, `watch(prefix, {after: revision})`, or use
   * {@link file://./follow.ts follow}, which also handles the error:
   * @throws WatchExpired from the iterator when changes are gone that this watcher has not seen
   */
  watch(prefix: string, options?: WatchOptions): AsyncIterable<BackendEvent>;

  /** Revision of the newest change; 0 in an empty store. */
  revision(): Promise<number>;

  /**
   * Deletes what has expired, with events; resolves to how many. Expired items are invisible in
   * any case, and a backend that is watched does this by itself every second.
   */
  purgeExpired(): Promise<number>;

  close(): Promise<void>;
}

/**
 * A watcher fell so far behind that the change log no longer has what it missed. It lists what
 * there is now and watches from that revision on.
 */
export class WatchExpired extends LimitExceeded {}

/** The backend was closed: nothing will ever work on it again. */
export class BackendClosed extends ConnectionProblem {}

/** @throws BadParameter for what cannot be a key: it begins with "/" and has no control characters */
export function assertKey(key: string): void {
  // deno-lint-ignore no-control-regex
  if (!/^\/[^\x00-\x1f]{1,1023}$/.test(key)) {
    throw new BadParameter(`${JSON.stringify(key.slice(0, 100))} cannot be a key of the storage`);
  }
}

/** Orders keys as their UTF-8 bytes: UTF-16, which `<` compares, differs beyond U+FFFF. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  let i = 0;
  while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  const rank = (text: string) => {
    const unit = i < text.length ? text.charCodeAt(i) : -1;
    return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
  };
  return rank(a) - rank(b);
}

/** The least string that is greater than all strings with this prefix in UTF-8 byte order. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (c) => c.codePointAt(0) as number);
  while (points.length > 0) {
    const last = points.pop() as number;
    // The surrogate block has no code points of its own; U+10FFFF has no successor.
    if (last < 0x10ffff) {
      return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
    }
  }
  return undefined;
}
