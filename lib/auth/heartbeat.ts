/** What hosts announce of themselves, checked against who they are. */
import { targetAllowed } from "../access/mod.ts";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { formatAddr, isIpAddress, parseAddr } from "../base/net.ts";
import { parseResourceOf } from "../resources/codec.ts";
import type { Node, Proxy } from "../resources/types.ts";
import type { PeerAddress } from "../ssh/server.ts";
import type { ResourceStore } from "./store.ts";

/** For how long a host that has gone silent is still listed. */
export const ANNOUNCE_TTL_MS = 10 * 60_000;

/**
 * Stores the announcement of the host itself. An unspecified address becomes the one that the host
 * calls from.
 * @returns when it expires, RFC 3339
 * @throws AccessDenied for another host's id, BadParameter for an address that leads elsewhere
 */
export async function announce(
  kind: "node" | "proxy",
  announced: Node | Proxy,
  host: { hostId: string; remote: PeerAddress | undefined },
  { store, clock }: { store: ResourceStore; clock: Clock },
): Promise<{ expires: string }> {
  const resource = parseResourceOf(kind, announced);
  if (resource.metadata.name !== host.hostId) {
    throw new AccessDenied(`host ${host.hostId} may not announce ${resource.metadata.name}`);
  }
  resource.spec.addr = reachable(resource.spec.addr, host.remote);
  if (resource.spec.public_addr !== undefined) parseAddr(resource.spec.public_addr, 0);
  const expires = new Date(clock.now() + ANNOUNCE_TTL_MS).toISOString();
  resource.metadata.expires = expires;
  await store.put(resource);
  return { expires };
}

/** The proxy dials what is announced here: it must not lead to what only the proxy can reach. */
function reachable(addr: string, remote: PeerAddress | undefined): string {
  if (addr === "") return addr;
  const { host, port } = parseAddr(addr);
  if (["0.0.0.0", "::", ""].includes(host)) {
    if (remote === undefined) throw new BadParameter(`the address ${addr} cannot be dialled`);
    return formatAddr({ host: remote.host, port });
  }
  if (!isIpAddress(host) || host === remote?.host) return formatAddr({ host, port });
  const ordinary = targetAllowed(["*"], { host, ip: host, port });
  if (!ordinary && !isLoopback(remote?.host)) {
    throw new BadParameter(
      `the address ${addr} cannot be dialled from elsewhere: set advertise_ip on this host`,
    );
  }
  return formatAddr({ host, port });
}

/** On one machine hosts reach each other by the loopback addresses. */
function isLoopback(host: string | undefined): boolean {
  return host !== undefined && (host.startsWith("127.") || host === "::1");
}
