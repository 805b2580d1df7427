/**
 * What a daemon knows of the cluster without asking: resources kept current by a watch on the
 * auth service, and on disk, so that a daemon that starts while auth is away serves all the same.
 */
import type { ApiClient } from "../api/client.ts";
import type { WatchEvent, WatchKind } from "../api/types.ts";
import { Backoff, sleep } from "../base/backoff.ts";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { TrustedAuthority } from "../cert/check.ts";
import type { AnyResource, CertAuthority, ResourceOf } from "../resources/types.ts";
import { trustedAuthorities } from "./authorities.ts";
import { loadSnapshot, SnapshotWriter } from "./cache_file.ts";

export type CacheEvent =
  | { readonly type: "put"; readonly resource: AnyResource }
  | { readonly type: "delete"; readonly resource: AnyResource };

export interface ClusterCacheOptions {
  /** Gives a client of the API when there is one; waits while auth is away. */
  readonly api: (signal: AbortSignal) => Promise<Pick<ApiClient, "watch">>;
  readonly kinds: readonly WatchKind[];
  /** Where the state is kept over restarts, mode 0600; in memory only when omitted. */
  readonly path?: string;
  /** Authorities from the host's identity: good until the first state has come. */
  readonly authorities?: readonly CertAuthority[];
  readonly backoff?: Backoff;
}

export class ClusterCache {
  /**
   * Resolves when there is a state to work with: the one of the auth service, or, while that is
   * away, the last one, from disk.
   */
  readonly ready: Promise<void>;

  readonly #options: ClusterCacheOptions;
  readonly #stop = new AbortController();
  readonly #log = log("cache");
  readonly #listeners = new Set<(event: CacheEvent) => void>();
  readonly #writer: SnapshotWriter | undefined;
  readonly #ready = Promise.withResolvers<void>();
  readonly #loop: Promise<void>;
  readonly #kinds = new Map<string, Map<string, AnyResource>>();
  #trusted = new Map<"user" | "host", TrustedAuthority[]>();
  #live = false;

  /** Begins to fill at once. */
  constructor(options: ClusterCacheOptions) {
    this.#options = options;
    this.ready = this.#ready.promise;
    this.ready.catch(() => {});
    if (options.path) this.#writer = new SnapshotWriter(options.path, () => this.#all());
    for (const authority of options.authorities ?? []) this.#put(authority);
    this.#loop = this.#run();
  }

  /** Whether a watch keeps the state current now, as against auth being away. */
  get live(): boolean {
    return this.#live;
  }

  get<K extends WatchKind>(kind: K, name: string): ResourceOf<K> | undefined {
    return this.#kinds.get(kind)?.get(name) as ResourceOf<K> | undefined;
  }

  list<K extends WatchKind>(kind: K): ResourceOf<K>[] {
    return [...this.#kinds.get(kind)?.values() ?? []] as ResourceOf<K>[];
  }

  /** Trusted keys of one type of authority, each with the cluster it belongs to. */
  authorities(type: "user" | "host"): TrustedAuthority[] {
    let trusted = this.#trusted.get(type);
    if (!trusted) {
      trusted = trustedAuthorities(this.list("cert_authority"), type);
      this.#trusted.set(type, trusted);
    }
    return trusted;
  }

  /** Calls the listener at each change, after the cache holds it; the answer takes it off again. */
  subscribe(listener: (event: CacheEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stops watching and writes what is not on disk yet. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the cache was closed"));
    this.#ready.reject(this.#stop.signal.reason);
    await this.#loop;
    await this.#writer?.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await this.#loadFromDisk();
    const backoff = this.#options.backoff ?? new Backoff({ minMs: 250, maxMs: 30_000 });
    while (!signal.aborted) {
      try {
        const api = await this.#options.api(signal);
        await this.#follow(api.watch([...this.#options.kinds], { signal }), backoff);
      } catch (error) {
        if (!signal.aborted) {
          this.#log.warn("The watch has ended, working from what is known", {
            error: messageOf(error),
          });
        }
      }
      this.#live = false;
      await sleep(backoff.next(), signal).catch(() => {});
    }
  }

  async #loadFromDisk(): Promise<void> {
    if (!this.#options.path) return;
    try {
      const resources = await loadSnapshot(this.#options.path);
      if (!resources) return;
      for (const resource of resources) {
        this.#put(resource);
        this.#tell({ type: "put", resource });
      }
      this.#ready.resolve();
    } catch (error) {
      // Only a copy of what auth has: unusable means that it is fetched again.
      this.#log.warn("The cache on disk cannot be used", {
        path: this.#options.path,
        error: messageOf(error),
      });
    }
  }

  async #follow(events: AsyncIterable<WatchEvent>, backoff: Backoff): Promise<void> {
    // Until "init", what comes is the whole state: gathered apart, then put in place in one step,
    // so that nobody sees a cluster that is half there.
    let fresh: Map<string, AnyResource> | undefined = new Map();
    for await (const event of events) {
      if (event.type === "init") {
        if (fresh) this.#replaceAll(fresh);
        fresh = undefined;
        this.#live = true;
        backoff.reset();
        this.#ready.resolve();
      } else if (fresh) {
        if (event.type === "put") fresh.set(idOf(event.resource), event.resource);
        else fresh.delete(`${event.kind}/${event.name}`);
      } else if (event.type === "put") {
        this.#change(event.resource);
      } else {
        this.#remove(event.kind, event.name);
      }
    }
  }

  #replaceAll(fresh: Map<string, AnyResource>): void {
    for (const resource of this.#all()) {
      if (!fresh.has(idOf(resource))) this.#remove(resource.kind, nameOf(resource));
    }
    for (const resource of fresh.values()) this.#change(resource);
  }

  #change(resource: AnyResource): void {
    const before = this.#kinds.get(resource.kind)?.get(nameOf(resource));
    this.#put(resource);
    // A heartbeat that says nothing new comes from each node every few minutes.
    if (!before || !sameButForExpiry(before, resource)) this.#writer?.changed();
    this.#tell({ type: "put", resource });
  }

  #put(resource: AnyResource): void {
    let names = this.#kinds.get(resource.kind);
    if (!names) this.#kinds.set(resource.kind, names = new Map());
    names.set(nameOf(resource), resource);
    if (resource.kind === "cert_authority") this.#trusted.clear();
  }

  #remove(kind: string, name: string): void {
    const resource = this.#kinds.get(kind)?.get(name);
    if (!resource) return;
    this.#kinds.get(kind)?.delete(name);
    if (kind === "cert_authority") this.#trusted.clear();
    this.#writer?.changed();
    this.#tell({ type: "delete", resource });
  }

  #tell(event: CacheEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error("A listener of the cache has failed", { error });
      }
    }
  }

  #all(): AnyResource[] {
    return [...this.#kinds.values()].flatMap((names) => [...names.values()]);
  }
}

/** A resource's name within its kind; an authority's is `<user|host>/<cluster>`, as in the watch. */
function nameOf(resource: AnyResource): string {
  return resource.kind === "cert_authority"
    ? `${resource.spec.type}/${resource.spec.cluster_name}`
    : resource.metadata.name;
}

function sameButForExpiry(a: AnyResource, b: AnyResource): boolean {
  const text = (resource: AnyResource) =>
    JSON.stringify({ ...resource, metadata: { ...resource.metadata, expires: undefined } });
  return text(a) === text(b);
}

function idOf(resource: AnyResource): string {
  return `${resource.kind}/${nameOf(resource)}`;
}
