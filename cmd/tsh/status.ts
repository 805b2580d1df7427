import { formatOption } from "../../lib/cli/flags.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { printStatus } from "./print_status.ts";

export const command: CommandSpec = {
  name: "status",
  summary: "show who is logged in, and where",
  options: [formatOption],
  notes: "The exit status is 0 when the certificate in use is valid, else 1.",
  examples: [
    ["tsh status", "the profile in use is marked with >"],
    ["tsh status --format=json | jq -r .active.valid_until", "for scripts"],
    ["tsh status --debug", "with your traits"],
  ],
  run: (_args, flags) => printStatus(flags, flags.format()),
};
