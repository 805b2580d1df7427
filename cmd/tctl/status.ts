import type { AuthorityStatus, StatusResult } from "../../lib/api/types.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "status",
  summary: "show the cluster and its CA pin",
  options: [formatOption],
  examples: [["tctl status", "the CA pin that new hosts are started with"]],
  run: (_args, flags) =>
    withAuth(flags, async ({ api }) => {
      const status = await api.call("status", {});
      printData(flags.format(), status, () => statusText(status));
    }),
};

/** Exported for tests. */
export function statusText(status: StatusResult): string {
  return [
    `Cluster  ${status.cluster_name}`,
    `Version  ${status.version}`,
    `User CA  ${authorityText(status.user_ca)}`,
    `Host CA  ${authorityText(status.host_ca)}`,
    ...status.ca_pins.map((pin) => `CA pin   ${pin}`),
  ].join("\n");
}

/** "rotated Mar  2 10:11:12 UTC". */
function authorityText({ last_rotated }: AuthorityStatus): string {
  if (last_rotated === undefined) return "never updated";
  const date = new Date(last_rotated);
  const month = date.toLocaleString("en-US", { month: "short", timeZone: "UTC" });
  const time = date.toISOString().slice(11, 19);
  return `rotated ${month} ${String(date.getUTCDate()).padStart(2)} ${time} UTC`;
}
