/**
 * Host certificates for proxies that record. Such a proxy ends a client's connection to a host in
 * that host's place, and needs a certificate that the client takes for the host's. This is the most
 * dangerous thing a proxy can ask for, so it is given only while the cluster records at the proxy,
 * for one host at a time, for a day, without a role in the cluster, and never for a name of the auth
 * service, of another proxy or of another cluster.
 */
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { isUuid } from "../base/ids.ts";
import { cidrContains, isIpAddress, normalizeIp, parseAddr } from "../base/net.ts";
import { isHostName } from "../cert/names.ts";
import type { Node, Proxy } from "../resources/types.ts";
import type { Signer } from "./sign.ts";
import type { ResourceHub } from "./watch.ts";

/** Milliseconds for which a certificate is valid. */
export const PROXIED_HOST_TTL_MS = 24 * 3_600_000;

export interface ProxiedHostsOptions {
  readonly cluster: string;
  /** The auth service's own id, names and addresses. */
  readonly ownNames: readonly string[];
  readonly hub: Pick<ResourceHub, "get" | "list" | "nodes">;
  readonly signer: Pick<Signer, "foreignHost">;
}

export class ProxiedHosts {
  readonly #options: ProxiedHostsOptions;

  constructor(options: ProxiedHostsOptions) {
    this.#options = options;
  }

  /**
   * @param host what a user has asked the proxy for: a name, an address or a node's id
   * @param publicKey authorized_keys line
   * @param proxyId who asks
   * @returns the certificate's line
   * @throws AccessDenied while the cluster does not record at the proxy, and for protected names;
   *   BadParameter for what is no name of a host
   */
  sign(host: string, publicKey: string, proxyId: string): string {
    const mode = this.#recordingMode();
    if (mode !== "proxy" && mode !== "proxy-sync") {
      throw new AccessDenied(
        "host certificates are made for proxies only while they record the sessions, and " +
          `session_recording is "${mode}" in this cluster`,
      );
    }
    const name = isIpAddress(host) ? normalizeIp(host) : host.toLowerCase();
    if (!isIpAddress(name) && !isHostName(name)) {
      throw new BadParameter(`${JSON.stringify(host.slice(0, 100))} is not the name of a host`);
    }
    const protection = this.#whyProtected(name, proxyId);
    if (protection !== undefined) {
      throw new AccessDenied(`a proxy may not stand in for "${name}": ${protection}`);
    }
    const principals = [...new Set([name, ...this.#namesOfNode(name)])];
    return this.#options.signer.foreignHost(principals, publicKey, PROXIED_HOST_TTL_MS);
  }

  #recordingMode(): string {
    return this.#options.hub.get("cluster_config", "cluster-config")?.spec.session_recording ??
      "node";
  }

  #whyProtected(name: string, proxyId: string): string | undefined {
    const { cluster, ownNames, hub } = this.#options;
    const foreign = hub.list("cert_authority").map(({ spec }) => spec.cluster_name)
      .find((other) => other !== cluster && (name === other || name.endsWith(`.${other}`)));
    if (foreign !== undefined) return `it belongs to the cluster "${foreign}"`;
    if (name === cluster) return "it is the name of the cluster";
    // Every host's own certificate has them, so they prove nothing; and what runs on one machine
    // has one name, whatever its roles.
    if (isLoopback(name) || hub.nodes().some((node) => this.#isCalled(node, name))) {
      return undefined;
    }
    if (ownNames.some((own) => this.#isName(own, name))) return "it is the auth service";
    const proxy = hub.list("proxy").find((each) => this.#isCalled(each, name));
    if (proxy && proxy.metadata.name !== proxyId) return "it is another proxy";
    if (isUuid(name.slice(0, 36)) && !proxy) return "no node has this id";
    return undefined;
  }

  /** All of the node's that is asked for by its id or name: clients may look for any (HostKeyAlias). */
  #namesOfNode(name: string): string[] {
    const { cluster, hub } = this.#options;
    const [node, ...others] = hub.nodes().filter(({ metadata, spec }) =>
      this.#isName(metadata.name, name) || this.#isName(spec.hostname, name)
    );
    if (!node || others.length > 0) return [];
    return [node.metadata.name, node.spec.hostname.toLowerCase()]
      .filter(isHostName).flatMap((own) => [own, `${own}.${cluster}`]);
  }

  /** By id, name or address. */
  #isCalled({ metadata, spec }: Node | Proxy, name: string): boolean {
    const addresses = [spec.addr, spec.public_addr].flatMap((addr) => addr ? [hostOf(addr)] : []);
    return [metadata.name, spec.hostname, ...addresses].some((own) => this.#isName(own, name));
  }

  #isName(own: string, name: string): boolean {
    const known = isIpAddress(own) ? normalizeIp(own) : own.toLowerCase();
    return known !== "" && (name === known || name === `${known}.${this.#options.cluster}`);
  }
}

function isLoopback(name: string): boolean {
  if (!isIpAddress(name)) return name === "localhost";
  return cidrContains("127.0.0.0/8", name) || cidrContains("::1/128", name);
}

function hostOf(addr: string): string {
  try {
    return parseAddr(addr, 0).host;
  } catch {
    return "";
  }
}
