import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { sampleConfig } from "../../lib/config/mod.ts";

export const command: CommandSpec = {
  name: "configure",
  summary: "print a sample configuration file",
  examples: [["teleport configure > /etc/teleport.yaml", "start from the sample"]],
  run() {
    out(sampleConfig().trimEnd());
  },
};
