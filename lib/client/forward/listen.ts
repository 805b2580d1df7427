/** The ports of this computer that connections are waited for on, with reasons when they cannot be. */
import { ConnectionProblem, messageOf } from "../../base/errors.ts";
import { formatAddr } from "../../base/net.ts";
import { LOOPBACK, PortListener, type PortListenerOptions } from "../../ssh/port_listener.ts";
import { formatListen, type Listen } from "./spec.ts";

/** @throws ConnectionProblem that says which address cannot be listened on, and why */
export function openListener(
  listen: Listen,
  options: Pick<PortListenerOptions, "onConnection" | "onTrouble">,
): PortListener {
  const { host, port } = listen;
  const hosts = host === "localhost" ? LOOPBACK : [host === "" ? everyAddress() : host];
  try {
    return PortListener.open({ ...options, port, hosts });
  } catch (cause) {
    const where = host === "" ? formatListen(listen) : formatAddr(listen);
    throw new ConnectionProblem(`Cannot listen on ${where}: ${reasonOf(cause)}`, { cause });
  }
}

/** That of IPv6 takes IPv4, too; on a computer without IPv6 there is none. */
function everyAddress(): string {
  try {
    Deno.listen({ hostname: "::", port: 0 }).close();
    return "::";
  } catch {
    return "0.0.0.0";
  }
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Deno.errors.AddrInUse) {
    return "another program has the port; choose another, or 0 for any free one";
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return "ports below 1024 are for root alone; choose a higher one";
  }
  if (cause instanceof Deno.errors.AddrNotAvailable) return "this computer has no such address";
  return messageOf(cause);
}
