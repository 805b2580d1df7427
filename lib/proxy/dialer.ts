/** Opens the connection that a relay is made of. */
import type { Duplex } from "node:stream";
import { ConnectionProblem, messageOf } from "../base/errors.ts";
import { type HostPort, parseAddr } from "../base/net.ts";
import { clientAddressLine } from "../ssh/server.ts";
import { dialTcp } from "../ssh/stream.ts";
import type { Route } from "./route.ts";

export const DIAL_TIMEOUT_MS = 30_000;

/** Opens TCP; tests put their own in its place. */
export type DialTarget = (
  address: HostPort,
  o: { timeoutMs: number; signal?: AbortSignal },
) => Promise<Duplex>;

const dialByTcp: DialTarget = (address, o) => dialTcp({ ...address, ...o });

/**
 * Connects to what was looked up. A node of the cluster is told first, before SSH begins, which
 * client this is for: so both ends log the same address. A foreign host is told nothing.
 *
 * @throws ConnectionProblem saying which host did not answer
 */
export async function dialRoute(
  route: Route,
  client: HostPort,
  o: { dial?: DialTarget; signal?: AbortSignal } = {},
): Promise<Duplex> {
  const stream = await open(route, route.node?.spec.hostname, o);
  if (route.node) stream.write(clientAddressLine(client));
  return stream;
}

/**
 * Connects to the first auth server that answers.
 *
 * @throws ConnectionProblem when none does
 */
export async function dialAuthServer(
  addresses: readonly string[],
  o: { dial?: DialTarget; signal?: AbortSignal } = {},
): Promise<Duplex> {
  const failures: string[] = [];
  for (const address of addresses) {
    try {
      return await open(parseAddr(address, 3025), undefined, o);
    } catch (error) {
      o.signal?.throwIfAborted();
      failures.push(messageOf(error));
    }
  }
  throw new ConnectionProblem(
    `the cluster's auth service is away, try again in a moment (${failures.join("; ")})`,
  );
}

async function open(
  { host, port }: HostPort,
  name: string | undefined,
  o: { dial?: DialTarget; signal?: AbortSignal },
): Promise<Duplex> {
  const dial = o.dial ?? dialByTcp;
  const signal = o.signal ? { signal: o.signal } : {};
  try {
    const stream = await dial({ host, port }, { timeoutMs: DIAL_TIMEOUT_MS, ...signal });
    // Whoever relays it is told by "close"; until then an error must not go unheard.
    return stream.on("error", () => {});
  } catch (error) {
    o.signal?.throwIfAborted();
    if (name === undefined) throw error;
    throw new ConnectionProblem(`cannot reach node "${name}": ${messageOf(error)}`, {
      cause: error,
    });
  }
}
