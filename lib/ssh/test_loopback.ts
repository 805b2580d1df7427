/** For tests: the loopback addresses that this machine has. */
import { LOOPBACK } from "./port_listener.ts";

export const families: readonly string[] = LOOPBACK.filter((hostname) => {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch {
    return false;
  }
});
