/** For tests: the loopback addresses that this machine has. */
import { BOTH, type LoopbackHost } from "./loopback.ts";

export const families: readonly LoopbackHost[] = BOTH.filter((hostname) => {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch {
    return false;
  }
});
