/** A join token as people see it: with the command for the new host. */
import { formatAddr, parseAddr } from "../../lib/base/net.ts";
import { advertisedHost } from "../../lib/host/addresses.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { Session } from "./connect.ts";
import { formatDuration } from "../../lib/base/duration.ts";

const MINUTE = 60_000;

export interface JoinToken {
  readonly token: string;
  /** In lower case, as `--roles` takes them. */
  readonly roles: readonly string[];
  readonly ttlMs: number;
  readonly expires: string;
}

/** Prints the token and the command by which a new host joins with it. */
export async function printJoinCommand(
  session: Session,
  flags: Flags,
  join: JoinToken,
): Promise<void> {
  const { ca_pins } = await session.api.call("status", {});
  const authServer = publicAuthAddress(session, flags);
  const data = {
    token: join.token,
    roles: join.roles,
    expires: join.expires,
    ca_pins,
    auth_server: authServer,
  };
  const life = minutes(join.ttlMs);
  const what = join.roles.includes("node") ? "node" : join.roles[0] ?? "host";
  printData(flags.format(), data, () =>
    `The invite token: ${join.token}
This token will expire in ${life}

Run this on the new ${what} to join the cluster:

> teleport start \\
   --roles=${join.roles.join(",")} \\
   --token=${join.token} \\
${ca_pins.map((pin) => `   --ca-pin=${pin} \\\n`).join("")}   --auth-server=${authServer}

Please note:

  - This invitation token will expire in ${life}
  - ${authServer} must be reachable from the new ${what}`);
}

/** "30 minutes"; what is no whole number of minutes in full. */
export function minutes(ms: number): string {
  return ms >= MINUTE && ms % MINUTE === 0 ? `${ms / MINUTE} minutes` : formatDuration(ms);
}

/** The address at which another host finds the auth service that answered us. */
function publicAuthAddress({ address, config }: Session, flags: Flags): string {
  if (flags.list("auth-server").length > 0 || !config.auth.enabled) return address;
  const { port } = parseAddr(address);
  const named = config.auth.publicAddrs[0];
  if (named !== undefined) return formatAddr(parseAddr(named, port));
  return formatAddr({
    host: advertisedHost(config.advertiseIp, parseAddr(config.auth.listenAddr).host),
    port,
  });
}
