/** Resources in the backend: their keys, and the way in and out of JSON. */
import { AlreadyExists, CompareFailed, NotFound, TeleportError } from "../base/errors.ts";
import { toHex, utf8Encode } from "../base/bytes.ts";
import { parseResource } from "../resources/codec.ts";
import type { AnyResource, ResourceOf } from "../resources/types.ts";
import type { Backend, Item } from "../storage/backend.ts";
import { createHash } from "node:crypto";

/** Kinds that are stored under their names. */
export type StoredKind =
  | "user"
  | "role"
  | "node"
  | "proxy"
  | "cert_authority"
  | "cluster_config"
  | "cluster_name";

export const PREFIXES: Record<StoredKind, string> = {
  user: "/users/",
  role: "/roles/",
  node: "/nodes/",
  proxy: "/proxies/",
  cert_authority: "/authorities/",
  cluster_config: "/cluster_config/",
  cluster_name: "/cluster_name/",
};

/** "<type>/<cluster>" for an authority, else the resource's name. */
export function storedName(resource: AnyResource): string {
  const { name } = resource.metadata;
  return resource.kind === "cert_authority" ? `${resource.spec.type}/${name}` : name;
}

/** SHA-256 in hexadecimal, under which secrets are kept: a copy of the store opens nothing. */
export function hashSecret(secret: string): string {
  return toHex(createHash("sha256").update(utf8Encode(secret)).digest());
}

export class ResourceStore {
  constructor(readonly backend: Backend) {}

  async find<K extends StoredKind>(kind: K, name: string): Promise<ResourceOf<K> | undefined> {
    const item = await this.backend.get(PREFIXES[kind] + name);
    return item && decodeResource<K>(item);
  }

  /** @throws NotFound */
  async get<K extends StoredKind>(kind: K, name: string): Promise<ResourceOf<K>> {
    const found = await this.find(kind, name);
    if (found === undefined) throw notFound(kind, name);
    return found;
  }

  async list<K extends StoredKind>(kind: K): Promise<ResourceOf<K>[]> {
    return (await this.backend.range(PREFIXES[kind])).map((item) => decodeResource<K>(item));
  }

  /** @throws AlreadyExists */
  async create(resource: Extract<AnyResource, { kind: StoredKind }>): Promise<void> {
    const name = storedName(resource);
    try {
      await this.backend.create(PREFIXES[resource.kind] + name, ...encode(resource));
    } catch (e) {
      if (!(e instanceof AlreadyExists)) throw e;
      throw new AlreadyExists(`${resource.kind} ${JSON.stringify(name)} already exists`);
    }
  }

  async put(resource: Extract<AnyResource, { kind: StoredKind }>): Promise<void> {
    await this.backend.put(PREFIXES[resource.kind] + storedName(resource), ...encode(resource));
  }

  /**
   * Changes what is stored; of two changes at once, the later is made to what the earlier left.
   * @param edit may be called again, on the resource as it is by then
   * @throws NotFound, and what `edit` throws
   */
  async change<K extends StoredKind>(
    kind: K,
    name: string,
    edit: (resource: ResourceOf<K>) => void | Promise<void>,
  ): Promise<ResourceOf<K>> {
    const key = PREFIXES[kind] + name;
    for (;;) {
      const item = await this.backend.get(key);
      if (item === undefined) throw notFound(kind, name);
      const resource = decodeResource<K>(item);
      await edit(resource);
      try {
        await this.backend.compareAndSwap(key, item, ...encode(resource));
        return resource;
      } catch (e) {
        if (e instanceof NotFound) throw notFound(kind, name);
        if (!(e instanceof CompareFailed)) throw e;
      }
    }
  }

  /** @throws NotFound */
  async delete(kind: StoredKind, name: string): Promise<void> {
    try {
      await this.backend.delete(PREFIXES[kind] + name);
    } catch (e) {
      throw e instanceof NotFound ? notFound(kind, name) : e;
    }
  }
}

function notFound(kind: StoredKind, name: string): NotFound {
  return new NotFound(`${kind} ${JSON.stringify(name)} is not found`);
}

/** @throws BadParameter when the stored value is not what its key says */
export function decodeResource<K extends StoredKind>(item: Item): ResourceOf<K> {
  return parseResource(JSON.parse(item.value)) as ResourceOf<K>;
}

function encode(resource: AnyResource): [value: string, options: { expiresMs?: number }] {
  const { expires } = resource.metadata;
  return [
    JSON.stringify(resource),
    expires === undefined ? {} : { expiresMs: Date.parse(expires) },
  ];
}

/** A JSON value of our own under one key. */
export async function readJson<T>(
  backend: Backend,
  key: string,
): Promise<{ value: T; revision: number } | undefined> {
  const item = await backend.get(key);
  return item && { value: JSON.parse(item.value) as T, revision: item.revision };
}

/** Deletes the key; that it was not there is no fault. */
export async function deleteIfThere(backend: Backend, key: string): Promise<void> {
  await backend.delete(key).catch((e: unknown) => {
    if (!(e instanceof TeleportError && e.code === "not_found")) throw e;
  });
}
