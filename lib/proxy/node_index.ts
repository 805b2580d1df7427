/**
 * Finds the node that somebody means, in memory: one step for each way of naming it, whatever the
 * size of the cluster.
 */
import { BadParameter } from "../base/errors.ts";
import { isUuid } from "../base/ids.ts";
import { formatAddr, isIpAddress, normalizeIp, parseAddr } from "../base/net.ts";
import { nodeLabels } from "../resources/labels.ts";
import type { Labels, Node } from "../resources/types.ts";
import type { Target } from "./request.ts";

export type LookUp =
  | { readonly found: "one"; readonly node: Node }
  | { readonly found: "many"; readonly nodes: readonly Node[] }
  | { readonly found: "none"; readonly uuidLike: boolean };

/**
 * Ports that SSH clients put in when nobody has chosen one: ssh says 22, a configuration for
 * Teleport 3022. After a node's name they mean the node's own port, unless one listens just there.
 */
const UNCHOSEN_PORTS: readonly number[] = [0, 22, 3022];

interface Entry {
  readonly node: Node;
  readonly ip: string | undefined;
  readonly port: number;
  readonly names: readonly string[];
  readonly labels: Labels;
}

export class NodeIndex {
  readonly #cluster: string;
  readonly #byId = new Map<string, Entry>();
  readonly #byName = new MultiMap();
  readonly #byIp = new MultiMap();
  /** By label value, and by `key=value`. */
  readonly #byLabel = new MultiMap();

  /** @param cluster its name; `<node>.<cluster>` is the same as `<node>` */
  constructor(cluster: string) {
    this.#cluster = cluster.toLowerCase();
  }

  get size(): number {
    return this.#byId.size;
  }

  put(node: Node): void {
    this.remove(node.metadata.name);
    const entry = entryOf(node);
    this.#byId.set(node.metadata.name.toLowerCase(), entry);
    for (const name of entry.names) this.#byName.add(name, entry);
    if (entry.ip) this.#byIp.add(entry.ip, entry);
    for (const key of labelKeys(entry.labels)) this.#byLabel.add(key, entry);
  }

  remove(id: string): void {
    const entry = this.#byId.get(id.toLowerCase());
    if (!entry) return;
    this.#byId.delete(id.toLowerCase());
    for (const name of entry.names) this.#byName.remove(name, entry);
    if (entry.ip) this.#byIp.remove(entry.ip, entry);
    for (const key of labelKeys(entry.labels)) this.#byLabel.remove(key, entry);
  }

  /**
   * In this order: UUID, node name, address, labels. A port that was chosen must be the node's own
   * (not after a UUID, which can mean one node only).
   */
  find(target: Target): LookUp {
    const host = this.#withoutCluster(target.host.toLowerCase());
    const byId = this.#byId.get(host);
    if (byId) return { found: "one", node: byId.node };
    if (isUuid(host)) return { found: "none", uuidLike: true };
    if (isIpAddress(host)) return this.findByIp(host, target.port);
    for (
      const entries of [this.#byName.get(host), this.#matching(target.host)]
    ) {
      const fitting = fitPort(entries, target.port, UNCHOSEN_PORTS);
      if (fitting.length > 0) return result(fitting);
    }
    return { found: "none", uuidLike: false };
  }

  /** Nodes at an IP address: at this port, or at any when it is 0. */
  findByIp(ip: string, port: number): LookUp {
    return result(fitPort(this.#byIp.get(normalizeIp(ip)), port, [0]));
  }

  /** Nodes with all labels of a selector `key=value[,key=value]`, or with a label of this value. */
  #matching(text: string): readonly Entry[] {
    if (!text.includes("=")) return this.#byLabel.get(text);
    const pairs = text.split(",").map((pair) => pair.trim());
    const [first = "", ...rest] = pairs;
    return this.#byLabel.get(first).filter((entry) =>
      rest.every((pair) => labelKeys(entry.labels).includes(pair))
    );
  }

  #withoutCluster(host: string): string {
    const suffix = `.${this.#cluster}`;
    return host.endsWith(suffix) ? host.slice(0, -suffix.length) : host;
  }
}

/** "ip:port" of a node; undefined for one that is reached by a tunnel. */
export function nodeAddress(node: Node): { host: string; port: number } | undefined {
  try {
    return node.spec.addr === "" ? undefined : parseAddr(node.spec.addr, 3022);
  } catch (error) {
    if (error instanceof BadParameter) return undefined;
    throw error;
  }
}

function entryOf(node: Node): Entry {
  const address = nodeAddress(node);
  const names = new Set<string>();
  if (node.spec.hostname !== "") names.add(node.spec.hostname.toLowerCase());
  if (node.spec.public_addr) {
    const { host } = parsePublic(node.spec.public_addr);
    if (host && !isIpAddress(host)) names.add(host.toLowerCase());
  }
  return {
    node,
    ip: address && isIpAddress(address.host) ? normalizeIp(address.host) : undefined,
    port: address?.port ?? 0,
    names: [...names],
    labels: nodeLabels(node),
  };
}

function parsePublic(address: string): { host?: string } {
  try {
    return parseAddr(address, 3022);
  } catch {
    return {};
  }
}

function labelKeys(labels: Labels): string[] {
  return Object.entries(labels).flatMap(([key, value]) => [`${key}=${value}`, value]);
}

function fitPort(
  entries: readonly Entry[],
  port: number,
  any: readonly number[],
): readonly Entry[] {
  const exact = port === 0 ? [] : entries.filter((entry) => entry.port === port);
  if (exact.length > 0) return exact;
  return any.includes(port) ? entries : [];
}

function result(entries: readonly Entry[]): LookUp {
  const [first, ...more] = new Set(entries);
  if (!first) return { found: "none", uuidLike: false };
  if (more.length === 0) return { found: "one", node: first.node };
  return { found: "many", nodes: [first, ...more].map((entry) => entry.node) };
}

/** One line a candidate, for the one who has to choose: id, name, address, labels. */
export function describeCandidates(nodes: readonly Node[], limit = 20): string[] {
  const rows = nodes.slice(0, limit).map((node) => [
    node.spec.hostname,
    node.metadata.name,
    addressText(node),
    Object.entries(nodeLabels(node)).map(([key, value]) => `${key}=${value}`).join(", "),
  ]);
  const table = [["Node Name", "Node ID", "Address", "Labels"], ...rows];
  const widths = [0, 1, 2].map((i) => Math.max(...table.map((row) => row[i]!.length)));
  table.splice(1, 0, [...widths, 6].map((width) => "-".repeat(width)));
  const lines = table.map((row) =>
    row.map((cell, i) => i < 3 ? cell.padEnd(widths[i]!) : cell).join(" ").trimEnd()
  );
  return nodes.length > limit ? [...lines, `… and ${nodes.length - limit} more`] : lines;
}

function addressText(node: Node): string {
  const address = nodeAddress(node);
  return address ? formatAddr(address) : "⟵ Tunnel";
}

class MultiMap {
  readonly #entries = new Map<string, Set<Entry>>();

  add(key: string, entry: Entry): void {
    const set = this.#entries.get(key);
    if (set) set.add(entry);
    else this.#entries.set(key, new Set([entry]));
  }

  remove(key: string, entry: Entry): void {
    const set = this.#entries.get(key);
    set?.delete(entry);
    if (set?.size === 0) this.#entries.delete(key);
  }

  get(key: string): readonly Entry[] {
    return [...this.#entries.get(key) ?? []];
  }
}
