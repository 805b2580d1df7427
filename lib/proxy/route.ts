/** From what somebody typed to the address that is dialled, or to the reason why not. */
import { targetAllowed } from "../access/targets.ts";
import { AccessDenied, BadParameter, NotFound } from "../base/errors.ts";
import { cidrContains, isIpAddress } from "../base/net.ts";
import { printable } from "../base/text.ts";
import type { Resolve } from "../host/dns.ts";
import type { Node } from "../resources/types.ts";
import { describeCandidates, type LookUp, nodeAddress, type NodeIndex } from "./node_index.ts";
import type { Target } from "./request.ts";

export interface Route {
  /** What is dialled: for a host that is no node, always an IP address, the one decided on. */
  readonly host: string;
  readonly port: number;
  /** The cluster's node at this address; absent for a foreign host. */
  readonly node?: Node;
}

/** Port of a node and of a host that nobody said otherwise of. */
const DEFAULT_PORT = 3022;

/** Several nodes fit. `candidates` are lines to show to the one who has to choose. */
export class AmbiguousNode extends BadParameter {
  readonly candidates: readonly string[];

  constructor(nodes: readonly Node[]) {
    super(
      "ambiguous host could match multiple nodes (err-node-is-ambiguous): " +
        "address the node by its unique id",
    );
    this.candidates = describeCandidates(nodes).map((line) => printable(line));
  }
}

export interface RouterOptions {
  readonly cluster: string;
  readonly index: NodeIndex;
  /** `proxy_service.unregistered_targets`: which foreign hosts may be dialled. */
  readonly targets: readonly string[];
  readonly resolve: Resolve;
}

export class Router {
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /**
   * A node of the cluster by UUID, name, address or label; else a host by its address or DNS name,
   * where the policy allows it.
   *
   * @throws AmbiguousNode when several nodes fit
   * @throws NotFound when nothing has this name
   * @throws AccessDenied when the address may not be dialled
   */
  async route(target: Target): Promise<Route> {
    const found = this.#options.index.find(target);
    const node = nodeRoute(found);
    if (node) return node;
    if (found.found === "none" && found.uuidLike) {
      throw new NotFound(`unable to locate node matching uuid-like target ${target.host}`);
    }
    return await this.#foreignRoute(target);
  }

  async #foreignRoute(target: Target): Promise<Route> {
    const { cluster, index, targets, resolve } = this.#options;
    const name = printable(target.host);
    if (!isIpAddress(target.host) && !isDnsName(target.host)) {
      throw new NotFound(
        `no node "${name}" in cluster "${cluster}"; \`tsh ls\` shows the nodes you can reach`,
      );
    }
    const addresses = isIpAddress(target.host) ? [target.host] : await resolve(target.host);
    if (addresses.length === 0) {
      throw new NotFound(
        `no node "${name}" in cluster "${cluster}", and DNS does not know the name either; ` +
          "`tsh ls` shows the nodes you can reach",
      );
    }
    for (const address of addresses) {
      const node = nodeRoute(index.findByIp(address, target.port));
      if (node) return node;
    }
    const port = target.port || DEFAULT_PORT;
    const allowed = addresses.find((ip) => targetAllowed(targets, { host: target.host, ip, port }));
    if (allowed === undefined) {
      throw new AccessDenied(
        `"${name}" is no node of cluster "${cluster}", and connecting to ` +
          `${addresses[0]} port ${port} is not allowed by this proxy ` +
          "(proxy_service.unregistered_targets); `tsh ls` shows the nodes you can reach",
      );
    }
    return { host: allowed, port };
  }
}

function nodeRoute(found: LookUp): Route | undefined {
  if (found.found === "many") throw new AmbiguousNode(found.nodes);
  if (found.found === "none") return undefined;
  const { node } = found;
  const address = nodeAddress(node);
  if (!address) {
    throw new NotFound(
      `node "${printable(node.spec.hostname)}" has no address that this proxy can dial`,
    );
  }
  if (isIpAddress(address.host) && isNeverANode(address.host)) {
    throw new AccessDenied(
      `node "${printable(node.spec.hostname)}" says that its address is ${address.host}, which ` +
        "no node can have; set advertise_ip on the node",
    );
  }
  return { host: address.host, port: address.port || DEFAULT_PORT, node };
}

/** Link-local, metadata services, no host at all: never a node, whatever one says of itself. */
const NEVER_A_NODE: readonly string[] = [
  "0.0.0.0/8",
  "169.254.0.0/16",
  "100.100.100.200/32",
  "168.63.129.16/32",
  "192.0.0.192/32",
  "224.0.0.0/3",
  "::/128",
  "fe80::/10",
  "fd00:ec2::/32",
  "ff00::/8",
];

function isNeverANode(ip: string): boolean {
  return NEVER_A_NODE.some((range) => cidrContains(range, ip));
}

/** What DNS can be asked for; anything else would only be a strange question to it. */
function isDnsName(text: string): boolean {
  return text.length <= 253 &&
    /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i.test(text);
}
