import { VERSION } from "../../lib/base/version.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";

export const command: CommandSpec = {
  name: "version",
  summary: "print the version",
  options: [formatOption],
  run(_args, flags) {
    const version = { version: VERSION, deno: Deno.version.deno };
    printData(flags.format(), version, () => `Teleport v${VERSION} deno${Deno.version.deno}`);
  },
};
