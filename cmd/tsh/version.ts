import { VERSION } from "../../lib/base/version.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";

export const command: CommandSpec = {
  name: "version",
  summary: "print the version",
  options: [formatOption],
  examples: [["tsh version --format=json", "for scripts"]],
  run(_args, flags) {
    const version = { version: VERSION, deno: Deno.version.deno };
    printData(flags.format(), version, () => `Teleport v${VERSION} deno${Deno.version.deno}`);
  },
};
