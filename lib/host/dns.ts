/** Names to addresses, as the operating system knows them (hosts file and DNS). */
import process from "node:process";
import { ConnectionProblem, messageOf } from "../base/errors.ts";

/** @returns the addresses in the system's order of preference; none when the name is unknown */
export type Resolve = (name: string) => Promise<string[]>;

const TIMEOUT_MS = 10_000;
const UNKNOWN: readonly unknown[] = ["ENOTFOUND", "ENODATA", "EAI_NONAME"];

/** @throws ConnectionProblem when DNS does not answer */
export const systemResolve: Resolve = async (name) => {
  const dns = await loadDns();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new ConnectionProblem(`DNS gave no answer for ${name} in 10 s`)),
    TIMEOUT_MS,
  );
  try {
    const found = await Promise.race([dns.lookup(name, { all: true }), late.promise]);
    return found.map(({ address }) => address);
  } catch (error) {
    if (error instanceof ConnectionProblem) throw error;
    if (UNKNOWN.includes((error as { code?: unknown }).code)) return [];
    throw new ConnectionProblem(`cannot look ${name} up in DNS: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
};

/** `Deno.resolveDns` does not read the hosts file, `node:dns` asks the system's resolver. */
async function loadDns(): Promise<{ lookup: typeof import("node:dns").promises.lookup }> {
  // Loading it prints a warning about a module inside Deno, which nobody here can act on.
  (process as { noDeprecation?: boolean }).noDeprecation = true;
  return (await import("node:dns")).promises;
}
