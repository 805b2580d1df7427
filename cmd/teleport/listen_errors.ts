/** Says which address could not be listened on: the runtime's own error does not name it. */
import { BadParameter } from "../../lib/base/errors.ts";
import { formatAddr, parseAddr } from "../../lib/base/net.ts";

/** An address of the configuration and the key that sets it. */
export interface ListenAddress {
  readonly addr: string;
  readonly key: string;
}

/** The error in words when it came from opening one of these listeners; else the error itself. */
export function explainListenError(e: unknown, addresses: readonly ListenAddress[]): unknown {
  const root = rootCause(e);
  if (
    !(root instanceof Deno.errors.AddrInUse || root instanceof Deno.errors.AddrNotAvailable ||
      root instanceof Deno.errors.PermissionDenied)
  ) return e;
  for (const { addr, key } of addresses) {
    const reason = tryListening(addr);
    if (reason) {
      return new BadParameter(`cannot listen on ${addr}: ${reason}, or change ${key}`, {
        cause: e,
      });
    }
  }
  return e;
}

function tryListening(addr: string): string | undefined {
  const { host, port } = parseAddr(addr);
  try {
    Deno.listen({ hostname: host, port }).close();
    return undefined;
  } catch (e) {
    if (e instanceof Deno.errors.AddrInUse) {
      return `the port is in use; end the process that has it (\`ss -ltnp 'sport = :${port}'\` names it)`;
    }
    if (e instanceof Deno.errors.AddrNotAvailable) {
      return `this machine has no address ${formatAddr({ host, port })}; correct it`;
    }
    if (e instanceof Deno.errors.PermissionDenied) {
      return "ports below 1024 are for root; start as root";
    }
    return undefined;
  }
}

function rootCause(e: unknown): unknown {
  let root = e;
  for (let depth = 0; depth < 8 && root instanceof Error && root.cause !== undefined; depth++) {
    root = root.cause;
  }
  return root;
}
