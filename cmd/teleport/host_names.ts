/** The names and addresses under which a host's roles are reached: its certificates list them. */
import { formatAddr, parseAddr } from "../../lib/base/net.ts";
import type { Config } from "../../lib/config/mod.ts";

/** For the SSH and the TLS certificate of a proxy. */
export function proxyNames({ proxy, nodename, advertiseIp }: Config): string[] {
  return unique([
    nodename,
    "localhost",
    "127.0.0.1",
    "::1",
    ...[...proxy.publicAddrs, ...proxy.sshPublicAddrs].map(hostOf),
    ...[proxy.webListenAddr, proxy.sshListenAddr].map(hostOf).filter(isSpecific),
    advertiseIp,
  ]);
}

/** For the SSH certificate of a node, besides its UUID, its name and the names of loopback. */
export function nodeNames({ ssh, advertiseIp }: Config): string[] {
  return unique([
    ...ssh.publicAddrs.map(hostOf),
    ...[hostOf(ssh.listenAddr)].filter(isSpecific),
    advertiseIp,
  ]);
}

/** Where something in this process that listens on `addr` can be dialled. */
export function reachableFromHere({ hostname, port }: Deno.NetAddr): string {
  if (isSpecific(hostname)) return formatAddr({ host: hostname, port });
  return formatAddr({ host: hostname === "::" ? "::1" : "127.0.0.1", port });
}

function hostOf(addr: string): string {
  // Only the host counts; where a port is left out, any will do.
  return parseAddr(addr, 1).host;
}

function isSpecific(host: string): boolean {
  return host !== "0.0.0.0" && host !== "::" && host !== "";
}

function unique(names: readonly (string | undefined)[]): string[] {
  return [...new Set(names.filter((name) => name !== undefined))];
}
