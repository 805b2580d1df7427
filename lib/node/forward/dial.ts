/** Where a client of this node wants to be connected to, dialled from here. */
import { BadParameter, ConnectionProblem, messageOf } from "../../base/errors.ts";
import { formatAddr, type HostPort, isIpAddress } from "../../base/net.ts";
import { printable } from "../../base/text.ts";
import { type Resolve, systemResolve } from "../../host/dns.ts";
import { type ConnStream, dialTcp } from "../../ssh/stream.ts";

export interface DialOptions {
  readonly signal: AbortSignal;
  /** Milliseconds for one address; 10 s. */
  readonly timeoutMs?: number;
  readonly resolve?: Resolve;
}

/** A name may have so many addresses; more are not tried. */
const MAX_ADDRESSES = 8;

/**
 * Connects to the first address of a host that answers, as sshd does.
 *
 * @throws BadParameter for what is no target, ConnectionProblem naming it
 */
export async function dialTarget(target: HostPort, options: DialOptions): Promise<ConnStream> {
  const { host, port } = target;
  if (host === "") throw new BadParameter("no host to connect to was given");
  if (port === 0) throw new BadParameter("nothing can be connected to at port 0");
  const { signal, timeoutMs = 10_000, resolve = systemResolve } = options;
  const addresses = isIpAddress(host) ? [host] : await resolve(host);
  const failures: string[] = [];
  for (const address of addresses.slice(0, MAX_ADDRESSES)) {
    signal.throwIfAborted();
    try {
      return await dialTcp({ host: address, port, timeoutMs, signal });
    } catch (error) {
      signal.throwIfAborted();
      failures.push(messageOf(error));
    }
  }
  throw new ConnectionProblem(
    failures.length > 0
      ? failures.join("; ")
      : `Cannot connect to ${printable(formatAddr(target))}: this node knows no such host`,
  );
}
