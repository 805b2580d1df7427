/** Under which addresses this host is reached. */
import { isIpAddress } from "../base/net.ts";

/** True for an address that stands for all of a host's: nobody can dial it. */
export function isUnspecified(host: string): boolean {
  return host === "0.0.0.0" || host === "::" || host === "";
}

/** This machine's own addresses, those of IPv4 first, without loopback and link-local ones. */
export function interfaceAddresses(): string[] {
  return Deno.networkInterfaces()
    .filter(({ address, name }) => !/^(127\.|::1$|fe80:|169\.254\.)/.test(address) && name !== "lo")
    .sort((a, b) => a.family.localeCompare(b.family))
    .map(({ address }) => address);
}

/** `advertise_ip`, else the address that is listened on, else this machine's first. */
export function advertisedHost(advertiseIp: string | undefined, listenHost: string): string {
  if (advertiseIp) return advertiseIp;
  if (isIpAddress(listenHost) && !isUnspecified(listenHost)) return listenHost;
  return interfaceAddresses()[0] ?? "127.0.0.1";
}
