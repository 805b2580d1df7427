/**
 * One watch of the backend a kind, for everybody who watches by the API: the present state is kept
 * here, decoded once, and changes are fanned out. A watcher that does not keep up is dropped with
 * an error, and begins anew.
 */
import { LimitExceeded, messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { withoutSecrets } from "../resources/labels.ts";
import type { ResourceOf } from "../resources/types.ts";
import type { Backend } from "../storage/backend.ts";
import { follow } from "../storage/follow.ts";
import type { WatchEvent, WatchKind } from "../api/types.ts";
import { decodeResource, PREFIXES } from "./store.ts";

/** Events that are sent at once. */
const BATCH = 200;

const KINDS: readonly WatchKind[] = [
  "node",
  "proxy",
  "role",
  "user",
  "cert_authority",
  "cluster_config",
];

export class ResourceHub {
  /** Resolves when the present state is known. */
  readonly ready: Promise<void>;

  readonly #state = new Map<WatchKind, Map<string, ResourceOf<WatchKind>>>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[];
  #sortedNodes: ResourceOf<"node">[] | undefined;

  /** @param maxWaiting changes that may wait for one watcher */
  constructor(backend: Backend, private readonly maxWaiting = 20_000) {
    const ready = KINDS.map(() => Promise.withResolvers<void>());
    this.ready = Promise.all(ready.map(({ promise }) => promise)).then(() => {});
    for (const kind of KINDS) this.#state.set(kind, new Map());
    this.#loops = KINDS.map((kind, i) => this.#follow(backend, kind, ready[i]!.resolve));
  }

  get<K extends WatchKind>(kind: K, name: string): ResourceOf<K> | undefined {
    return this.#state.get(kind)!.get(name) as ResourceOf<K> | undefined;
  }

  list<K extends WatchKind>(kind: K): ResourceOf<K>[] {
    return [...this.#state.get(kind)!.values()] as ResourceOf<K>[];
  }

  /** By host id. */
  nodes(): readonly ResourceOf<"node">[] {
    return this.#sortedNodes ??= ([...this.#state.get("node")!.values()] as ResourceOf<"node">[])
      .sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  }

  /**
   * The present state as puts, "init", then changes, in batches, until `signal` is aborted.
   * @throws LimitExceeded when more changes wait than are kept for one watcher
   */
  async *watch(
    kinds: readonly WatchKind[],
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent[], void, undefined> {
    await this.ready;
    const subscriber = new Subscriber(new Set(kinds), this.maxWaiting);
    // Subscribed first, so that nothing is missed; a change that comes now is told after.
    const present = kinds.flatMap((kind) => [...this.#state.get(kind)!.values()]);
    this.#subscribers.add(subscriber);
    const wake = () => subscriber.wake();
    signal.addEventListener("abort", wake, { once: true });
    this.#stop.signal.addEventListener("abort", wake, { once: true });
    try {
      for (let i = 0; i < present.length; i += BATCH) {
        yield present.slice(i, i + BATCH).map((resource) => ({ type: "put", resource }));
      }
      yield [{ type: "init" }];
      while (!signal.aborted && !this.#stop.signal.aborted) {
        const batch = subscriber.take();
        if (batch.length > 0) yield batch;
        else await subscriber.more();
      }
    } finally {
      this.#subscribers.delete(subscriber);
      signal.removeEventListener("abort", wake);
      this.#stop.signal.removeEventListener("abort", wake);
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #follow(backend: Backend, kind: WatchKind, ready: () => void): Promise<void> {
    const prefix = PREFIXES[kind];
    const state = this.#state.get(kind)!;
    for await (const event of follow(backend, prefix, { signal: this.#stop.signal })) {
      if (event.type === "init") {
        ready();
        continue;
      }
      try {
        if (event.type === "put") {
          const resource = visible(decodeResource<WatchKind>(event.item));
          state.set(event.item.key.slice(prefix.length), resource);
          this.#tell(kind, { type: "put", resource });
        } else {
          const name = event.key.slice(prefix.length);
          state.delete(name);
          this.#tell(kind, { type: "delete", kind, name });
        }
      } catch (e) {
        log("auth").error("a stored resource cannot be read", { kind, error: messageOf(e) });
      }
    }
    ready();
  }

  #tell(kind: WatchKind, event: WatchEvent): void {
    if (kind === "node") this.#sortedNodes = undefined;
    for (const subscriber of this.#subscribers) subscriber.push(kind, event);
  }
}

/** As watchers may see it: the private keys of authorities never leave by a watch. */
function visible(resource: ResourceOf<WatchKind>): ResourceOf<WatchKind> {
  return resource.kind === "cert_authority" ? withoutSecrets(resource) : resource;
}

class Subscriber {
  #waiting: WatchEvent[] = [];
  #overflowed = false;
  #wake: (() => void) | undefined;

  constructor(
    private readonly kinds: ReadonlySet<WatchKind>,
    private readonly maxWaiting: number,
  ) {}

  push(kind: WatchKind, event: WatchEvent): void {
    if (!this.kinds.has(kind) || this.#overflowed) return;
    this.#waiting.push(event);
    if (this.#waiting.length > this.maxWaiting) {
      this.#overflowed = true;
      this.#waiting = [];
    }
    this.wake();
  }

  /** @throws LimitExceeded when events were dropped */
  take(): WatchEvent[] {
    if (this.#overflowed) throw new LimitExceeded("this watcher is too slow: watch anew");
    return this.#waiting.splice(0, BATCH);
  }

  more(): Promise<void> {
    if (this.#waiting.length > 0 || this.#overflowed) return Promise.resolve();
    return new Promise((resolve) => this.#wake = resolve);
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
