/** scp's old protocol, served by our own program in place of the system's `scp`. */
import type { ScpCommand } from "../../host/scp_command.ts";

/** The same by our own program, for the user's shell, which expands the path. */
export function ownScp(teleport: readonly string[], { rest }: ScpCommand): string {
  const words = [...teleport, "scp"].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  return `${words.join(" ")}${rest}`;
}
