import { NotFound } from "../../lib/base/errors.ts";
import { formatAddr } from "../../lib/base/net.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { findProfile } from "./credentials.ts";

export const command: CommandSpec = {
  name: "env",
  summary: "print the environment of this login",
  description:
    "Print the environment variables that make other shells and programs use this login.",
  options: [
    { flags: "--unset", description: "print what removes the variables again" },
    formatOption,
  ],
  examples: [
    ['eval "$(tsh env)"', "sets them"],
    ['eval "$(tsh env --unset)"', "removes them"],
  ],
  run(_args, flags) {
    const names = ["TELEPORT_PROXY", "TELEPORT_CLUSTER"];
    if (flags.on("unset")) {
      return printData(
        flags.format(),
        Object.fromEntries(names.map((name) => [name, null])),
        () => names.map((name) => `unset ${name}`).join("\n"),
      );
    }
    const profile = findProfile(flags);
    if (!profile) throw new NotFound("Not logged in: run `tsh login --proxy=<address>`");
    const values = { TELEPORT_PROXY: formatAddr(profile.web), TELEPORT_CLUSTER: profile.cluster };
    printData(
      flags.format(),
      values,
      () =>
        Object.entries(values).map(([name, value]) => `export ${name}=${shellWord(value)}`).join(
          "\n",
        ),
    );
  },
};

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
