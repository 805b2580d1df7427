/** Names and addresses of this host: what its node's certificate lists, and how its roles are dialled. */
import { formatAddr, parseAddr } from "../../lib/base/net.ts";
import { interfaceAddresses, isUnspecified } from "../../lib/host/addresses.ts";
import type { Config } from "../../lib/config/mod.ts";

/** For the SSH certificate of a node, besides its UUID, its name and the names of loopback. */
export function nodeNames({ ssh, advertiseIp }: Config): string[] {
  const listenHost = hostOf(ssh.listenAddr);
  return [
    ...new Set([
      ...ssh.publicAddrs.map(hostOf),
      ...(advertiseIp === undefined ? [] : [advertiseIp]),
      ...(isUnspecified(listenHost) ? interfaceAddresses() : [listenHost]),
    ]),
  ];
}

/** Where something in this process that listens on `addr` can be dialled. */
export function reachableFromHere({ hostname, port }: Deno.NetAddr): string {
  if (!isUnspecified(hostname)) return formatAddr({ host: hostname, port });
  return formatAddr({ host: hostname === "::" ? "::1" : "127.0.0.1", port });
}

function hostOf(addr: string): string {
  // Only the host counts; where a port is left out, any will do.
  return parseAddr(addr, 1).host;
}
