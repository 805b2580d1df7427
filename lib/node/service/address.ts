/** The address by which others reach this node. */
import { formatAddr, isIpAddress } from "../../base/net.ts";
import type { Config } from "../../config/mod.ts";

/** `advertise_ip`, else the address listened on, else this machine's first that is reachable. */
export function advertisedAddr(
  { advertiseIp }: Pick<Config, "advertiseIp">,
  { hostname, port }: Deno.NetAddr,
): string {
  const isSpecific = isIpAddress(hostname) && hostname !== "0.0.0.0" && hostname !== "::";
  const host = advertiseIp ?? (isSpecific ? hostname : interfaceAddress() ?? "127.0.0.1");
  return formatAddr({ host, port });
}

function interfaceAddress(): string | undefined {
  return Deno.networkInterfaces()
    .filter(({ address }) => !/^(127\.|::1$|fe80:|169\.254\.)/.test(address))
    .sort((a, b) => a.family.localeCompare(b.family))[0]?.address;
}
