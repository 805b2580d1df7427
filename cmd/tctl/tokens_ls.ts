import type { JoinTokenInfo } from "../../lib/api/types.ts";
import { formatDuration } from "../../lib/base/duration.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import { table } from "../../lib/cli/table.ts";
import { withAuth } from "./connect.ts";

export const command: CommandSpec = {
  name: "tokens ls",
  summary: "list join tokens",
  description:
    "Tokens are kept as hashes only: what is shown is the beginning of a token's hash, " +
    "which `tctl tokens rm` takes as well.",
  options: [formatOption],
  examples: [["tctl tokens ls", "the tokens that are good now"]],
  run: (_args, flags) =>
    withAuth(flags, async ({ api }) => {
      const { tokens } = await api.call("tokens.list", {});
      printData(flags.format(), tokens, () => {
        if (tokens.length === 0) return "No active tokens found.";
        return tokenTable(tokens, Date.now());
      });
    }),
};

/** Exported for tests. */
export function tokenTable(tokens: readonly JoinTokenInfo[], nowMs: number): string {
  return table(
    ["Token", "Type", "Expiry Time (UTC)"],
    tokens.map(({ id, roles, expires }) => [
      id,
      roles.join(","),
      expires === undefined ? "never" : expiryText(Date.parse(expires), nowMs),
    ]),
  );
}

/** "25 Sep 18 00:21 UTC (29m3s)". */
function expiryText(expiresMs: number, nowMs: number): string {
  const date = new Date(expiresMs);
  const two = (n: number) => String(n).padStart(2, "0");
  const month = date.toLocaleString("en-US", { month: "short", timeZone: "UTC" });
  const left = Math.max(0, Math.floor((expiresMs - nowMs) / 1000) * 1000);
  return `${two(date.getUTCDate())} ${month} ${two(date.getUTCFullYear() % 100)} ` +
    `${two(date.getUTCHours())}:${two(date.getUTCMinutes())} UTC (${formatDuration(left)})`;
}
