/** --cluster, as far as it can be followed. */
import { BadParameter } from "../../lib/base/errors.ts";
import type { Flags } from "../../lib/cli/flags.ts";

/** @throws BadParameter for another cluster than the user's own, which is later work */
export function refuseOtherCluster(flags: Flags, own: string): void {
  const asked = flags.text("cluster");
  if (asked === undefined || asked === own) return;
  throw new BadParameter(
    `--cluster=${asked} is not supported by this version: only the cluster that you logged in to ` +
      `(${own}) can be reached; run the command without --cluster and TELEPORT_CLUSTER`,
  );
}
