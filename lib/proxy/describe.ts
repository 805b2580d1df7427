/** What the proxy says of itself: to clients by the web API, to the cluster by its heartbeat. */
import { formatAddr, parseAddr } from "../base/net.ts";
import { VERSION } from "../base/version.ts";
import type { Config } from "../config/mod.ts";
import { advertisedHost, interfaceAddresses, isUnspecified } from "../host/addresses.ts";
import type { Proxy } from "../resources/types.ts";

/** Oldest client that this proxy talks to. */
const MIN_CLIENT_VERSION = "0.1.0";
const DEFAULT_WEB_PORT = 3080;
const DEFAULT_SSH_PORT = 3023;

/** `/webapi/find`: how to reach the proxy's services. */
export function findAnswer(
  config: Config,
  cluster: string,
  sshAddr: string,
): Record<string, unknown> {
  const { proxy } = config;
  const publicAddr = proxy.publicAddrs[0];
  const sshPublicAddr = proxy.sshPublicAddrs[0];
  return {
    proxy: {
      kube: { enabled: false },
      ssh: {
        listen_addr: sshAddr,
        ...(publicAddr ? { public_addr: withPort(publicAddr, DEFAULT_WEB_PORT) } : {}),
        ...(sshPublicAddr ? { ssh_public_addr: withPort(sshPublicAddr, DEFAULT_SSH_PORT) } : {}),
      },
    },
    cluster_name: cluster,
    server_version: VERSION,
    min_client_version: MIN_CLIENT_VERSION,
  };
}

/** The record by which nodes and other services know this proxy. */
export function proxyResource(config: Config, hostId: string, sshAddr: string): Proxy {
  const { port } = parseAddr(sshAddr);
  // Links for people are made from it: without a public address, the host's own name is the guess.
  const publicAddr = config.proxy.publicAddrs[0] ??
    formatAddr({
      host: config.nodename,
      port: parseAddr(config.proxy.webListenAddr, DEFAULT_WEB_PORT).port,
    });
  return {
    kind: "proxy",
    version: "v2",
    metadata: { name: hostId, namespace: "default", labels: {} },
    spec: {
      addr: formatAddr({ host: advertisedHost(config.advertiseIp, parseAddr(sshAddr).host), port }),
      public_addr: withPort(publicAddr, DEFAULT_WEB_PORT),
      hostname: config.nodename,
      cmd_labels: {},
      use_tunnel: false,
      version: VERSION,
    },
  };
}

/**
 * Names and addresses by which clients reach the proxy, for its certificates: public addresses, the
 * addresses it listens on, and `advertise_ip`.
 */
export function proxyNames(config: Config): string[] {
  const { proxy } = config;
  const hosts = [
    ...proxy.publicAddrs,
    ...proxy.sshPublicAddrs,
    proxy.sshListenAddr,
    proxy.webListenAddr,
  ].map((addr) => parseAddr(addr, DEFAULT_WEB_PORT).host);
  const names = [...hosts, ...(config.advertiseIp ? [config.advertiseIp] : []), config.nodename];
  const everywhere = hosts.some(isUnspecified) ? interfaceAddresses() : [];
  return [
    ...new Set([
      ...[...names, ...everywhere].filter((name) => !isUnspecified(name)),
      "localhost",
      "127.0.0.1",
      "::1",
    ]),
  ];
}

function withPort(addr: string, port: number): string {
  return formatAddr(parseAddr(addr, port));
}
